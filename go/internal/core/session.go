package core

// #include "shim.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// Session is the handle of one session of an engine.
type Session struct{ c *C.wsc_session }

func newSession(s *C.wsc_session) *Session {
	if s == nil {
		return nil
	}
	made := &Session{c: C.wsc_session_ref(s)}
	runtime.AddCleanup(made, func(c *C.wsc_session) { C.wsc_session_unref(c) }, made.c)
	return made
}

// Exit ends the run of this session's engine, when the running callbacks have returned.
func (s *Session) Exit() {
	C.wsc_session_exit(s.c)
	runtime.KeepAlive(s)
}

// Restart ends this session, never a newer one, and connects anew.
func (s *Session) Restart() {
	C.wsc_session_restart(s.c)
	runtime.KeepAlive(s)
}

// Attempt is one attempt to connect, before it is made; it is gone with the event that brought it.
type Attempt struct{ c *C.wsc_attempt }

// Forget makes all of its methods do nothing.
func (a *Attempt) Forget() { a.c = nil }

// Number of failed attempts in a row so far.
func (a *Attempt) Number() int {
	if a.c == nil {
		return 0
	}
	return int(C.wsc_attempt_number(a.c))
}

// URL without its password.
func (a *Attempt) URL() string {
	if a.c == nil {
		return ""
	}
	return C.GoString(C.wsc_attempt_url(a.c))
}

func (a *Attempt) set(value string, f func(*C.char, **C.wsc_error) C.int) error {
	if a.c == nil {
		return NewError(C.WSC_ERR_STATE, "the attempt is over")
	}
	text := cString(value)
	defer C.free(unsafe.Pointer(text))
	var e *C.wsc_error
	return taken(f(text, &e), &e, nil)
}

// SetURL dials another one from here on.
func (a *Attempt) SetURL(url string) error {
	return a.set(url, func(text *C.char, e **C.wsc_error) C.int { return C.wsc_attempt_set_url(a.c, text, e) })
}

// AddHeader adds one, as "Name: value".
func (a *Attempt) AddHeader(line string) error {
	return a.set(line, func(text *C.char, e **C.wsc_error) C.int { return C.wsc_attempt_add_header(a.c, text, e) })
}

// AddSubprotocol offers one more.
func (a *Attempt) AddSubprotocol(name string) error {
	return a.set(name, func(text *C.char, e **C.wsc_error) C.int { return C.wsc_attempt_add_subprotocol(a.c, text, e) })
}

// ClearHeaders offers none of those so far.
func (a *Attempt) ClearHeaders() {
	if a.c != nil {
		C.wsc_attempt_clear_headers(a.c)
	}
}

// ClearSubprotocols offers none of those so far.
func (a *Attempt) ClearSubprotocols() {
	if a.c != nil {
		C.wsc_attempt_clear_subprotocols(a.c)
	}
}

// SetDelay waits so long and asks again.
func (a *Attempt) SetDelay(ms int64) {
	if a.c != nil {
		C.wsc_attempt_set_delay_ms(a.c, C.int64_t(ms))
	}
}

// SetRetryDelay is how long to wait if this attempt fails.
func (a *Attempt) SetRetryDelay(ms int64) {
	if a.c != nil {
		C.wsc_attempt_set_retry_delay_ms(a.c, C.int64_t(ms))
	}
}

// Reset forgets the failures so far.
func (a *Attempt) Reset() {
	if a.c != nil {
		C.wsc_attempt_reset(a.c)
	}
}
