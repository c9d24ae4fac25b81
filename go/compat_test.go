package wscengine_test

import (
	"context"
	"log"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/coder/websocket"
	gorillaws "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	wscengine "github.com/wscengine/wscengine/go"
	"github.com/wscengine/wscengine/go/echowsserver"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsadapters/gorilla"
	"github.com/wscengine/wscengine/go/wsadapters/nhooyr"
	"github.com/wscengine/wscengine/go/wsadapters/wslay"
	"github.com/wscengine/wscengine/go/wsclient"
)

// Every exported function and method of the original, with the type that its documentation gives. This file compiles, or a program that was written
// for the original does not.
type (
	adapterI = wsadapters.WebsocketConnectionAdapterInterface
	clientI  = wsclient.WebsocketClientInterface
	optionsT = wscengine.WebsocketEngineConfigurationOptions
)

var (
	_ func(*url.URL, adapterI, clientI, *optionsT, trace.TracerProvider) (*wscengine.WebsocketEngine, error) = wscengine.NewWebsocketEngine
	_ func(*optionsT) error                                                                                  = wscengine.Validate
	_ func() *optionsT                                                                                       = wscengine.NewWebsocketEngineConfigurationOptions

	_ func(*optionsT, bool) *optionsT  = (*optionsT).WithAutoReconnect
	_ func(*optionsT, int) *optionsT   = (*optionsT).WithAutoReconnectRetryDelayBaseSeconds
	_ func(*optionsT, int) *optionsT   = (*optionsT).WithAutoReconnectRetryDelayMaxExponent
	_ func(*optionsT, int64) *optionsT = (*optionsT).WithOnOpenTimeoutMs
	_ func(*optionsT, int) *optionsT   = (*optionsT).WithReaderRoutinesCount
	_ func(*optionsT, int64) *optionsT = (*optionsT).WithStopTimeoutMs
	_ func(*optionsT, int64) *optionsT = (*optionsT).WithKeepAliveIntervalMs
	_ func(*optionsT, int64) *optionsT = (*optionsT).WithKeepAliveTimeoutMs

	_ func(*wscengine.WebsocketEngine) *sync.Mutex                      = (*wscengine.WebsocketEngine).GetReadMutex
	_ func(*wscengine.WebsocketEngine) bool                             = (*wscengine.WebsocketEngine).IsStarted
	_ func(*wscengine.WebsocketEngine, context.Context) error           = (*wscengine.WebsocketEngine).Start
	_ func(*wscengine.WebsocketEngine, context.Context) error           = (*wscengine.WebsocketEngine).Stop
	_ func(*wscengine.WebsocketEngine) <-chan struct{}                  = (*wscengine.WebsocketEngine).Done
	_ func(*wscengine.WebsocketEngine) error                            = (*wscengine.WebsocketEngine).Err
	_ func(wscengine.EngineStartError) string                           = wscengine.EngineStartError.Error
	_ func(wscengine.EngineStartError) error                            = wscengine.EngineStartError.Unwrap
	_ func(wsadapters.WebsocketCloseError) string                       = wsadapters.WebsocketCloseError.Error
	_ func(wsadapters.WebsocketCloseError) error                        = wsadapters.WebsocketCloseError.Unwrap
	_ func() *wsclient.WebsocketClientMock                              = wsclient.NewWebsocketClientMock
	_ func() *wsadapters.WebsocketConnectionAdapterInterfaceMock        = wsadapters.NewWebsocketConnectionAdapterInterfaceMock
	_ func(*http.Server, *log.Logger) *echowsserver.EchoWebsocketServer = echowsserver.NewEchoWebsocketServer
	_ func(*echowsserver.EchoWebsocketServer) error                     = (*echowsserver.EchoWebsocketServer).Start
	_ func(*echowsserver.EchoWebsocketServer) error                     = (*echowsserver.EchoWebsocketServer).Stop

	_ func(*gorillaws.Dialer, http.Header) *gorilla.GorillaWebsocketConnectionAdapter = gorilla.NewGorillaWebsocketConnectionAdapter
	_ func(*websocket.DialOptions) *nhooyr.NhooyrWebsocketConnectionAdapter           = nhooyr.NewNhooyrWebsocketConnectionAdapter
	_ func(*wslay.Options) *wslay.WslayWebsocketConnectionAdapter                     = wslay.NewWslayWebsocketConnectionAdapter

	_ func(adapterI, trace.TracerProvider) (*wsadapters.WebsocketConnectionAdapterInstrumentationDecorator, error) = wsadapters.NewWebsocketConnectionAdapterInstrumentationDecorator

	_ adapterI = (*wsadapters.WebsocketConnectionAdapterInterfaceMock)(nil)
	_ adapterI = (*wsadapters.WebsocketConnectionAdapterInstrumentationDecorator)(nil)
	_ clientI  = (*wsclient.WebsocketClientMock)(nil)
)

