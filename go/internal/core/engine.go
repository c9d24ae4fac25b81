package core

/*
#include "shim.h"
#cgo noescape shim_engine_write_now
#cgo nocallback shim_engine_write_now
*/
import "C"

import (
	"context"
	"net/http"
	"runtime"
	"unsafe"

	"github.com/wscengine/wscengine/go/internal/abi"
)

// Handler is who answers an engine's events, on goroutines of this package. It does so also when a callback ends its goroutine (runtime.Goexit).
type Handler interface {
	// Handle answers an event that is no batch.
	Handle(ev *Event)
	// Read takes messages of a batch until there are none, and finishes it. join starts one reader more for the rest.
	Read(b *Batch, join func(*Batch))
}

// Engine is an engine of the library's, on the loop of this process.
type Engine struct {
	c       *C.wsc_engine
	number  uintptr
	loop    *loop
	handler Handler
	control *uint32
	given   givenErrors
	tracer  Tracer
}

// NewEngine judges URL and settings, and starts nothing. tracer may be nil.
func NewEngine(url string, s *Settings, handler Handler, t Tracer) (*Engine, error) {
	l, err := process()
	if err != nil {
		return nil, err
	}
	o, err := s.open()
	if err != nil {
		return nil, err
	}
	defer C.wsc_options_free(o)
	made := &Engine{number: l.numbers.Add(1), loop: l, handler: handler, tracer: t}
	made.trace(o)
	text := cString(url)
	defer C.free(unsafe.Pointer(text))
	var e *C.wsc_error
	if err := taken(C.shim_engine_new(text, C.uintptr_t(made.number), o, &made.c, &e), &e, nil); err != nil {
		traced.Delete(made.number)
		return nil, err
	}
	made.control = (*uint32)(unsafe.Pointer(C.wsc_engine_control(made.c)))
	runtime.AddCleanup(made, free, owned{made.c, made.number})
	if err := taken(C.wsc_loop_add(l.c, made.c), new(*C.wsc_error), nil); err != nil {
		return nil, err
	}
	return made, nil
}

// owned is what an engine that nobody can reach any more leaves behind.
type owned struct {
	c      *C.wsc_engine
	number uintptr
}

func free(o owned) {
	C.wsc_engine_free(o.c)
	traced.Delete(o.number)
}

// Attach makes the events of a run reach the handler; Detach ends that, when the run has.
func (e *Engine) Attach() { e.loop.engines.Store(e.number, e) }

// Detach lets go of the handler.
func (e *Engine) Detach() { e.loop.engines.Delete(e.number) }

// ID tells engines apart in log records.
func (e *Engine) ID() uint64 {
	defer runtime.KeepAlive(e)
	return uint64(C.wsc_engine_id(e.c))
}

// Start dials and blocks until OPENED was answered. span: of the tracer, the parent.
func (e *Engine) Start(ctx context.Context, span uintptr) error {
	defer runtime.KeepAlive(e)
	_, err := e.loop.do(ctx, "start", &e.given, func(c *C.wsc_context, token C.uint64_t, op **C.wsc_op, out **C.wsc_error) C.int {
		if span == 0 {
			return C.wsc_engine_start_begin(e.c, c, token, op, out)
		}
		return C.shim_start_begin(e.c, c, C.uintptr_t(span), token, op, out)
	})
	return err
}

// Stop calls begun once the core knows of it, and blocks until no callback runs or will run. A context that ends ends the waiting only.
func (e *Engine) Stop(ctx context.Context, begun func()) error {
	defer runtime.KeepAlive(e)
	_, err := e.loop.do(ctx, "stop", &e.given, func(c *C.wsc_context, token C.uint64_t, op **C.wsc_op, out **C.wsc_error) C.int {
		r := C.wsc_engine_stop_begin(e.c, c, token, op, out)
		if r == C.WSC_OK {
			begun()
		}
		return r
	})
	return err
}

