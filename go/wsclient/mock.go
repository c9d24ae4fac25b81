package wsclient

import (
	"context"
	"net/http"
	"sync"

	"github.com/stretchr/testify/mock"

	"github.com/wscengine/wscengine/go/wsadapters"
)

// WebsocketClientMock is a testify mock of the callbacks. testify prints what it is called with, the read mutex too, which the race detector sees
// when other readers lock it: test with ReaderRoutinesCount 1 under -race.
type WebsocketClientMock struct {
	mock.Mock
}

// NewWebsocketClientMock makes one that expects nothing yet.
func NewWebsocketClientMock() *WebsocketClientMock { return &WebsocketClientMock{} }

// OnOpen returns what was set up for it: an error.
func (m *WebsocketClientMock) OnOpen(
	ctx context.Context,
	resp *http.Response,
	conn wsadapters.WebsocketConnectionAdapterInterface,
	readMutex *sync.Mutex,
	exit context.CancelFunc,
	restarting bool,
) error {
	return m.Called(ctx, resp, conn, readMutex, exit, restarting).Error(0)
}

// OnMessage records the call.
func (m *WebsocketClientMock) OnMessage(
	ctx context.Context,
	conn wsadapters.WebsocketConnectionAdapterInterface,
	readMutex *sync.Mutex,
	restart context.CancelFunc,
	exit context.CancelFunc,
	sessionId string,
	msgType wsadapters.MessageType,
	msg []byte,
) {
	m.Called(ctx, conn, readMutex, restart, exit, sessionId, msgType, msg)
}

// OnReadError records the call.
func (m *WebsocketClientMock) OnReadError(
	ctx context.Context,
	conn wsadapters.WebsocketConnectionAdapterInterface,
	readMutex *sync.Mutex,
	restart context.CancelFunc,
	exit context.CancelFunc,
	err error,
) {
	m.Called(ctx, conn, readMutex, restart, exit, err)
}

// OnClose returns what was set up for it: a *CloseMessageDetails or nil.
func (m *WebsocketClientMock) OnClose(
	ctx context.Context,
	conn wsadapters.WebsocketConnectionAdapterInterface,
	readMutex *sync.Mutex,
	closeMessage *CloseMessageDetails,
) *CloseMessageDetails {
	answer, _ := m.Called(ctx, conn, readMutex, closeMessage).Get(0).(*CloseMessageDetails)
	return answer
}

// OnCloseError records the call.
func (m *WebsocketClientMock) OnCloseError(ctx context.Context, err error) { m.Called(ctx, err) }

// OnRestartError records the call.
func (m *WebsocketClientMock) OnRestartError(ctx context.Context, exit context.CancelFunc, err error, retryCount int) {
	m.Called(ctx, exit, err, retryCount)
}
