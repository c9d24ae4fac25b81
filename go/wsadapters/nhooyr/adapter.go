// Package nhooyr adapts github.com/coder/websocket to the engine: what nhooyr.io/websocket has become.
package nhooyr

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"

	"github.com/wscengine/wscengine/go/wsadapters"
)

// NhooyrWebsocketConnectionAdapter is safe for use by several goroutines.
type NhooyrWebsocketConnectionAdapter struct {
	opts *websocket.DialOptions
	conn atomic.Pointer[websocket.Conn]
	read sync.Mutex // the library's reads come one at a time
}

var _ wsadapters.WebsocketConnectionAdapterInterface = (*NhooyrWebsocketConnectionAdapter)(nil)

// NewNhooyrWebsocketConnectionAdapter makes one. opts may be nil. The library's limit of 32 KiB a message is lifted: the engine's
// MaxMessageBytes is not for adapters, so set one with GetUnderlyingWebsocketConnection in OnOpen where it matters.
func NewNhooyrWebsocketConnectionAdapter(opts *websocket.DialOptions) *NhooyrWebsocketConnectionAdapter {
	return &NhooyrWebsocketConnectionAdapter{opts: opts}
}

// Dial opens a connection.
func (a *NhooyrWebsocketConnectionAdapter) Dial(ctx context.Context, target url.URL) (*http.Response, error) {
	if a.conn.Load() != nil {
		return nil, errors.New("nhooyr: a connection is open already")
	}
	conn, resp, err := websocket.Dial(ctx, target.String(), a.opts)
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return resp, err
	}
	conn.SetReadLimit(-1)
	if !a.conn.CompareAndSwap(nil, conn) {
		_ = conn.CloseNow()
		return nil, errors.New("nhooyr: a connection is open already")
	}
	return resp, nil
}

func (a *NhooyrWebsocketConnectionAdapter) open() (*websocket.Conn, error) {
	conn := a.conn.Load()
	if conn == nil {
		return nil, fmt.Errorf("nhooyr: no connection is open: %w", net.ErrClosed)
	}
	return conn, nil
}

func (a *NhooyrWebsocketConnectionAdapter) drop(conn *websocket.Conn) {
	if a.conn.CompareAndSwap(conn, nil) {
		_ = conn.CloseNow()
	}
}

// Close sends a close message and waits for the peer's, at most five seconds; the library takes no context for it, so when ctx ends the
// socket is closed.
func (a *NhooyrWebsocketConnectionAdapter) Close(ctx context.Context, code wsadapters.StatusCode, reason string) error {
	conn, err := a.open()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.CloseNow() })
	err = conn.Close(websocket.StatusCode(code), reason)
	if !stop() && err != nil && ctx.Err() != nil {
		err = fmt.Errorf("nhooyr: close: %w: %w", ctx.Err(), err)
	}
	a.drop(conn)
	return err
}

// Ping blocks until the pong, which the library sees while somebody reads.
func (a *NhooyrWebsocketConnectionAdapter) Ping(ctx context.Context) error {
	conn, err := a.open()
	if err != nil {
		return err
	}
	return conn.Ping(ctx)
}

// Read gives the next message. A read whose context ends closes the connection: the library's reads cannot be given up.
func (a *NhooyrWebsocketConnectionAdapter) Read(ctx context.Context) (wsadapters.MessageType, []byte, error) {
	conn, err := a.open()
	if err != nil {
		return 0, nil, err
	}
	a.read.Lock()
	kind, msg, err := conn.Read(ctx)
	a.read.Unlock()
	if err == nil {
		return wsadapters.MessageType(kind), msg, nil
	}
	a.drop(conn)
	closed := wsadapters.WebsocketCloseError{Code: wsadapters.AbnormalClosure, Reason: err.Error(), Err: err}
	var peer websocket.CloseError
	if errors.As(err, &peer) {
		closed.Code, closed.Reason = wsadapters.StatusCode(peer.Code), peer.Reason
	}
	return 0, nil, closed
}

// Write sends one message. A write whose context ends closes the connection.
func (a *NhooyrWebsocketConnectionAdapter) Write(ctx context.Context, msgType wsadapters.MessageType, msg []byte) error {
	conn, err := a.open()
	if err != nil {
		return err
	}
	return conn.Write(ctx, websocket.MessageType(msgType), msg)
}

// GetUnderlyingWebsocketConnection gives the *websocket.Conn, or nil.
func (a *NhooyrWebsocketConnectionAdapter) GetUnderlyingWebsocketConnection() any {
	if conn := a.conn.Load(); conn != nil {
		return conn
	}
	return nil
}