// Wait blocks until the run has ended; the error says why, nil after a stop or an exit.
func (e *Engine) Wait(ctx context.Context) error {
	defer runtime.KeepAlive(e)
	_, err := e.loop.do(ctx, "wait", &e.given, func(c *C.wsc_context, token C.uint64_t, op **C.wsc_op, out **C.wsc_error) C.int {
		return C.wsc_engine_wait_begin(e.c, c, token, op, out)
	})
	return err
}

// Pause blocks until no message is being taken by the library; Resume ends it.
func (e *Engine) Pause(ctx context.Context) error {
	defer runtime.KeepAlive(e)
	o, err := e.loop.do(ctx, "pause", &e.given, func(c *C.wsc_context, token C.uint64_t, op **C.wsc_op, out **C.wsc_error) C.int {
		return C.wsc_engine_pause_begin(e.c, c, token, op, out)
	})
	if err != nil && o != nil && o.status == abi.StatusOk {
		e.Resume() // granted, though the context had ended
	}
	return err
}

// Resume ends a pause.
func (e *Engine) Resume() {
	C.wsc_engine_resume(e.c)
	runtime.KeepAlive(e)
}

// Exit ends the run when the running callbacks have returned.
func (e *Engine) Exit() {
	C.wsc_engine_exit(e.c)
	runtime.KeepAlive(e)
}

// Restart ends the session that is open when the running callbacks have returned.
func (e *Engine) Restart() {
	C.wsc_engine_restart(e.c)
	runtime.KeepAlive(e)
}

// State is one of abi.State….
func (e *Engine) State() int {
	defer runtime.KeepAlive(e)
	return int(C.wsc_engine_state(e.c))
}

// Write sends one message on the session that is open.
func (e *Engine) Write(ctx context.Context, kind int, data []byte) error {
	defer runtime.KeepAlive(e)
	if ctx.Err() != nil {
		return ended(ctx, "write")
	}
	p := start(data)
	r := C.shim_engine_write_now(e.c, C.int(kind), p, C.size_t(len(data)))
	if r.status == abi.StatusOk {
		return nil
	}
	return e.loop.writeLater(ctx, r, &e.given, func(c *C.wsc_context, token C.uint64_t, op **C.wsc_op, out **C.wsc_error) C.int {
		return C.wsc_engine_write_begin(e.c, c, C.int(kind), p, C.size_t(len(data)), token, op, out)
	})
}

// Stats fills the counters; out's fields are C's.
func (e *Engine) Stats() Stats {
	defer runtime.KeepAlive(e)
	s := C.wsc_stats{struct_size: C.sizeof_wsc_stats}
	C.wsc_engine_stats(e.c, &s)
	return statsOf(&s)
}

// Report answers a DO_ event; false: nobody waits for the answer any more.
func (e *Engine) Report(token uint64, r *http.Response, err error, status int) bool {
	defer runtime.KeepAlive(e)
	if err == nil {
		status = abi.StatusOk
	}
	response, made := giveResponse(r), e.given.give(err, status)
	wanted := C.wsc_engine_report(e.c, C.uint64_t(token), C.int(status), response, made) == C.WSC_OK
	C.wsc_response_free(response)
	C.wsc_error_unref(made)
	return wanted
}

// ReportRead tells of a read error of a host adapter's: a close (status closed, with its code) or one that is none.
// text is what is told of it, a close's reason.
func (e *Engine) ReportRead(epoch uint64, err error, text string, status, closeCode int) {
	defer runtime.KeepAlive(e)
	made := e.given.giveAs(err, text, status, closeCode)
	C.wsc_engine_report_read(e.c, C.uint64_t(epoch), made)
	C.wsc_error_unref(made)
}

// ReportAlive tells of messages that a host adapter's readers have seen.
func (e *Engine) ReportAlive(epoch, messages, bytes uint64) {
	defer runtime.KeepAlive(e)
	C.wsc_engine_report_alive(e.c, C.uint64_t(epoch), C.uint64_t(messages), C.uint64_t(bytes))
}

// Control is not 0 when no more messages are to be taken.
func (e *Engine) Control() *uint32 { return e.control }
