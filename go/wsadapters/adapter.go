// Package wsadapters defines the interface that adapts a websocket library to the engine, and what its methods speak of.
//
// Three implementations come with this module: wslay (the engine's own, the fastest), gorilla and nhooyr.
package wsadapters

import (
	"context"
	"net/http"
	"net/url"
)

// WebsocketConnectionAdapterInterface is one object that can be dialed again and again, one connection at a time.
//
// Write, Ping and Close may be called while a Read waits, from any goroutine. The engine calls Read from one goroutine at a time,
// and Dial not before an earlier Dial, Read and Close have returned. An implementation that panics when the engine calls it has failed with the
// panic as its error.
type WebsocketConnectionAdapterInterface interface {
	// Dial opens a connection to target and blocks until the handshake is done.
	//
	// Returns the server's answer. Fails when a connection is open already, when ctx ends (errors.Is finds ctx.Err()) or when the handshake does.
	Dial(ctx context.Context, target url.URL) (*http.Response, error)
	// Close sends a close message with code and reason, drops pending reads and writes and lets go of the connection, so that Dial
	// works again.
	//
	// Fails when there is no open connection: the error wraps net.ErrClosed.
	Close(ctx context.Context, code StatusCode, reason string) error
	// Ping blocks until the pong, the end of ctx or of the connection. Nobody is promised to read meanwhile.
	Ping(ctx context.Context) error
	// Read blocks until one whole data message has come; control frames are the adapter's own business.
	//
	// A close message or a lost link (code 1006) is a WebsocketCloseError, and the connection is gone then. Any other error leaves it as it
	// was, and is OnReadError's. With an error the type is NoMessage.
	Read(ctx context.Context) (MessageType, []byte, error)
	// Write sends one whole message.
	Write(ctx context.Context, msgType MessageType, msg []byte) error
	// GetUnderlyingWebsocketConnection gives the library's own connection, nil when there is none.
	GetUnderlyingWebsocketConnection() any
}

// MessageType is that of a data message.
type MessageType int

// Types of messages (RFC 6455 section 5.6).
const (
	// Text is UTF-8.
	Text MessageType = 1
	// Binary is anything.
	Binary MessageType = 2
	// NoMessage comes with an error.
	NoMessage MessageType = -1
)

// StatusCode of a close message (RFC 6455 section 7.4.1).
type StatusCode int

// Close codes. NoStatusReceived, AbnormalClosure and TLSHandshake are only ever reported, never sent.
const (
	// NormalClosure: the purpose is fulfilled.
	NormalClosure StatusCode = 1000
	// GoingAway: an endpoint leaves, a server that goes down or a client that stops.
	GoingAway StatusCode = 1001
	// ProtocolError: the peer broke the protocol.
	ProtocolError StatusCode = 1002
	// UnsupportedData: a type of data that the endpoint cannot accept.
	UnsupportedData StatusCode = 1003
	// NoStatusReceived: a close message came without a code.
	NoStatusReceived StatusCode = 1005
	// AbnormalClosure: the connection ended without a close message.
	AbnormalClosure StatusCode = 1006
	// InvalidFramePayloadData: text that is no UTF-8, for instance.
	InvalidFramePayloadData StatusCode = 1007
	// PolicyViolation: nothing more suitable fits.
	PolicyViolation StatusCode = 1008
	// MessageTooBig: a message that is too big to process.
	MessageTooBig StatusCode = 1009
	// MandatoryExtension: the server did not agree to an extension.
	MandatoryExtension StatusCode = 1010
	// InternalError: the server met an unexpected condition.
	InternalError StatusCode = 1011
	// TLSHandshake: the TLS handshake failed.
	TLSHandshake StatusCode = 1015
)

// WebsocketCloseError is what Read returns when the connection has ended. It is used as a value: errors.As finds it by its value type.
type WebsocketCloseError struct {
	// Code of the close message, as it was sent; AbnormalClosure for a lost link.
	Code StatusCode
	// Reason of the close message, as it was sent.
	Reason string
	// Err is the library's own error, or nil.
	Err error
}
