package main

/*
#include <stdlib.h>
#include "wscengine.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// result is what an operation's completion said.
type result struct {
	status int
	err    error
	data   []byte
}

// wscError keeps the status beside the text.
type wscError struct {
	status int
	text   string
}

func (e *wscError) Error() string { return e.text }

// taken turns a C error into Go's and drops the reference.
func taken(status C.int, e **C.wsc_error) error {
	if status >= 0 {
		return nil
	}
	text := C.GoString(C.wsc_status_name(status))
	if e != nil {
		text += ": " + C.GoString(C.wsc_error_message(*e))
		C.wsc_error_unref(*e)
	}
	return &wscError{int(status), text}
}

// loop is a wsc_loop in the netpoller: one goroutine waits for a dup of its fd and hands events to goroutines of their own.
type loop struct {
	c       *C.wsc_loop
	file    *os.File
	handle  func(*C.wsc_event)
	token   atomic.Uint64
	pending sync.Map // token -> chan result
	polled  chan struct{}
	inHost  atomic.Int64 // batches that C wrote straight into Go memory
}

const slabSize = 64 << 10

// slot is an event in C memory with the pinned Go slab that a batch may be written to.
type slot struct {
	ev   *C.wsc_event
	slab []byte
	pin  runtime.Pinner
}

func newSlot() *slot {
	s := &slot{ev: (*C.wsc_event)(C.calloc(1, C.sizeof_wsc_event)), slab: make([]byte, slabSize)}
	s.pin.Pin(&s.slab[0])
	return s
}

func (s *slot) next(l *C.wsc_loop) bool {
	*s.ev = C.wsc_event{struct_size: C.sizeof_wsc_event, host_capacity: slabSize}
	s.ev.host_buffer = (*C.uint8_t)(unsafe.Pointer(&s.slab[0]))
	return C.wsc_loop_next(l, 0, s.ev) == C.WSC_OK
}

func (s *slot) free() {
	C.free(unsafe.Pointer(s.ev))
	s.pin.Unpin()
}

func newLoop(handle func(*C.wsc_event)) (*loop, error) {
	l := &loop{handle: handle, polled: make(chan struct{})}
	var e *C.wsc_error
	if err := taken(C.wsc_loop_new(nil, &l.c, &e), &e); err != nil {
		return nil, err
	}
	fd, err := syscall.Dup(int(C.wsc_loop_fd(l.c)))
	if err != nil {
		return nil, err
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	l.file = os.NewFile(uintptr(fd), "wsc_loop")
	go l.poll()
	return l, nil
}

func (l *loop) poll() {
	defer close(l.polled)
	conn, err := l.file.SyscallConn()
	must(err)
	s := newSlot()
	for {
		err := conn.Read(func(uintptr) bool { return s.next(l.c) })
		if err != nil {
			s.free()
			return // closed
		}
		if s.ev._type == C.WSC_EVENT_OP_DONE {
			l.complete(s.ev)
		} else {
			go func(s *slot) {
				l.handle(s.ev)
				s.free()
			}(s)
			s = newSlot()
		}
	}
}

func (l *loop) complete(ev *C.wsc_event) {
	e := C.wsc_error_ref((*C.wsc_error)(unsafe.Pointer(ev.error)))
	r := result{status: int(ev.status), err: taken(ev.status, &e)}
	m := C.wsc_message{struct_size: C.sizeof_wsc_message}
	if C.wsc_op_take_message(ev.op, &m) == C.WSC_OK {
		r.data = C.GoBytes(unsafe.Pointer(m.data), C.int(m.length))
		C.wsc_message_free(&m)
	}
	waiter, _ := l.pending.LoadAndDelete(uint64(ev.token))
	waiter.(chan result) <- r
	C.wsc_event_done(ev, nil)
}

type beginFunc func(token C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int

// begin gives the channel of the completion and, with wantOp, the operation (to be unref'd).
func (l *loop) begin(f beginFunc, op **C.wsc_op) (chan result, error) {
	token, done := l.token.Add(1), make(chan result, 1)
	l.pending.Store(token, done)
	var e *C.wsc_error
	if err := taken(f(C.uint64_t(token), op, &e), &e); err != nil {
		l.pending.Delete(token)
		return nil, err
	}
	return done, nil
}

// do begins and waits. A context that ends gives up the wait; with cancel it also cancels the operation and waits for its end.
func (l *loop) do(ctx context.Context, cancel bool, f beginFunc) (result, error) {
	var op *C.wsc_op
	done, err := l.begin(f, &op)
	if err != nil {
		return result{}, err
	}
	defer C.wsc_op_unref(op)
	select {
	case r := <-done:
		return r, r.err
	case <-ctx.Done():
		if !cancel {
			return result{}, ctx.Err()
		}
		C.wsc_op_cancel(op)
		r := <-done
		return r, errors.Join(ctx.Err(), r.err)
	}
}

func (l *loop) close() {
	must(l.file.Close())
	<-l.polled
	C.wsc_loop_free(l.c)
}

func must(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "FAILED %v\n", err)
		os.Exit(1)
	}
}
