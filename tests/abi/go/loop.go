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

const slabSize = 64 << 10

// loop is a wsc_loop in the netpoller: one goroutine waits for a dup of its fd and hands events to goroutines of their own.
type loop struct {
	c       *C.wsc_loop
	file    *os.File
	token   atomic.Uint64
	pending sync.Map // token -> chan result
	polled  chan struct{}
}

// result is what an operation's completion said.
type result struct {
	status int
	err    error
	data   []byte
}

// newEvent gives an event in C memory and the pinned Go slab that a batch may be written to.
func newEvent() (*C.wsc_event, func()) {
	var pin runtime.Pinner
	ev, slab := (*C.wsc_event)(C.calloc(1, C.sizeof_wsc_event)), make([]byte, slabSize)
	pin.Pin(&slab[0])
	ev.struct_size, ev.host_capacity = C.sizeof_wsc_event, slabSize
	ev.host_buffer = (*C.uint8_t)(unsafe.Pointer(&slab[0]))
	return ev, func() { C.free(unsafe.Pointer(ev)); pin.Unpin() }
}

func newLoop(handle func(*C.wsc_event)) *loop {
	l := &loop{polled: make(chan struct{})}
	must(taken(C.wsc_loop_new(nil, &l.c, nil), nil))
	fd, err := syscall.Dup(int(C.wsc_loop_fd(l.c)))
	must(err)
	must(syscall.SetNonblock(fd, true))
	l.file = os.NewFile(uintptr(fd), "wsc_loop")
	go l.poll(handle)
	return l
}

func (l *loop) poll(handle func(*C.wsc_event)) {
	defer close(l.polled)
	conn, err := l.file.SyscallConn()
	must(err)
	for {
		ev, free := newEvent()
		if conn.Read(func(uintptr) bool { return C.wsc_loop_next(l.c, 0, ev) == C.WSC_OK }) != nil {
			free()
			return // closed
		}
		if ev._type == C.WSC_EVENT_OP_DONE {
			l.complete(ev)
			free()
		} else {
			go func() { handle(ev); free() }()
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

// do begins and waits; a context that ends cancels the operation.
func (l *loop) do(ctx context.Context, begin func(t C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int) (result, error) {
	var op *C.wsc_op
	var e *C.wsc_error
	token, done := l.token.Add(1), make(chan result, 1)
	l.pending.Store(token, done)
	if err := taken(begin(C.uint64_t(token), &op, &e), &e); err != nil {
		l.pending.Delete(token)
		return result{}, err
	}
	defer C.wsc_op_unref(op)
	select {
	case r := <-done:
		return r, r.err
	case <-ctx.Done():
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
	return errors.New(text)
}

func must(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "FAILED %v\n", err)
		os.Exit(1)
	}
}
