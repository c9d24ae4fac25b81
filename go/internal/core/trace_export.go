package core

// #include <wscengine.h>
import "C"

//export wscengineGoSpanStart
func wscengineGoSpanStart(self, parent C.uintptr_t, name *C.char, kind C.int, at C.int64_t, a *C.wsc_attribute, n C.size_t) C.uintptr_t {
	t := tracerOf(self)
	if t == nil {
		return 0
	}
	return C.uintptr_t(t.Start(uintptr(parent), C.GoString(name), kind == C.WSC_SPAN_CLIENT, unixTime(at), attributesOf(a, n)))
}

//export wscengineGoSpanEvent
func wscengineGoSpanEvent(self, span C.uintptr_t, name *C.char, at C.int64_t, a *C.wsc_attribute, n C.size_t) {
	if t := tracerOf(self); t != nil {
		t.Event(uintptr(span), C.GoString(name), unixTime(at), attributesOf(a, n))
	}
}

//export wscengineGoSpanAttributes
func wscengineGoSpanAttributes(self, span C.uintptr_t, a *C.wsc_attribute, n C.size_t) {
	if t := tracerOf(self); t != nil {
		t.Attributes(uintptr(span), attributesOf(a, n))
	}
}

//export wscengineGoSpanEnd
func wscengineGoSpanEnd(self, span C.uintptr_t, at C.int64_t, status C.int, e *C.wsc_error) {
	if t := tracerOf(self); t != nil {
		t.End(uintptr(span), unixTime(at), int(status), errorOf(e, nil))
	}
}
