package wsclient

import (
	"context"
	"net/http"
	"sync"

	"github.com/wscengine/wscengine/go/wsadapters"
)

// NoopClient does nothing in any callback: embed it and write those that matter.
type NoopClient struct{}

var _ WebsocketClientInterface = NoopClient{}

// OnOpen accepts.
func (NoopClient) OnOpen(context.Context, *http.Response, wsadapters.WebsocketConnectionAdapterInterface, *sync.Mutex, context.CancelFunc, bool) error {
	return nil
}

// OnMessage does nothing.
func (NoopClient) OnMessage(context.Context, wsadapters.WebsocketConnectionAdapterInterface, *sync.Mutex, context.CancelFunc, context.CancelFunc, string, wsadapters.MessageType, []byte) {
}

// OnReadError does nothing.
func (NoopClient) OnReadError(context.Context, wsadapters.WebsocketConnectionAdapterInterface, *sync.Mutex, context.CancelFunc, context.CancelFunc, error) {
}

// OnClose leaves the close message as it is.
func (NoopClient) OnClose(context.Context, wsadapters.WebsocketConnectionAdapterInterface, *sync.Mutex, *CloseMessageDetails) *CloseMessageDetails {
	return nil
}

// OnCloseError does nothing.
func (NoopClient) OnCloseError(context.Context, error) {}

// OnRestartError does nothing.
func (NoopClient) OnRestartError(context.Context, context.CancelFunc, error, int) {}
