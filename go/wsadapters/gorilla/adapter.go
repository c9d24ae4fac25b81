// Package gorilla adapts github.com/gorilla/websocket to the engine.
package gorilla

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/wscengine/wscengine/go/wsadapters"
)

// closePatience is how long Close waits for the peer's close message when its context has no deadline.
const closePatience = 5 * time.Second

// GorillaWebsocketConnectionAdapter is safe for use by several goroutines.
type GorillaWebsocketConnectionAdapter struct {
	dialer *websocket.Dialer
	header http.Header
	link   atomic.Pointer[link]
}

var _ wsadapters.WebsocketConnectionAdapterInterface = (*GorillaWebsocketConnectionAdapter)(nil)

// link is one connection.
type link struct {
	conn    *websocket.Conn
	reading chan struct{} // has an element while somebody reads
	writing sync.Mutex
	over    chan struct{} // closed with the connection
	end     sync.Once
	closed  atomic.Bool // the peer's close message came
	closes  atomic.Bool // a Close is under way

	mu      sync.Mutex
	pings   map[string]chan struct{}
	pingN   uint64
	obeys   <-chan struct{} // of the context that reads obey
	free    func() bool     // ends that
	closing bool            // Close waits for the peer's: reads obey it alone
}

// NewGorillaWebsocketConnectionAdapter makes one. dialer nil: websocket.DefaultDialer; requestHeader may be nil.
func NewGorillaWebsocketConnectionAdapter(dialer *websocket.Dialer, requestHeader http.Header) *GorillaWebsocketConnectionAdapter {
	if dialer == nil {
		dialer = websocket.DefaultDialer
	}
	return &GorillaWebsocketConnectionAdapter{dialer: dialer, header: requestHeader}
}

// Dial opens a connection.
func (a *GorillaWebsocketConnectionAdapter) Dial(ctx context.Context, target url.URL) (*http.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if a.link.Load() != nil {
		return nil, errors.New("gorilla: a connection is open already")
	}
	conn, resp, err := a.dial(ctx, target)
	if err != nil {
		return resp, err
	}
	l := &link{conn: conn, reading: make(chan struct{}, 1), over: make(chan struct{}), pings: map[string]chan struct{}{}}
	conn.SetPongHandler(l.ponged)
	if !a.link.CompareAndSwap(nil, l) {
		_ = conn.Close()
		return nil, errors.New("gorilla: a connection is open already")
	}
	return resp, nil
}

// dial obeys cancellation too: the library's handshake obeys only the deadline, so the socket under it is closed.
func (a *GorillaWebsocketConnectionAdapter) dial(ctx context.Context, target url.URL) (*websocket.Conn, *http.Response, error) {
	dialer, under := *a.dialer, atomic.Pointer[net.Conn]{}
	inner := dialer.NetDialContext
	if inner == nil && dialer.NetDial != nil {
		inner = func(_ context.Context, network, addr string) (net.Conn, error) { return dialer.NetDial(network, addr) }
	}
	if inner == nil {
		inner = (&net.Dialer{}).DialContext
	}
	dialer.NetDial = nil
	dialer.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := inner(ctx, network, addr)
		if err == nil {
			under.Store(&conn)
		}
		return conn, err
	}
	stop := context.AfterFunc(ctx, func() {
		if conn := under.Load(); conn != nil {
			_ = (*conn).Close()
		}
	})
	header := a.header
	if user := target.User; user != nil { // the library refuses a URL with credentials
		password, _ := user.Password()
		header = header.Clone()
		if header == nil {
			header = http.Header{}
		}
		if header.Get("Authorization") == "" {
			header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
		}
		target.User = nil
	}
	conn, resp, err := dialer.DialContext(ctx, target.String(), header)
	if !stop() && ctx.Err() != nil {
		if conn != nil {
			_ = conn.Close()
		}
		return nil, resp, fmt.Errorf("gorilla: dial %s: %w", target.Redacted(), ctx.Err())
	}
	var late net.Error
	if err != nil && errors.As(err, &late) && late.Timeout() {
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return conn, resp, err
}

