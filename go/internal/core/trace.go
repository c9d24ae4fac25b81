package core

// #include "shim.h"
import "C"

import (
	"sync"
	"time"
	"unsafe"
	"weak"
)

// Attribute is a span's; Value is an int64, a bool or a string.
type Attribute struct {
	Name  string
	Value any
}

// Tracer makes spans. The library names a span by the number that Start gave, 0: none. Called from any goroutine, and from threads of the
// library; with no lock of the library's held.
type Tracer interface {
	Start(parent uintptr, name string, client bool, at time.Time, attributes []Attribute) uintptr
	Event(span uintptr, name string, at time.Time, attributes []Attribute)
	Attributes(span uintptr, attributes []Attribute)
	End(span uintptr, at time.Time, status int, err error)
}

// traced is the engines with a tracer, by their numbers, which C has in the tracer's place. It keeps none of them: what tells an engine's spans to
// its Tracer refers to the engine, as a rule.
var traced sync.Map // number -> weak.Pointer[Engine]

func (e *Engine) trace(o *C.wsc_options) {
	if e.tracer != nil {
		traced.Store(e.number, weak.Make(e))
		C.shim_set_tracer(o, C.uintptr_t(e.number))
	}
}

// tracerOf is an engine's as long as somebody has the engine.
func tracerOf(number C.uintptr_t) Tracer {
	found, ok := traced.Load(uintptr(number))
	if !ok {
		return nil
	}
	if e := found.(weak.Pointer[Engine]).Value(); e != nil {
		return e.tracer
	}
	return nil
}

// Traced runs f as the callback of a session event, inside its span; f gets the span's number, 0 when it has none, and says whether it failed.
func (ev *Event) Traced(f func(span uintptr) (failed bool)) {
	call := C.wsc_trace_begin(ev.c, nil)
	status := C.int(C.WSC_ERR_HOST) // if f does not return
	defer func() { C.wsc_trace_end(call, status) }()
	if !f(uintptr(C.shim_trace_span(call))) {
		status = C.WSC_OK
	}
}

// Traced runs f as the callback of one message of a batch, likewise.
func (b *Batch) Traced(at uint32, f func(span uintptr)) {
	call := C.wsc_trace_begin(b.ev.c, &b.records[at])
	status := C.int(C.WSC_ERR_HOST) // if f does not return
	defer func() { C.wsc_trace_end(call, status) }()
	f(uintptr(C.shim_trace_span(call)))
	status = C.WSC_OK
}

func attributesOf(a *C.wsc_attribute, n C.size_t) []Attribute {
	out := make([]Attribute, 0, int(n))
	for _, one := range unsafe.Slice(a, int(n)) {
		made := Attribute{Name: C.GoString(one.name)}
		switch one._type {
		case C.WSC_ATTRIBUTE_INT:
			made.Value = int64(one.number)
		case C.WSC_ATTRIBUTE_BOOL:
			made.Value = one.number != 0
		default:
			made.Value = C.GoString(one.text)
		}
		out = append(out, made)
	}
	return out
}

func unixTime(ns C.int64_t) time.Time { return time.Unix(0, int64(ns)) }
