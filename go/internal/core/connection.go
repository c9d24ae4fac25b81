package core

/*
#include "shim.h"
#cgo noescape shim_write_now
#cgo nocallback shim_write_now
*/
import "C"

import (
	"context"
	"runtime"
	"time"
	"unsafe"

	"github.com/wscengine/wscengine/go/internal/abi"
)

// Connection is a connection of the library's: an engine's session's, or one that was made here.
type Connection struct {
	c       *C.wsc_connection
	loop    *loop
	cleanup runtime.Cleanup
}

// newConnection takes over the reference.
func newConnection(c *C.wsc_connection) *Connection {
	l, _ := process() // it is there: c is on it
	k := &Connection{c: c, loop: l}
	k.cleanup = runtime.AddCleanup(k, unref, c)
	return k
}

func unref(c *C.wsc_connection) { C.wsc_connection_unref(c) }

// Free lets go of the connection; nobody may use it any more.
func (k *Connection) Free() {
	k.cleanup.Stop()
	unref(k.c)
}

// NewConnection judges URL and settings, and opens nothing.
func NewConnection(url string, s *Settings) (*Connection, error) {
	l, err := process()
	if err != nil {
		return nil, err
	}
	o, err := s.open()
	if err != nil {
		return nil, err
	}
	defer C.wsc_options_free(o)
	text := cString(url)
	defer C.free(unsafe.Pointer(text))
	var c *C.wsc_connection
	var e *C.wsc_error
	if err := taken(C.wsc_connection_new(l.c, text, o, &c, &e), &e, nil); err != nil {
		return nil, err
	}
	return newConnection(c), nil
}

// Dial blocks until the upgrade is accepted.
func (k *Connection) Dial(ctx context.Context) (*Response, error) {
	defer runtime.KeepAlive(k)
	_, err := k.loop.do(ctx, "dial", nil, func(c *C.wsc_context, token C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int {
		return C.wsc_connection_dial_begin(k.c, c, token, op, e)
	})
	if err != nil {
		return nil, err
	}
	return responseOf(C.wsc_connection_response(k.c)), nil
}

// Read gives the next message.
func (k *Connection) Read(ctx context.Context) (kind int, data []byte, err error) {
	defer runtime.KeepAlive(k)
	o, err := k.loop.do(ctx, "read", nil, func(c *C.wsc_context, token C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int {
		return C.wsc_connection_read_begin(k.c, c, token, op, e)
	})
	if err != nil {
		return 0, nil, err
	}
	return o.kind, o.data, nil
}

// Write sends one message: at once when there is room for it, without more than one crossing.
func (k *Connection) Write(ctx context.Context, kind int, data []byte) error {
	defer runtime.KeepAlive(k)
	if ctx.Err() != nil {
		return ended(ctx, "write")
	}
	p := start(data)
	r := C.shim_write_now(k.c, C.int(kind), p, C.size_t(len(data)))
	if r.status == abi.StatusOk {
		return nil
	}
	return k.loop.writeLater(ctx, r, nil, func(c *C.wsc_context, token C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int {
		return C.wsc_connection_write_begin(k.c, c, C.int(kind), p, C.size_t(len(data)), token, op, e)
	})
}

// Ping gives the time until the pong.
func (k *Connection) Ping(ctx context.Context) (time.Duration, error) {
	defer runtime.KeepAlive(k)
	o, err := k.loop.do(ctx, "ping", nil, func(c *C.wsc_context, token C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int {
		return C.wsc_connection_ping_begin(k.c, c, token, op, e)
	})
	if err != nil {
		return 0, err
	}
	return o.rtt, nil
}

// Close sends the close frame and waits for the peer's.
func (k *Connection) Close(ctx context.Context, code int, reason string) error {
	defer runtime.KeepAlive(k)
	text := cString(reason)
	defer C.free(unsafe.Pointer(text))
	_, err := k.loop.do(ctx, "close", nil, func(c *C.wsc_context, token C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int {
		return C.wsc_connection_close_begin(k.c, c, C.int(code), text, token, op, e)
	})
	return err
}

// CheckClose says what keeps a close message from being sent.
func CheckClose(code int, reason string) error {
	text := cString(reason)
	defer C.free(unsafe.Pointer(text))
	var e *C.wsc_error
	return taken(C.wsc_close_check(C.int(code), text, &e), &e, nil)
}

// Cork collects writes until Uncork.
func (k *Connection) Cork() {
	C.wsc_connection_cork(k.c)
	runtime.KeepAlive(k)
}

// Uncork sends what was collected.
func (k *Connection) Uncork() error {
	defer runtime.KeepAlive(k)
	var e *C.wsc_error
	return taken(C.wsc_connection_uncork(k.c, &e), &e, nil)
}

// Closed is how the connection ended; nil while it has not.
func (k *Connection) Closed() *Close {
	defer runtime.KeepAlive(k)
	out := C.wsc_close{struct_size: C.sizeof_wsc_close}
	if !C.wsc_connection_closed(k.c, &out) {
		return nil
	}
	return closeOf(&out)
}

// RTT is the last pong's; -1 before the first.
func (k *Connection) RTT() time.Duration {
	defer runtime.KeepAlive(k)
	return time.Duration(C.wsc_connection_last_rtt_ns(k.c))
}

// writeLater is the rest of a write that could not be done at once: it waits for room, if that was all that was missing.
func (l *loop) writeLater(ctx context.Context, r C.struct_shim_result, given *givenErrors, f begin) error {
	if err := taken(r.status, &r.error, given); !noRoom(int(r.status)) {
		return err
	}
	_, err := l.do(ctx, "write", given, f)
	return err
}

func noRoom(status int) bool {
	return status == abi.StatusErrQueueFull || status == abi.StatusErrTimeout || status == abi.StatusErrCanceled
}

func start(data []byte) *C.uint8_t { return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(data))) }
