package wsadapters

import (
	"context"
	"net/http"
	"net/url"

	"github.com/stretchr/testify/mock"
)

// WebsocketConnectionAdapterInterfaceMock is a testify mock of the interface.
type WebsocketConnectionAdapterInterfaceMock struct {
	mock.Mock
}

// NewWebsocketConnectionAdapterInterfaceMock makes one that expects nothing yet.
func NewWebsocketConnectionAdapterInterfaceMock() *WebsocketConnectionAdapterInterfaceMock {
	return &WebsocketConnectionAdapterInterfaceMock{}
}

// Dial returns what was set up for it: a *http.Response or nil, and an error.
func (m *WebsocketConnectionAdapterInterfaceMock) Dial(ctx context.Context, target url.URL) (*http.Response, error) {
	args := m.Called(ctx, target)
	resp, _ := args.Get(0).(*http.Response)
	return resp, args.Error(1)
}

// Close returns what was set up for it: an error.
func (m *WebsocketConnectionAdapterInterfaceMock) Close(ctx context.Context, code StatusCode, reason string) error {
	return m.Called(ctx, code, reason).Error(0)
}

// Ping returns what was set up for it: an error.
func (m *WebsocketConnectionAdapterInterfaceMock) Ping(ctx context.Context) error {
	return m.Called(ctx).Error(0)
}

// Read returns what was set up for it: a MessageType (or an int), bytes and an error.
func (m *WebsocketConnectionAdapterInterfaceMock) Read(ctx context.Context) (MessageType, []byte, error) {
	args := m.Called(ctx)
	var kind MessageType
	switch given := args.Get(0).(type) {
	case MessageType:
		kind = given
	case int:
		kind = MessageType(given)
	}
	msg, _ := args.Get(1).([]byte)
	return kind, msg, args.Error(2)
}

// Write returns what was set up for it: an error.
func (m *WebsocketConnectionAdapterInterfaceMock) Write(ctx context.Context, msgType MessageType, msg []byte) error {
	return m.Called(ctx, msgType, msg).Error(0)
}

// GetUnderlyingWebsocketConnection returns what was set up for it.
func (m *WebsocketConnectionAdapterInterfaceMock) GetUnderlyingWebsocketConnection() any {
	return m.Called().Get(0)
}
