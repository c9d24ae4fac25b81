package core

/*
#include "shim.h"
*/
import "C"

import (
	"context"
	"fmt"
	"math"
	"time"
	"unsafe"
)

// operation is one that C has begun and not yet completed.
type operation struct {
	given  *givenErrors
	done   chan struct{}
	status int
	err    error
	kind   int
	data   []byte
	rtt    time.Duration
}

// begin begins an operation within a limit, nil: none.
type begin func(c *C.wsc_context, token C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int

// do begins an operation and waits for its completion; a context that ends cancels it.
func (l *loop) do(ctx context.Context, what string, given *givenErrors, f begin) (*operation, error) {
	if ctx.Err() != nil && what != "stop" && what != "close" { // these are begun all the same: only the waiting is given up
		return nil, ended(ctx, what)
	}
	o, token := &operation{given: given, done: make(chan struct{})}, l.tokens.Add(1)
	l.ops.Store(token, o)
	var op *C.wsc_op
	var e *C.wsc_error
	if err := taken(f(limit(ctx), C.uint64_t(token), &op, &e), &e, given); err != nil {
		l.ops.Delete(token)
		return nil, err
	}
	defer C.wsc_op_unref(op)
	select {
	case <-o.done:
	case <-ctx.Done():
		if ctx.Err() == context.DeadlineExceeded && o.soon() {
			return o, o.err // C knows the deadline too, and says what it was waiting for
		}
		C.wsc_op_cancel(op)
		<-o.done
		if o.status < 0 {
			return o, ended(ctx, what)
		}
	}
	return o, o.err
}

// soon gives the operation a moment to end by itself.
func (o *operation) soon() bool {
	moment := time.NewTimer(50 * time.Millisecond)
	defer moment.Stop()
	select {
	case <-o.done:
		return true
	case <-moment.C:
		return false
	}
}

// limit is a context's deadline for C; nil: none.
func limit(ctx context.Context) *C.wsc_context {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil
	}
	now, left := int64(C.wsc_now_ns()), int64(time.Until(deadline))
	if left > math.MaxInt64-now { // beyond what C's clock can say
		return nil
	}
	return &C.wsc_context{struct_size: C.sizeof_wsc_context, deadline_ns: C.int64_t(max(now+left, 1))}
}

// ended is the error of a call whose context has ended.
func ended(ctx context.Context, what string) error {
	status := C.WSC_ERR_CANCELED
	if ctx.Err() == context.DeadlineExceeded {
		status = C.WSC_ERR_TIMEOUT
	}
	cause := ctx.Err()
	if said := context.Cause(ctx); said != cause {
		cause = fmt.Errorf("%w: %w", cause, said)
	}
	return &Error{Status: status, Message: what + ": " + cause.Error(), Cause: cause}
}

func (l *loop) complete(ev *Event) {
	found, ok := l.ops.LoadAndDelete(uint64(ev.c.token))
	if ok {
		o := found.(*operation)
		o.status = int(ev.c.status)
		if o.status < 0 {
			if o.err = errorOf(ev.c.error, o.given); o.err == nil {
				o.err = NewError(o.status, C.GoString(C.wsc_status_text(ev.c.status)))
			}
		} else {
			o.err = errorOf(ev.c.error, o.given) // why a run ended
		}
		o.rtt = time.Duration(C.wsc_op_rtt_ns(ev.c.op))
		m := C.wsc_message{struct_size: C.sizeof_wsc_message}
		if C.wsc_op_take_message(ev.c.op, &m) == C.WSC_OK {
			o.kind, o.data = int(m._type), copied(m.data, uint64(m.length))
			C.wsc_message_free(&m)
		}
	}
	C.wsc_event_done(ev.c, nil)
	if ok {
		close(found.(*operation).done)
	}
}

// copied is C memory as Go memory of its own; not cleared before it is written.
func copied(p *C.uint8_t, n uint64) []byte {
	if n == 0 {
		return []byte{}
	}
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(p)), n)...)
}
