package wscengine

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/wscengine/wscengine/go/internal/abi"
	"github.com/wscengine/wscengine/go/internal/core"
	"github.com/wscengine/wscengine/go/wsadapters"
)

// host answers what the core asks of an adapter that is Go's: to dial, to ping, to close. Its messages never leave Go (see link).
type host struct {
	engine *WebsocketEngine
	conn   wsadapters.WebsocketConnectionAdapterInterface

	mu     sync.Mutex
	link   *link // the last one that was dialed
	asks   sync.WaitGroup
	asking int
}

// decorate wraps the adapter, so that its spans are made, if there is a tracer.
func (h *host) decorate() {
	h.conn = h.engine.conn
	if _, ok := h.conn.(*wsadapters.WebsocketConnectionAdapterInstrumentationDecorator); !ok && h.engine.tracing != nil {
		h.conn = h.engine.tracing.decorate(h.conn)
	}
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
		answer = func() { h.ping(h.current(), q) }
	case abi.EventTypeDoClose:
		answer = func() { h.close(h.current(), q, text) }
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
		if r := h.engine.run.Load(); idle && r.started == nil {
			h.engine.core.Detach() // of a start that failed
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
	return h.asking == 0 && (h.link == nil || h.link.closed())
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
	if err == nil && !l.dialed() { // given up meanwhile
		h.drop(l)
		err = context.Canceled
	}
	if err != nil {
		l.end()
	}
	h.engine.core.Report(q.token, resp, err, statusOf(ctx, err), 0)
}

func (h *host) open(ctx context.Context, l *link, target string) (resp *http.Response, err error) {
	if err := l.predecessorOut(ctx); err != nil {
		return nil, fmt.Errorf("the connection before this one is still in use: %w", err)
	}
	parsed, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	defer recovered("Dial", &err)
	return h.conn.Dial(ctx, *parsed)
}

func statusOf(ctx context.Context, err error) int {
	if err != nil && ctx.Err() != nil {
		return core.StatusOfGo(ctx.Err())
	}
	return core.StatusOfGo(err)
}

// ping asks for a sign of life. While nobody reads, because of a pause or of callbacks that take long, no pong could be seen: then the link is
// taken to be alive, as under back-pressure.
func (h *host) ping(l *link, q question) {
	if l == nil || !l.pumping() {
		h.engine.core.Report(q.token, nil, nil, abi.StatusOk, 0)
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, q.timeout)
	defer cancel()
	err := func() (err error) {
		defer recovered("Ping", &err)
		return h.conn.Ping(ctx)
	}()
	if err != nil && !l.pumping() {
		err = nil
	}
	h.engine.core.Report(q.token, nil, err, statusOf(ctx, err), 0)
}

// close sends the close message, and waits until nobody reads any more, so that the adapter can be dialed again.
func (h *host) close(l *link, q question, reason string) {
	if l == nil {
		return
	}
	if l.abandon() {
		h.engine.core.Report(q.token, nil, nil, abi.StatusOk, 0) // it was still dialing, and closes itself
		return
	}
	if q.timeout <= 0 {
		q.timeout = abandonAfter
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), q.timeout)
	defer cancel()
	err := h.shut(ctx, q.code, reason)
	l.end()
	if err == nil {
		err = l.out(ctx)
	}
	h.engine.core.Report(q.token, nil, err, statusOf(ctx, err), 0)
}

// abandonAfter is how long a link that was given up may take to close.
const abandonAfter = 5 * time.Second

func (h *host) shut(ctx context.Context, code wsadapters.StatusCode, reason string) (err error) {
	defer recovered("Close", &err)
	return h.conn.Close(ctx, code, reason)
}

// drop closes a connection that nobody wants any more.
func (h *host) drop(l *link) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), abandonAfter)
	defer cancel()
	_ = h.shut(ctx, wsadapters.GoingAway, "")
}

func (h *host) write(ctx context.Context, msgType wsadapters.MessageType, msg []byte) error {
	s := h.engine.session.Load()
	if s == nil || s.link == nil {
		return fmt.Errorf("wscengine: no session is open: %w", net.ErrClosed)
	}
	return s.link.Write(ctx, msgType, msg)
}

// recovered makes an adapter's panic its error.
func recovered(verb string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the adapter's %s panicked: %v", verb, p)
	}
}
