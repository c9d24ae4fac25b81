// Package nhooyr adapts github.com/coder/websocket to the engine: what nhooyr.io/websocket has become.
package nhooyr

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/coder/websocket"

	"github.com/wscengine/wscengine/go/wsadapters"
)

// NhooyrWebsocketConnectionAdapter is safe for use by several goroutines.
type NhooyrWebsocketConnectionAdapter struct {
	opts      websocket.DialOptions
	transport *http.Transport // of its own, unless the user brought a client
	link      atomic.Pointer[link]
}

var _ wsadapters.WebsocketConnectionAdapterInterface = (*NhooyrWebsocketConnectionAdapter)(nil)

// link is one connection.
type link struct {
	conn    *websocket.Conn
	socket  net.Conn      // under it; nil with a client of the user's
	reading chan struct{} // has an element while somebody reads: the library's reads come one at a time
}

// socketKey is of the place, in a dial's context, where the socket that it opens is noted.
type socketKey struct{}

// NewNhooyrWebsocketConnectionAdapter makes one. opts may be nil. The library's limit of 32 KiB a message is lifted: the engine's
// MaxMessageBytes is not for adapters, so set one with GetUnderlyingWebsocketConnection in OnOpen where it matters.
func NewNhooyrWebsocketConnectionAdapter(opts *websocket.DialOptions) *NhooyrWebsocketConnectionAdapter {
	a := &NhooyrWebsocketConnectionAdapter{}
	if opts != nil {
		a.opts = *opts
	}
	if base, ok := http.DefaultTransport.(*http.Transport); ok && a.opts.HTTPClient == nil {
		a.transport = base.Clone()
		a.transport.ForceAttemptHTTP2 = false // an upgrade is HTTP/1.1's
		a.transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		dial := a.transport.DialContext
		a.transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if place, ok := ctx.Value(socketKey{}).(*atomic.Pointer[net.Conn]); ok && err == nil {
				place.Store(&conn)
			}
			return conn, err
		}
		a.opts.HTTPClient = &http.Client{Transport: a.transport}
	}
	return a
}

// Dial opens a connection.
func (a *NhooyrWebsocketConnectionAdapter) Dial(ctx context.Context, target url.URL) (*http.Response, error) {
	if a.link.Load() != nil {
		return nil, errors.New("nhooyr: a connection is open already")
	}
	opts := a.opts // the library changes what it is given
	socket := &atomic.Pointer[net.Conn]{}
	conn, resp, err := websocket.Dial(context.WithValue(ctx, socketKey{}, socket), target.String(), &opts)
	if err != nil {
		if a.transport != nil {
			a.transport.CloseIdleConnections() // of a refusal
		}
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return resp, err
	}
	conn.SetReadLimit(-1)
	resp.Body = http.NoBody // the library leaves nil, which net/http promises not to
	l := &link{conn: conn, reading: make(chan struct{}, 1)}
	if under := socket.Load(); under != nil {
		l.socket = *under
	}
	if !a.link.CompareAndSwap(nil, l) {
		_ = conn.CloseNow()
		return nil, errors.New("nhooyr: a connection is open already")
	}
	return resp, nil
}

func (a *NhooyrWebsocketConnectionAdapter) open() (*link, error) {
	l := a.link.Load()
	if l == nil {
		return nil, fmt.Errorf("nhooyr: no connection is open: %w", net.ErrClosed)
	}
	return l, nil
}

func (a *NhooyrWebsocketConnectionAdapter) drop(l *link) {
	if a.link.CompareAndSwap(l, nil) {
		_ = l.conn.CloseNow()
	}
}

// Close sends a close message and waits for the peer's, as long as ctx allows (not with an HTTPClient of the user's) and at most five seconds; it is an
// error when that does not come.
func (a *NhooyrWebsocketConnectionAdapter) Close(ctx context.Context, code wsadapters.StatusCode, reason string) error {
	l, err := a.open()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { // the library's Close takes no context
		if l.socket != nil {
			_ = l.socket.Close()
		}
	})
	err = l.conn.Close(websocket.StatusCode(code), reason)
	if !stop() {
		err = fmt.Errorf("nhooyr: the peer sent no close message: %w", ctx.Err())
	}
	a.drop(l)
	return err
}

// Ping blocks until the pong, which the library sees while somebody reads.
func (a *NhooyrWebsocketConnectionAdapter) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l, err := a.open()
	if err != nil {
		return err
	}
	return l.conn.Ping(ctx)
}

// Read gives the next message. A read whose context ends closes the connection: the library's reads cannot be given up.
func (a *NhooyrWebsocketConnectionAdapter) Read(ctx context.Context) (wsadapters.MessageType, []byte, error) {
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
		return wsadapters.NoMessage, nil, fmt.Errorf("nhooyr: another read is under way: %w", ctx.Err())
	}
	kind, msg, err := l.conn.Read(ctx)
	<-l.reading
	if err == nil {
		return wsadapters.MessageType(kind), msg, nil
	}
	a.drop(l)
	closed := wsadapters.WebsocketCloseError{Code: wsadapters.AbnormalClosure, Reason: err.Error(), Err: err}
	var peer websocket.CloseError
	if errors.As(err, &peer) {
		closed.Code, closed.Reason = wsadapters.StatusCode(peer.Code), peer.Reason
	}
	return wsadapters.NoMessage, nil, closed
}

// Write sends one message. A write whose context ends closes the connection.
func (a *NhooyrWebsocketConnectionAdapter) Write(ctx context.Context, msgType wsadapters.MessageType, msg []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l, err := a.open()
	if err != nil {
		return err
	}
	return l.conn.Write(ctx, websocket.MessageType(msgType), msg)
}

// GetUnderlyingWebsocketConnection gives the *websocket.Conn, or nil.
func (a *NhooyrWebsocketConnectionAdapter) GetUnderlyingWebsocketConnection() any {
	if l := a.link.Load(); l != nil {
		return l.conn
	}
	return nil
}
