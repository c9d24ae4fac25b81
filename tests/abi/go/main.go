// Probe: is Go well served by the event tier? usage: probe_go WSS-URL CA-FILE SILENT-URL
//
// Ugly on purpose, the binding replaces it. The loop's fd (a dup) sits in the netpoller, every verb is its begin form, an event is a
// goroutine, batches are written straight into Go memory. loop.go is what any binding needs, main.go what is proved with it.
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
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/coder/websocket"
)

var forever = context.Background()

// probe is the user's part: what came, and whether anything was missing.
type probe struct {
	*loop
	next, count, stopAt, inHost atomic.Int64
	adapter                     *adapter
}

func (p *probe) see(text []byte) {
	var row struct{ Seq int64 }
	must(json.Unmarshal(text, &row))
	check(row.Seq == p.next.Load(), fmt.Sprintf("gap: %d came, %d was due", row.Seq, p.next.Load()))
	p.next.Add(1)
	p.count.Add(1)
}

func (p *probe) subscription() []byte { return fmt.Appendf(nil, `{"from": %d}`, p.next.Load()) }

func (p *probe) read(k *C.wsc_connection) {
	r, err := p.do(forever, func(t C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int {
		return C.wsc_connection_read_begin(k, nil, t, op, e)
	})
	must(err)
	p.see(r.data)
}

func (p *probe) on(ev *C.wsc_event) {
	reply, entered := C.wsc_reply{struct_size: C.sizeof_wsc_reply}, false
	switch ev._type {
	case C.WSC_EVENT_OPENED:
		if p.adapter != nil {
			go p.adapter.read(ev.epoch)
			break
		}
		k, text := C.wsc_session_connection(ev.session), p.subscription()
		_, err := p.do(forever, func(t C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int {
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
	cancel context.CancelFunc
	ctx    context.Context
	out    chan struct{}
}

func (a *adapter) answer(ev *C.wsc_event) {
	response := C.wsc_response_new()
	defer C.wsc_response_free(response)
	switch ev._type {
	case C.WSC_EVENT_DO_DIAL:
		conn, resp, err := websocket.Dial(forever, C.GoString(ev.text), &websocket.DialOptions{HTTPClient: a.client})
		must(err)
		C.wsc_response_set(response, C.int(resp.StatusCode), nil)
		a.engine, a.conn, a.out = ev.engine, conn, make(chan struct{})
		a.ctx, a.cancel = context.WithCancel(forever)
	case C.WSC_EVENT_DO_STOP_READING:
		a.cancel()
		<-a.out
	case C.WSC_EVENT_DO_CLOSE:
		_ = a.conn.Close(websocket.StatusCode(ev.close_code), C.GoString(ev.text)) // this library's cancelled read closes it already
	}
	must(taken(C.wsc_engine_report(ev.engine, ev.token, C.WSC_OK, response, nil), nil))
}

func (a *adapter) read(epoch C.uint64_t) {
	defer close(a.out)
	must(a.conn.Write(a.ctx, websocket.MessageText, a.p.subscription()))
	for {
		_, text, err := a.conn.Read(a.ctx)
		if err != nil {
			return
		}
		a.p.see(text)
		C.wsc_engine_report_alive(a.engine, epoch, 1, C.uint64_t(len(text)))
	}
}

func (p *probe) engine(url, ca string, host C.int64_t) (e *C.wsc_engine) {
	o := C.wsc_options_new()
	defer C.wsc_options_free(o)
	C.wsc_options_set_str(o, C.WSC_OPT_CA_FILE, C.CString(ca))
	C.wsc_options_set_int(o, C.WSC_OPT_HOST_ADAPTER, host)
	C.wsc_options_set_int(o, C.WSC_OPT_KEEPALIVE_INTERVAL_MS, 2000*(1-host))
	must(taken(C.wsc_engine_new(C.CString(url), nil, nil, o, &e, nil), nil))
	must(taken(C.wsc_loop_add(p.c, e), nil))
	return e
}

func (p *probe) verb(ctx context.Context, name string, e *C.wsc_engine) (result, error) {
	return p.do(ctx, func(t C.uint64_t, op **C.wsc_op, err **C.wsc_error) C.int {
		switch name {
		case "start":
			return C.wsc_engine_start_begin(e, nil, t, op, err)
		case "pause":
			return C.wsc_engine_pause_begin(e, nil, t, op, err)
		case "stop":
			return C.wsc_engine_stop_begin(e, nil, t, op, err)
		}
		return C.wsc_engine_wait_begin(e, nil, t, op, err)
	})
}

func (p *probe) must(name string, e *C.wsc_engine) result {
	r, err := p.verb(forever, name, e)
	must(err)
	return r
}

func (p *probe) until(count int64) {
	for p.count.Load() < count {
		time.Sleep(5 * time.Millisecond)
	}
}

func check(good bool, what string) {
	if !good {
		must(errors.New(what))
	}
}

func (p *probe) cancelDial(silent string) {
	var k *C.wsc_connection
	must(taken(C.wsc_connection_new(p.c, C.CString(silent), nil, &k, nil), nil))
	ctx, cancel := context.WithTimeout(forever, 100*time.Millisecond)
	defer cancel()
	r, err := p.do(ctx, func(t C.uint64_t, op **C.wsc_op, e **C.wsc_error) C.int {
		return C.wsc_connection_dial_begin(k, nil, t, op, e)
	})
	check(r.status == C.WSC_ERR_CANCELED && errors.Is(err, context.DeadlineExceeded), "cancel of a dial by a context")
	C.wsc_connection_unref(k)
}

// pause: every step may run on another thread, as goroutines do.
func (p *probe) pause(e *C.wsc_engine) {
	p.must("pause", e)
	held, s := p.count.Load(), C.wsc_engine_session(e)
	for range 200 {
		done := make(chan struct{})
		go func() { p.read(C.wsc_session_connection(s)); close(done) }()
		<-done
	}
	check(p.count.Load() == held+200, "pause, 200 reads while it is held, resume: nothing lost, nothing twice")
	C.wsc_session_unref(s)
	must(taken(C.wsc_engine_resume(e), nil))
}

func main() {
	url, ca, silent := os.Args[1], os.Args[2], os.Args[3]
	p := &probe{}
	p.next.Store(1)
	p.loop = newLoop(p.on)
	p.cancelDial(silent)

	e := p.engine(url, ca, 0)
	p.must("start", e)
	check(p.next.Load() >= 2, "start, with a read inside on_open")
	p.until(100)
	p.pause(e)
	p.stopAt.Store(p.count.Load() + 1000)
	check(p.must("wait", e).status == C.WSC_STOPPED && p.count.Load() == p.stopAt.Load(), "stop inside a callback")
	check(p.inHost.Load() > 0, "batches written straight into Go memory")

	pem, err := os.ReadFile(ca)
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	p.adapter = &adapter{p: p, client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}}
	h := p.engine(url, ca, 1)
	p.must("start", h)
	p.until(p.count.Load() + 100)
	p.must("stop", h)
	C.wsc_engine_free(h)
	p.adapter = nil

	ctx, cancel := signal.NotifyContext(forever, os.Interrupt)
	defer cancel()
	p.must("start", e)
	fmt.Println("ready for Ctrl-C")
	_, err = p.verb(ctx, "wait", e)
	p.must("stop", e)
	check(errors.Is(err, context.Canceled), "Ctrl-C during a wait, then a clean stop")
	C.wsc_engine_free(e)
	p.close()
	fmt.Println("done")
}
