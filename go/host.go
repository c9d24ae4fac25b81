package wscengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wscengine/wscengine/go/internal/abi"
	"github.com/wscengine/wscengine/go/internal/core"
	"github.com/wscengine/wscengine/go/wsadapters"
)

// host answers what the core asks of an adapter that is Go's: to dial, to ping, to close. Its messages never leave Go (see link).
type host struct {
	engine *WebsocketEngine
	conn   wsadapters.WebsocketConnectionAdapterInterface
	traced bool // conn tells a tracer of what it does itself

	mu     sync.Mutex
	link   *link // the last one that was dialed
	asking int   // questions that are not answered yet

	sentMessages, sentBytes, dropped atomic.Uint64
}

// asked takes a question; it is answered from a goroutine of its own, because adapters block.
func (h *host) asked(ev *core.Event) {
	q := question{token: ev.Token(), timeout: ev.Timeout(), code: wsadapters.StatusCode(ev.CloseCode())}
	kind, text := ev.Kind(), ev.Text()
	var answer func()
	switch kind {
	case abi.EventTypeDoDial:
		l := h.dialing()
		answer = func() { h.dial(l, q, text) }
	case abi.EventTypeDoPing:
		l := h.current()
		answer = func() { h.ping(l, q) }
	case abi.EventTypeDoClose:
		l := h.current()
		if l != nil {
			l.asked()
		}
		answer = func() { h.close(l, q, text) }
	case abi.EventTypeDoStopReading:
		h.current().stop(q.token)
		ev.Done()
		return
	}
	h.mu.Lock()
	h.asking++
	h.mu.Unlock()
	ev.Done()
	go func() {
		answer()
		h.mu.Lock()
		h.asking--
		idle := h.asking == 0
		h.mu.Unlock()
		if idle {
			_ = h.engine.detachIfIdle()
		}
	}()
}

type question struct {
	token   uint64
	timeout time.Duration
	code    wsadapters.StatusCode
}

func (h *host) idle() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asking == 0 && (h.link == nil || h.link.over())
}

func (h *host) current() *link {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.link
}

// dialing makes the link of a new attempt.
func (h *host) dialing() *link {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := newLink(h, h.link)
	h.link = l
	return l
}

// opened gives the link of a session whose dial succeeded.
func (h *host) opened(s *session) *link {
	l := h.current()
	l.session = s
	return l
}

func (h *host) dial(l *link, q question, target string) {
	ctx, cancel := l.ctx, context.CancelFunc(func() {})
	if q.timeout > 0 {
		ctx, cancel = context.WithTimeout(l.ctx, q.timeout)
	}
	defer cancel()
	resp, err := h.open(ctx, l, target)
	status := statusOf(ctx, err)
	if err != nil {
		l.abandon()
		l.answered()
		h.engine.core.Load().Report(q.token, resp, err, status)
		return
	}
	if !l.dialed(resp) || !h.engine.core.Load().Report(q.token, resp, nil, status) { // given up meanwhile
		h.drop(l)
	}
	l.answered()
}

func (h *host) open(ctx context.Context, l *link, target string) (resp *http.Response, err error) {
	if err := l.predecessorOut(ctx); err != nil {
		return nil, fmt.Errorf("the connection before this one is still in use: %w", err)
	}
	parsed, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	err = verb("Dial", func() (err error) {
		resp, err = h.conn.Dial(ctx, *parsed)
		return err
	})
	return resp, err
}

func statusOf(ctx context.Context, err error) int {
	if err != nil && ctx.Err() != nil {
		return core.StatusOf(ctx.Err())
	}
	return core.StatusOf(err)
}

// ping asks for a sign of life. While the queue is full nobody reads, and no pong could be seen: then the link is taken to be alive.
func (h *host) ping(l *link, q question) {
	if l == nil || !l.listens() {
		h.engine.core.Load().Report(q.token, nil, nil, abi.StatusOk)
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, q.timeout)
	defer cancel()
	err := verb("Ping", func() error { return h.conn.Ping(ctx) })
	if err != nil && !l.listens() {
		err = nil
	}
	h.engine.core.Load().Report(q.token, nil, err, statusOf(ctx, err))
}

// close sends the close message, and waits until nobody reads any more, so that the adapter can be dialed again.
func (h *host) close(l *link, q question, reason string) {
	if l == nil {
		return
	}
	dialing := l.abandon() // then its dial closes what it may yet open
	if dialing || q.timeout <= 0 {
		q.timeout = abandonAfter
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), q.timeout)
	defer cancel()
	if dialing {
		l.answered()
		_ = l.out(ctx) // a dial that heeds its context ends now; Stop is to find the adapter closed
		h.engine.core.Load().Report(q.token, nil, nil, abi.StatusOk)
		return
	}
	var err error
	if l.closes() {
		err = h.shut(ctx, q.code, reason)
		if errors.Is(err, net.ErrClosed) && l.closedByUser() {
			err = nil // he was first
		}
	}
	l.end()
	l.answered()
	if err == nil {
		err = l.out(ctx)
	}
	h.engine.core.Load().Report(q.token, nil, err, statusOf(ctx, err))
}

// rest waits, but not for long, until what the core gave up at the end of a run is closed: the core does not.
func (h *host) rest() {
	if l := h.current(); l != nil && !l.isOut() {
		l.asked()
		h.close(l, question{code: wsadapters.GoingAway}, "")
	}
}

// abandonAfter is how long a link that was given up may take to close: enough to send what needs no waiting.
const abandonAfter = 100 * time.Millisecond

// queueBytes is how much a link may read ahead.
func (h *host) queueBytes() int {
	if n := h.engine.opts.queueBytes; n > 0 {
		return int(n)
	}
	return 16 << 20
}

func (h *host) shut(ctx context.Context, code wsadapters.StatusCode, reason string) error {
	return verb("Close", func() error { return h.conn.Close(ctx, code, reason) })
}

// drop closes a connection that nobody wants any more.
func (h *host) drop(l *link) {
	if !l.closes() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), abandonAfter)
	defer cancel()
	_ = h.shut(ctx, wsadapters.GoingAway, "")
	l.end()
	l.retire()
}

func (h *host) write(ctx context.Context, msgType wsadapters.MessageType, msg []byte) error {
	for {
		changed := h.engine.changes()
		s := h.engine.session.Load()
		if s != nil && s.link.usable("write") == nil {
			return s.conn.Write(ctx, msgType, msg)
		}
		if !h.engine.opts.sendWaits || !h.engine.run.Load().on() {
			return &Error{Status: abi.StatusErrClosed, Message: "wscengine: write: no session is open"}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return &Error{Status: core.StatusOf(ctx.Err()), Message: "wscengine: write: no session was open in time", Cause: ctx.Err()}
		}
	}
}

// verb runs one of the adapter's, with a goroutine of its own to end or to panic in: either is its error.
func verb(name string, ask func() error) error {
	err := endedIn(name)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = panickedIn(name, p)
			}
		}()
		err = ask()
	}()
	<-done
	return err
}

func panickedIn(verb string, with any) error {
	return fmt.Errorf("the adapter's %s panicked: %v", verb, with)
}
func endedIn(verb string) error {
	return fmt.Errorf("the adapter's %s ended its goroutine (runtime.Goexit)", verb)
}
