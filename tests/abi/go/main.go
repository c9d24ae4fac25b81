// Probe: is Go well served by the event tier? usage: probe_go WSS-URL CA-FILE SILENT-URL
//
// Ugly on purpose, the binding replaces it. The loop's fd (a dup) sits in the netpoller, every verb is its begin form, an event is a
// goroutine, batches are written straight into Go memory.
package main

/*
#include <stdlib.h>
#include "wscengine.h"
*/
import "C"

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/coder/websocket"
)

// probe is the user's part: what came, and whether anything was missing.
type probe struct {
	*loop
	next, count, opened, stopAt atomic.Int64
	adapter                     *adapter
}

func (p *probe) see(text []byte) {
	var row struct{ Seq int64 }
	must(json.Unmarshal(text, &row))
	if row.Seq != p.next.Load() {
		must(fmt.Errorf("gap: %d came, %d was due", row.Seq, p.next.Load()))
	}
	p.next.Add(1)
	p.count.Add(1)
}

func (p *probe) subscription() []byte { return fmt.Appendf(nil, `{"from": %d}`, p.next.Load()) }

func (p *probe) read(k *C.wsc_connection) {
	r, err := p.do(context.Background(), true, func(t C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int {
		return C.wsc_connection_read_begin(k, nil, t, op, e)
	})
	must(err)
	p.see(r.data)
}

func (p *probe) on(ev *C.wsc_event) {
	reply := C.wsc_reply{struct_size: C.sizeof_wsc_reply}
	entered := false
	switch ev._type {
	case C.WSC_EVENT_OPENED:
		p.opened.Add(1)
		if p.adapter != nil {
			go p.adapter.read(uint64(ev.epoch))
			break
		}
		k, text := C.wsc_session_connection(ev.session), p.subscription()
		_, err := p.do(context.Background(), true, func(t C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int {
			return C.wsc_connection_write_begin(k, nil, C.WSC_TEXT, (*C.uint8_t)(&text[0]), C.size_t(len(text)), t, op, e)
		})
		must(err)
		p.read(k)
	case C.WSC_EVENT_BATCH:
		if entered = bool(C.wsc_event_enter(ev)); entered {
			reply.consumed = C.uint32_t(p.onBatch(ev))
		}
	case C.WSC_EVENT_DO_DIAL, C.WSC_EVENT_DO_CLOSE, C.WSC_EVENT_DO_STOP_READING:
		p.adapter.answer(ev)
	}
	C.wsc_event_done(ev, &reply)
	if entered {
		C.wsc_event_leave(ev)
	}
}

func (p *probe) onBatch(ev *C.wsc_event) (consumed int) {
	if ev.flags&C.WSC_EVENT_IN_HOST != 0 {
		p.inHost.Add(1)
	}
	arena := unsafe.Slice((*byte)(unsafe.Pointer(ev.arena)), ev.arena_length)
	control := (*uint32)(unsafe.Pointer(C.wsc_engine_control(ev.engine)))
	for _, r := range unsafe.Slice(ev.records, ev.count) {
		if atomic.LoadUint32(control) != 0 {
			return consumed
		}
		consumed++
		p.see(arena[r.offset : r.offset+C.uint64_t(r.length)])
		if p.count.Load() == p.stopAt.Load() { // stop, begun inside the callback
			must(taken(C.wsc_engine_stop_begin(ev.engine, nil, 0, nil, nil), nil))
		}
	}
	return consumed
}

// adapter is a host-driven one, made of a third-party package; its messages never enter C.
type adapter struct {
	p      *probe
	client *http.Client
	engine *C.wsc_engine
	conn   *websocket.Conn
	ctx    context.Context
	cancel context.CancelFunc
	out    chan struct{}
}

func (a *adapter) answer(ev *C.wsc_event) {
	response := C.wsc_response_new()
	defer C.wsc_response_free(response)
	switch ev._type {
	case C.WSC_EVENT_DO_DIAL:
		conn, resp, err := websocket.Dial(context.Background(), C.GoString(ev.text), &websocket.DialOptions{HTTPClient: a.client})
		must(err)
		C.wsc_response_set(response, C.int(resp.StatusCode), nil)
		a.engine, a.conn, a.out = ev.engine, conn, make(chan struct{})
		a.ctx, a.cancel = context.WithCancel(context.Background())
	case C.WSC_EVENT_DO_STOP_READING:
		a.cancel()
		<-a.out
	case C.WSC_EVENT_DO_CLOSE:
		_ = a.conn.Close(websocket.StatusCode(ev.close_code), C.GoString(ev.text)) // this library's cancelled read closes it already
	}
	if s := C.wsc_engine_report(ev.engine, ev.token, C.WSC_OK, response, nil); s != C.WSC_OK {
		must(fmt.Errorf("report: %d", s))
	}
}

func (a *adapter) read(epoch uint64) {
	defer close(a.out)
	must(a.conn.Write(a.ctx, websocket.MessageText, a.p.subscription()))
	for {
		_, text, err := a.conn.Read(a.ctx)
		if err != nil {
			return
		}
		a.p.see(text)
		C.wsc_engine_report_alive(a.engine, C.uint64_t(epoch), 1, C.uint64_t(len(text)))
	}
}

func (p *probe) engine(url, ca string, host bool) *C.wsc_engine {
	o, curl, cca := C.wsc_options_new(), C.CString(url), C.CString(ca)
	defer C.wsc_options_free(o)
	defer C.free(unsafe.Pointer(curl))
	defer C.free(unsafe.Pointer(cca))
	C.wsc_options_set_str(o, C.WSC_OPT_CA_FILE, cca)
	if host {
		C.wsc_options_set_int(o, C.WSC_OPT_HOST_ADAPTER, 1)
		C.wsc_options_set_int(o, C.WSC_OPT_KEEPALIVE_INTERVAL_MS, 0)
	}
	var out *C.wsc_engine
	var e *C.wsc_error
	must(taken(C.wsc_engine_new(curl, nil, nil, o, &out, &e), &e))
	must(taken(C.wsc_loop_add(p.c, out), nil))
	return out
}

func (p *probe) start(e *C.wsc_engine) {
	_, err := p.do(context.Background(), true, func(t C.uint64_t, op **C.wsc_op, err **C.wsc_error) C.int {
		return C.wsc_engine_start_begin(e, nil, t, op, err)
	})
	must(err)
}

func (p *probe) stop(e *C.wsc_engine) {
	_, err := p.do(context.Background(), true, func(t C.uint64_t, op **C.wsc_op, err **C.wsc_error) C.int {
		return C.wsc_engine_stop_begin(e, nil, t, op, err)
	})
	must(err)
}

func (p *probe) wait(ctx context.Context, e *C.wsc_engine) (result, error) {
	return p.do(ctx, false, func(t C.uint64_t, op **C.wsc_op, err **C.wsc_error) C.int {
		return C.wsc_engine_wait_begin(e, nil, t, op, err)
	})
}

func until(condition func() bool) {
	for !condition() {
		time.Sleep(5 * time.Millisecond)
	}
}

func check(what string, good bool) {
	if !good {
		must(errors.New(what))
	}
	fmt.Println("ok   ", what)
}

// onItsOwnThread runs f where no other call of the probe ran.
func onItsOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		f()
		close(done)
	}()
	<-done
}