func (a *GorillaWebsocketConnectionAdapter) open() (*link, error) {
	l := a.link.Load()
	if l == nil {
		return nil, fmt.Errorf("gorilla: no connection is open: %w", net.ErrClosed)
	}
	return l, nil
}

// drop ends the connection: its socket is closed and Dial works again.
func (a *GorillaWebsocketConnectionAdapter) drop(l *link) {
	l.end.Do(func() {
		close(l.over)
		l.mu.Lock()
		if l.free != nil {
			l.free()
		}
		l.mu.Unlock()
		_ = l.conn.Close()
		a.link.CompareAndSwap(l, nil)
	})
}

// Close sends a close message, waits for the peer's as long as ctx allows (at most five seconds), and closes the socket. It is an error when the peer's
// does not come.
func (a *GorillaWebsocketConnectionAdapter) Close(ctx context.Context, code wsadapters.StatusCode, reason string) error {
	l, err := a.open()
	if err != nil {
		return err
	}
	if l.closes.Swap(true) {
		return fmt.Errorf("gorilla: another Close is under way: %w", net.ErrClosed)
	}
	until := time.Now().Add(closePatience)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	err = l.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(code), reason), until)
	if err == nil {
		err = l.awaitClose(ctx, until)
	}
	a.drop(l)
	if errors.Is(err, websocket.ErrCloseSent) {
		err = fmt.Errorf("gorilla: %w: %w", net.ErrClosed, err)
	}
	return err
}

// awaitClose returns when the peer's close message has come, or the link has ended, or the time is up. Messages on the way are dropped.
func (l *link) awaitClose(ctx context.Context, until time.Time) error {
	l.mu.Lock()
	l.closing = true
	_ = l.conn.SetReadDeadline(until)
	l.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	l.reading <- struct{}{} // a Read that is under way sees the close message, and ends the connection
	defer func() { <-l.reading }()
	for !l.closed.Load() {
		select {
		case <-l.over:
			return fmt.Errorf("gorilla: the peer sent no close message: %w", context.DeadlineExceeded)
		default:
		}
		if _, _, err := l.conn.NextReader(); err != nil && !l.sawClose(err) {
			return fmt.Errorf("gorilla: the peer sent no close message: %w", err)
		}
	}
	return nil
}

// sawClose says, and notes, whether a read ended with the peer's close message.
func (l *link) sawClose(err error) bool {
	var closed *websocket.CloseError
	came := errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure
	if came {
		l.closed.Store(true)
	}
	return came
}

// Ping blocks until its pong. The library sees pongs while somebody reads; when nobody does, Ping itself cannot.
func (a *GorillaWebsocketConnectionAdapter) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l, err := a.open()
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.pingN++
	name, came := fmt.Sprintf("%x", l.pingN), make(chan struct{})
	l.pings[name] = came
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.pings, name)
		l.mu.Unlock()
	}()
	until := time.Time{}
	if deadline, ok := ctx.Deadline(); ok {
		until = deadline
	}
	if err := l.conn.WriteControl(websocket.PingMessage, []byte(name), until); err != nil {
		return l.closedOr(err)
	}
	select {
	case <-came:
		return nil
	case <-l.over:
		return wsadapters.WebsocketCloseError{
			Code: wsadapters.AbnormalClosure, Reason: "the connection has ended before the pong", Err: net.ErrClosed,
		}
	case <-ctx.Done():
		return fmt.Errorf("gorilla: no pong: %w", ctx.Err())
	}
}

func (l *link) ponged(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if came, ok := l.pings[name]; ok {
		close(came)
		delete(l.pings, name)
	}
	return nil
}

