// Package core is the C library as the Go packages use it: one loop a process, whose events goroutines take and answer.
//
// Nothing waits in C. One goroutine of a process waits in the netpoller for the loop's file descriptor; with an event in hand it
// is that event's worker, and waits again when the callback has returned. If a callback takes long, the library's standby sees that
// nobody comes for what lies on the loop and calls the reserve, which starts another worker.
package core

/*
#include "shim.h"
#cgo noescape shim_next
#cgo nocallback shim_next
*/
import "C"

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// urgentFor is how long after a callback has kept the loop waiting each event gets a worker of its own, as in the C crew.
	urgentFor = time.Second
)

type loop struct {
	c       *C.wsc_loop
	conn    syscall.RawConn
	file    *os.File
	waiting atomic.Bool  // a goroutine is in the netpoller, or on its way there
	urgent  atomic.Int64 // until then (wsc_now_ns)
	engines sync.Map     // number -> *Engine, of those that run
	numbers atomic.Uintptr
	ops     sync.Map // token -> *operation
	tokens  atomic.Uint64
}

var (
	made   atomic.Pointer[loop]
	making sync.Mutex
)

// process is the loop of this process, made when it is first wanted. It lives as long as the process. One that could not be made, for want of file
// descriptors for instance, is tried again.
func process() (*loop, error) {
	if l := made.Load(); l != nil {
		return l, nil
	}
	making.Lock()
	defer making.Unlock()
	if l := made.Load(); l != nil {
		return l, nil
	}
	l, err := newLoop()
	if err == nil {
		made.Store(l)
	}
	return l, err
}

func newLoop() (*loop, error) {
	l := &loop{}
	var e *C.wsc_error
	if err := taken(C.wsc_loop_new(nil, &l.c, &e), &e, nil); err != nil {
		return nil, err
	}
	fd, err := syscall.Dup(int(C.wsc_loop_fd(l.c)))
	if err == nil {
		syscall.CloseOnExec(fd)
		err = syscall.SetNonblock(fd, true)
	}
	if err == nil {
		l.file = os.NewFile(uintptr(fd), "wscengine loop")
		l.conn, err = l.file.SyscallConn()
	}
	if err != nil {
		C.wsc_loop_free(l.c)
		if l.file != nil {
			_ = l.file.Close()
		}
		return nil, fmt.Errorf("wscengine: the loop's file descriptor: %w", err)
	}
	go newWorker(l).run()
	go l.reserve()
	return l, nil
}

// reserve starts a worker whenever the loop has been left alone for some milliseconds.
func (l *loop) reserve() {
	for {
		switch status := C.wsc_loop_spare(l.c, -1); {
		case status < 0:
			return // in a forked child
		case status == C.WSC_OK:
			l.urgent.Store(int64(C.wsc_now_ns()) + int64(urgentFor))
			go newWorker(l).run()
		}
	}
}

// handover makes sure that somebody waits for the next event while this one's callback runs, if callbacks have been slow lately.
func (l *loop) handover() {
	until := l.urgent.Load()
	if until == 0 || l.waiting.Load() {
		return
	}
	if int64(C.wsc_now_ns()) > until {
		l.urgent.CompareAndSwap(until, 0)
		return
	}
	go newWorker(l).run()
}

// worker is a goroutine that takes events and answers them.
type worker struct {
	loop   *loop
	ev     *Event
	caller *caller
	got    bool
	poll   func(uintptr) bool
}

func newWorker(l *loop) *worker {
	w := &worker{loop: l, ev: newEvent()}
	w.poll = func(uintptr) bool {
		w.got = C.shim_next(l.c, w.ev.shim) == C.WSC_OK
		return w.got
	}
	return w
}

// run takes events until there are none and another goroutine waits for the next.
func (w *worker) run() {
	w.caller = enlist()
	cut := true
	defer func() {
		if cut {
			w.cut()
		}
		w.caller.retire()
	}()
	for w.next() {
		w.loop.handover()
		w.dispatch()
	}
	w.ev.free()
	cut = false
}

// cut is for a callback that has ended its goroutine (runtime.Goexit, as failed assertions do) or panics: another takes over.
func (w *worker) cut() {
	if w.ev.Kind() == C.WSC_EVENT_BATCH {
		C.shim_leave(w.ev.shim)
		w.ev.batch.release()
	} else {
		w.ev.free() // the handler has answered it
	}
	go newWorker(w.loop).run()
}

func (w *worker) next() bool {
	l := w.loop
	if l.waiting.CompareAndSwap(false, true) {
		err := l.conn.Read(w.poll)
		l.waiting.Store(false)
		if err != nil {
			panic("wscengine: the loop's file descriptor: " + err.Error()) // it is never closed
		}
		return true
	}
	return w.poll(0)
}

func (w *worker) dispatch() {
	ev := w.ev
	if ev.Kind() == C.WSC_EVENT_OP_DONE {
		w.loop.complete(ev)
		return
	}
	found, ok := w.loop.engines.Load(uintptr(C.shim_user(ev.c)))
	if !ok {
		ev.dismiss()
		return
	}
	e := found.(*Engine)
	w.caller.inside.Store(e)
	if ev.Kind() == C.WSC_EVENT_BATCH {
		w.ev = e.deliver(ev)
	} else {
		e.handler.Handle(ev)
	}
	w.caller.inside.Store(nil)
}