// theOriginals is the interface of the original, word for word.
type theOriginals interface {
	OnOpen(ctx context.Context, resp *http.Response, conn adapterI, readMutex *sync.Mutex, exit context.CancelFunc, restarting bool) error
	OnMessage(ctx context.Context, conn adapterI, readMutex *sync.Mutex, restart context.CancelFunc, exit context.CancelFunc, sessionId string, msgType wsadapters.MessageType, msg []byte)
	OnReadError(ctx context.Context, conn adapterI, readMutex *sync.Mutex, restart context.CancelFunc, exit context.CancelFunc, err error)
	OnClose(ctx context.Context, conn adapterI, readMutex *sync.Mutex, closeMessage *wsclient.CloseMessageDetails) *wsclient.CloseMessageDetails
	OnCloseError(ctx context.Context, err error)
	OnRestartError(ctx context.Context, exit context.CancelFunc, err error, retryCount int)
}

var (
	_ clientI      = theOriginals(nil)
	_ theOriginals = clientI(nil)
	// A literal of the original's six fields is complete.
	_ = optionsT{
		ReaderRoutinesCount: int(4), AutoReconnect: true, AutoReconnectRetryDelayBaseSeconds: int(5),
		AutoReconnectRetryDelayMaxExponent: int(1), OnOpenTimeoutMs: int64(300000), StopTimeoutMs: int64(300000),
	}
	_ = wsclient.CloseMessageDetails{CloseReason: wsadapters.GoingAway, CloseMessage: ""}
	_ = wsadapters.WebsocketCloseError{Code: wsadapters.GoingAway, Reason: "", Err: nil}
	_ = wscengine.EngineStartError{Err: nil}
)

func TestClientDecoratorIsTheOriginals(t *testing.T) {
	decorated, err := wscengine.NewWebsocketClientInstrumentationDecorator(wsclient.NoopClient{}, nil)
	require.NoError(t, err)
	require.Implements(t, (*clientI)(nil), decorated)
	_, err = wscengine.NewWebsocketClientInstrumentationDecorator(nil, nil)
	require.Error(t, err)
}

func TestErrorsWithoutACauseCanBePrinted(t *testing.T) {
	require.Equal(t, "websocket engine failed to start: <nil>", wscengine.EngineStartError{}.Error())
	require.Equal(t, "websocket closed: 1001", wsadapters.WebsocketCloseError{Code: wsadapters.GoingAway}.Error())
}

func TestCloseCodesAreRFC6455s(t *testing.T) {
	for code, number := range map[wsadapters.StatusCode]int{
		wsadapters.NormalClosure: 1000, wsadapters.GoingAway: 1001, wsadapters.ProtocolError: 1002, wsadapters.UnsupportedData: 1003,
		wsadapters.NoStatusReceived: 1005, wsadapters.AbnormalClosure: 1006, wsadapters.InvalidFramePayloadData: 1007,
		wsadapters.PolicyViolation: 1008, wsadapters.MessageTooBig: 1009, wsadapters.MandatoryExtension: 1010,
		wsadapters.InternalError: 1011, wsadapters.TLSHandshake: 1015,
	} {
		require.Equal(t, number, int(code))
	}
}
