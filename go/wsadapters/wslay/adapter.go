// Package wslay is the adapter of the engine's own connection: written in C, with wslay's frames. Under an engine its messages come in batches and
// its connections need no goroutine each; alone it is a connection as any other adapter's.
package wslay

import (
	"context"
	"net/http"
	"net/url"

	"github.com/wscengine/wscengine/go/internal/native"
	"github.com/wscengine/wscengine/go/wsadapters"
)

// WslayWebsocketConnectionAdapter is safe for use by several goroutines.
type WslayWebsocketConnectionAdapter struct{ slot native.Slot }

var _ wsadapters.WebsocketConnectionAdapterInterface = (*WslayWebsocketConnectionAdapter)(nil)

// NewWslayWebsocketConnectionAdapter makes one. opts nil: the defaults; they are judged when it dials, or by the engine that is made with it. What
// the engine's options say counts more.
func NewWslayWebsocketConnectionAdapter(opts *Options) *WslayWebsocketConnectionAdapter {
	a := &WslayWebsocketConnectionAdapter{}
	opts.apply(&a.slot.Settings)
	return a
}

// Slot is for the engine.
func (a *WslayWebsocketConnectionAdapter) Slot() *native.Slot { return &a.slot }

// Dial opens a connection. Not while an engine uses the adapter.
func (a *WslayWebsocketConnectionAdapter) Dial(ctx context.Context, target url.URL) (*http.Response, error) {
	return a.slot.Dial(ctx, target)
}

// Close sends a close message, and waits for the peer's as long as CloseTimeoutMs and ctx allow.
func (a *WslayWebsocketConnectionAdapter) Close(ctx context.Context, code wsadapters.StatusCode, reason string) error {
	return a.slot.Close(ctx, code, reason)
}

// Ping blocks until the pong; nobody needs to read meanwhile.
func (a *WslayWebsocketConnectionAdapter) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := a.slot.Open()
	if err != nil {
		return err
	}
	return c.Ping(ctx)
}

// Read gives the next message. Under an engine: while its read mutex is held, or inside its callbacks.
func (a *WslayWebsocketConnectionAdapter) Read(ctx context.Context) (wsadapters.MessageType, []byte, error) {
	if err := ctx.Err(); err != nil {
		return wsadapters.NoMessage, nil, err
	}
	c, err := a.slot.Open()
	if err != nil {
		return wsadapters.NoMessage, nil, err
	}
	return c.Read(ctx)
}

// Write sends one message.
func (a *WslayWebsocketConnectionAdapter) Write(ctx context.Context, msgType wsadapters.MessageType, msg []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := a.slot.Open()
	if err != nil {
		return err
	}
	return c.Write(ctx, msgType, msg)
}

// GetUnderlyingWebsocketConnection gives the connection that is open as an adapter of its own, or nil.
func (a *WslayWebsocketConnectionAdapter) GetUnderlyingWebsocketConnection() any {
	c, err := a.slot.Open()
	if own, ok := c.(*native.Conn); err != nil || ok && own.K.Closed() != nil {
		return nil
	}
	return c.GetUnderlyingWebsocketConnection()
}
