package core

/*
#include "shim.h"
#cgo noescape wsc_event_done
*/
import "C"

import (
	"time"
	"unsafe"
)

// Event is what the library asks for or tells of; each is answered exactly once. What it gives is copied, but for Attempt.
type Event struct {
	shim  *C.struct_shim_event
	c     *C.wsc_event // the shim's
	batch Batch
}

func newEvent() *Event {
	shim := (*C.struct_shim_event)(C.calloc(1, C.sizeof_struct_shim_event))
	ev := &Event{shim: shim, c: &shim.event}
	ev.batch.ev = ev
	return ev
}

func (ev *Event) free() {
	C.free(unsafe.Pointer(ev.shim))
	ev.shim, ev.c = nil, nil
}

// Kind is one of abi.EventType….
func (ev *Event) Kind() int { return int(ev.c._type) }

// Flags are of abi.EventFlags….
func (ev *Event) Flags() int { return int(ev.c.flags) }

// Epoch is the session's: 1, 2, 3 … in a run.
func (ev *Event) Epoch() uint64 { return uint64(ev.c.epoch) }

// SessionID is a UUID, or "".
func (ev *Event) SessionID() string { return C.GoString(ev.c.session_id) }

// Token is what the answer to a DO_ event refers to.
func (ev *Event) Token() uint64 { return uint64(ev.c.token) }

// Status is the reason of STOPPED.
func (ev *Event) Status() int { return int(ev.c.status) }

// Level is a log record's.
func (ev *Event) Level() int { return int(ev.c.level) }

// Lost is how many log records were dropped before this one.
func (ev *Event) Lost() int { return int(ev.c.count) }

// Time is when a log record was made.
func (ev *Event) Time() time.Time { return time.Unix(0, int64(ev.c.received_ns)) }

// Retry is the number of failures in a row before this one.
func (ev *Event) Retry() int { return int(ev.c.retry) }

// Timeout is how long the answer to a DO_ event may take; 0: it does not say.
func (ev *Event) Timeout() time.Duration { return time.Duration(ev.c.delay_ns) }

// CloseCode is DO_CLOSE's.
func (ev *Event) CloseCode() int { return int(ev.c.close_code) }

// Text is a log record's line, DO_DIAL's URL or DO_CLOSE's reason.
func (ev *Event) Text() string { return C.GoString(ev.c.text) }

// Subsystem is a log record's.
func (ev *Event) Subsystem() string { return C.GoString(ev.c.subsystem) }

// Response is OPENED's.
func (ev *Event) Response() *Response { return responseOf(ev.c.response) }

// Close is how the connection of a CLOSED has ended; nil: the user ended the session.
func (ev *Event) Close() *Close { return closeOf(ev.c.close) }

// Connection is the session's; nil with a host adapter.
func (ev *Event) Connection() *Connection {
	k := C.wsc_session_connection(ev.c.session)
	if k == nil {
		return nil
	}
	return newConnection(C.wsc_connection_ref(k))
}

// Session is the session's handle.
func (ev *Event) Session() *Session { return newSession(ev.c.session) }

// Attempt is BEFORE_ATTEMPT's and DO_DIAL's, until the answer.
func (ev *Event) Attempt() *Attempt { return &Attempt{c: ev.c.attempt} }

// Done accepts.
func (ev *Event) Done() { C.wsc_event_done(ev.c, nil) }

func (ev *Event) dismiss() {
	if ev.c._type == C.WSC_EVENT_BATCH {
		C.shim_taken(ev.c, 0)
		C.wsc_event_leave(ev.c)
		return
	}
	ev.Done()
}

// Closed answers CLOSED: what is to be sent; 0: 1001.
func (ev *Event) Closed(code int, reason string) {
	text := cString(reason)
	defer C.free(unsafe.Pointer(text))
	C.shim_closed(ev.c, C.int(code), text)
}

// Refuse answers OPENED and BEFORE_ATTEMPT with a no; err comes back from start, or with the attempt's failure.
func (e *Engine) Refuse(ev *Event, err error) {
	made := e.given.give(err, C.WSC_ERR_HOST)
	C.shim_refused(ev.c, made)
	C.wsc_error_unref(made)
}

// Error is the event's, nil when it has none.
func (e *Engine) Error(ev *Event) error { return errorOf(ev.c.error, &e.given) }

// LastError is why the attempt before this one failed.
func (e *Engine) LastError(a *Attempt) error {
	if a.c == nil {
		return nil
	}
	return errorOf(C.wsc_attempt_last_error(a.c), &e.given)
}

// Close is how a connection ended.
type Close struct {
	Initiator, Code, CodeSent, CodeReceived, OSError, Timer int
	Unsent                                                  uint64
	Reason                                                  string
}

func closeOf(c *C.wsc_close) *Close {
	if c == nil {
		return nil
	}
	return &Close{
		Initiator:    int(c.initiator),
		Code:         int(c.code),
		CodeSent:     int(c.code_sent),
		CodeReceived: int(c.code_received),
		OSError:      int(c.os_error),
		Timer:        int(c.timer),
		Unsent:       uint64(c.unsent_bytes),
		Reason:       C.GoString(c.reason),
	}
}