// Read gives the next message. The library has no reads that can be given up: one whose context ends closes the connection.
func (a *GorillaWebsocketConnectionAdapter) Read(ctx context.Context) (wsadapters.MessageType, []byte, error) {
	if err := ctx.Err(); err != nil {
		return wsadapters.NoMessage, nil, err
	}
	l, err := a.open()
	if err != nil {
		return wsadapters.NoMessage, nil, err
	}
	select {
	case l.reading <- struct{}{}:
	case <-ctx.Done():
		return wsadapters.NoMessage, nil, fmt.Errorf("gorilla: another read is under way: %w", ctx.Err())
	}
	l.obey(ctx)
	kind, msg, err := l.conn.ReadMessage()
	<-l.reading
	if err == nil {
		return wsadapters.MessageType(kind), msg, nil
	}
	l.sawClose(err)
	a.drop(l)
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return wsadapters.NoMessage, nil, closeError(err)
}

// obey makes the end of a context end reads. An engine reads with one context all the time, which costs nothing here but the first time.
func (l *link) obey(ctx context.Context) {
	done := ctx.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	if done == l.obeys || l.closing {
		return
	}
	if l.free != nil {
		l.free()
		l.free = nil
	}
	l.obeys = done
	_ = l.conn.SetReadDeadline(time.Time{})
	if done != nil {
		l.free = context.AfterFunc(ctx, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.obeys == done && !l.closing {
				_ = l.conn.SetReadDeadline(time.Unix(1, 0))
			}
		})
	}
}

// closeError says how the connection ended: after an error of its reads the library's connection is of no use.
func closeError(err error) error {
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed):
		return wsadapters.WebsocketCloseError{Code: wsadapters.StatusCode(closed.Code), Reason: closed.Text, Err: err}
	case errors.Is(err, websocket.ErrReadLimit):
		return wsadapters.WebsocketCloseError{Code: wsadapters.MessageTooBig, Reason: err.Error(), Err: err}
	}
	return wsadapters.WebsocketCloseError{Code: wsadapters.AbnormalClosure, Reason: err.Error(), Err: err}
}

// Write sends one message.
func (a *GorillaWebsocketConnectionAdapter) Write(ctx context.Context, msgType wsadapters.MessageType, msg []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l, err := a.open()
	if err != nil {
		return err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	deadline, _ := ctx.Deadline()
	_ = l.conn.SetWriteDeadline(deadline)
	obeyed := func() bool { return false }
	if ctx.Done() != nil {
		obeyed = l.obeyWriting(ctx)
	}
	err = l.conn.WriteMessage(int(msgType), msg)
	if obeyed() && err != nil {
		a.drop(l)
		return fmt.Errorf("gorilla: write: %w: %w", ctx.Err(), err)
	}
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		a.drop(l) // what has been written of it is on the wire: nothing can follow
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return fmt.Errorf("gorilla: write: %w: %w", context.DeadlineExceeded, err)
	}
	return l.closedOr(err)
}

// obeyWriting makes the end of a context end the write that follows, until the function it gives says whether it has: not later, which would end
// somebody else's.
func (l *link) obeyWriting(ctx context.Context) (obeyed func() bool) {
	written := false
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !written {
			_ = l.conn.NetConn().SetWriteDeadline(time.Unix(1, 0))
		}
	})
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		written = true
		return !stop()
	}
}

func (l *link) closedOr(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-l.over:
		return fmt.Errorf("gorilla: %w: %w", net.ErrClosed, err)
	default:
	}
	if errors.Is(err, websocket.ErrCloseSent) {
		return fmt.Errorf("gorilla: %w: %w", net.ErrClosed, err)
	}
	return err
}

// GetUnderlyingWebsocketConnection gives the *websocket.Conn, or nil.
func (a *GorillaWebsocketConnectionAdapter) GetUnderlyingWebsocketConnection() any {
	if l := a.link.Load(); l != nil {
		return l.conn
	}
	return nil
}
