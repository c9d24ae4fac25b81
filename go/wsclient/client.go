// Package wsclient defines the callbacks that an engine makes, and what they are given.
package wsclient

import (
	"context"
	"net/http"
	"sync"

	"github.com/wscengine/wscengine/go/wsadapters"
)

// CloseMessageDetails is how a connection was closed, or is to be closed.
type CloseMessageDetails struct {
	// CloseReason is the code.
	CloseReason wsadapters.StatusCode
	// CloseMessage is the reason, at most 123 bytes.
	CloseMessage string
}

// WebsocketClientInterface is the callbacks of one engine. For each session that opens: OnOpen, then OnMessage and OnReadError, then OnClose and
// perhaps OnCloseError; between sessions OnRestartError for each attempt that failed. A panic in a callback is the program's own; one that ends its
// goroutine (runtime.Goexit, as a failed assertion of a test does) has returned, OnOpen with an error.
//
// conn is the session's own view of the connection: it works as long as the session does, and never touches a later one. ctx carries the
// callback's span and what Start's context carries; it ends with the session. Those of OnOpen, OnRestartError and BeforeAttempt end as soon as Stop is
// called, so that it need not wait for what obeys them; those of OnMessage and OnReadError do not, so that these can end what they do.
type WebsocketClientInterface interface {
	// OnOpen is called once in every start and restart, before anything else of the session. It may write and read itself. An error closes the
	// connection with 1001; Start returns it, a restart is tried again. exit here stops the engine for good.
	OnOpen(
		ctx context.Context,
		resp *http.Response,
		conn wsadapters.WebsocketConnectionAdapterInterface,
		readMutex *sync.Mutex,
		exit context.CancelFunc,
		restarting bool,
	) error
	// OnMessage gets one message. ReaderRoutinesCount of these calls may run at once; messages are taken in the order in which they came.
	// msg is the callee's to keep. After exit or restart no further message is taken, and the engine closes when the callback has returned.
	OnMessage(
		ctx context.Context,
		conn wsadapters.WebsocketConnectionAdapterInterface,
		readMutex *sync.Mutex,
		restart context.CancelFunc,
		exit context.CancelFunc,
		sessionId string,
		msgType wsadapters.MessageType,
		msg []byte,
	)
	// OnReadError is called when an adapter's Read failed and the connection did not end by it. The engine is paused meanwhile, and goes on
	// with the same connection unless restart or exit is called.
	OnReadError(
		ctx context.Context,
		conn wsadapters.WebsocketConnectionAdapterInterface,
		readMutex *sync.Mutex,
		restart context.CancelFunc,
		exit context.CancelFunc,
		err error,
	)
	// OnClose is called once for each session whose OnOpen succeeded, when its other callbacks have returned. closeMessage nil: the user ended the
	// session, and the connection is open still; it is then closed with what OnClose returns, nil: 1001 "Going Away". ctx is cancelled.
	OnClose(
		ctx context.Context,
		conn wsadapters.WebsocketConnectionAdapterInterface,
		readMutex *sync.Mutex,
		closeMessage *CloseMessageDetails,
	) *CloseMessageDetails
	// OnCloseError is called when closing the connection failed.
	OnCloseError(ctx context.Context, err error)
	// OnRestartError is called when an attempt to reconnect failed; retryCount counts such failures since the last good start. exit ends the
	// retrying. After a timeout ctx is done.
	OnRestartError(ctx context.Context, exit context.CancelFunc, err error, retryCount int)
}

// BeforeAttemptInterface may be implemented by a client too: it is called just before each attempt to connect, the first included, and may
// change it, where tokens expire. An error gives up: Start returns it, a run ends with it.
type BeforeAttemptInterface interface {
	BeforeAttempt(ctx context.Context, attempt Attempt) error
}

// Attempt is one attempt to connect. Changes last for the rest of the run; it may be used until the callback returns. With an adapter of Go's
// only the URL counts.
type Attempt interface {
	// Number of failed attempts in a row so far.
	Number() int
	// LastError is why the one before failed, nil for the first.
	LastError() error
	// URL without its password.
	URL() string
	// SetURL dials another one.
	SetURL(url string) error
	// AddHeader adds a header to the upgrade request.
	AddHeader(name, value string) error
	// ClearHeaders drops those of the options and of earlier attempts.
	ClearHeaders()
	// AddSubprotocol offers one more.
	AddSubprotocol(name string) error
	// ClearSubprotocols offers none of those so far.
	ClearSubprotocols()
	// SetDelayMs waits so long, and asks again.
	SetDelayMs(ms int64)
	// SetRetryDelayMs is how long to wait if this attempt fails, instead of what the options say.
	SetRetryDelayMs(ms int64)
	// Reset forgets the failures so far.
	Reset()
}

// OnStoppedInterface may be implemented by a client too: the run has ended and no callback of it follows. err is what Err of the engine gives.
type OnStoppedInterface interface {
	OnStopped(ctx context.Context, err error)
}