func (p *probe) cancelDial(silent string) {
	url := C.CString(silent)
	defer C.free(unsafe.Pointer(url))
	var k *C.wsc_connection
	var e *C.wsc_error
	must(taken(C.wsc_connection_new(p.c, url, nil, &k, &e), &e))
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	r, err := p.do(ctx, true, func(t C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int {
		return C.wsc_connection_dial_begin(k, nil, t, op, e)
	})
	check("cancel of a dial by a context", r.status == C.WSC_ERR_CANCELED && errors.Is(err, context.DeadlineExceeded))
	C.wsc_connection_unref(k)
}

func (p *probe) pause(e *C.wsc_engine) {
	onItsOwnThread(func() {
		_, err := p.do(context.Background(), true, func(t C.uint64_t, op **C.wsc_op, err **C.wsc_error) C.int {
			return C.wsc_engine_pause_begin(e, nil, t, op, err)
		})
		must(err)
	})
	held, s := p.count.Load(), C.wsc_engine_session(e)
	for range 200 {
		onItsOwnThread(func() { p.read(C.wsc_session_connection(s)) })
	}
	kept := p.count.Load() == held+200
	C.wsc_session_unref(s)
	onItsOwnThread(func() { must(taken(C.wsc_engine_resume(e), nil)) })
	check("pause, 200 reads while it is held, resume, each on another thread: nothing lost, nothing twice", kept)
}

func main() {
	url, ca, silent := os.Args[1], os.Args[2], os.Args[3]
	p := &probe{}
	p.next.Store(1)
	l, err := newLoop(p.on)
	must(err)
	p.loop = l
	p.cancelDial(silent)

	e := p.engine(url, ca, false)
	p.start(e)
	check("start, with a read inside on_open", p.opened.Load() == 1 && p.next.Load() >= 2)
	until(func() bool { return p.count.Load() > 100 })
	p.pause(e)
	p.stopAt.Store(p.count.Load() + 1000)
	r, err := p.wait(context.Background(), e)
	must(err)
	check(fmt.Sprintf("stop inside a callback (status %d, %d messages after it)", r.status, p.count.Load()-p.stopAt.Load()),
		r.status == C.WSC_STOPPED && p.count.Load() == p.stopAt.Load())
	check("batches written straight into Go memory", p.inHost.Load() > 0)

	pem, err := os.ReadFile(ca)
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	p.adapter = &adapter{p: p, client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}}
	h := p.engine(url, ca, true)
	p.start(h)
	before := p.count.Load()
	until(func() bool { return p.count.Load() > before+100 })
	p.stop(h)
	C.wsc_engine_free(h)
	p.adapter = nil
	check("a host-driven adapter", true)

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	p.start(e)
	fmt.Println("ready for Ctrl-C")
	_, err = p.wait(ctx, e)
	p.stop(e)
	C.wsc_engine_free(e)
	l.close()
	check("Ctrl-C during a wait, then a clean stop", errors.Is(err, context.Canceled))
	fmt.Println("done")
}
