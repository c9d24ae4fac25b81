// Package telemetry has the names of spans, events and attributes, the same in every language (core/include/wscengine/trace.h).
package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// TracerName is the instrumentation scope.
const TracerName = "wscengine"

// Spans.
const (
	SpanStart              = "wscengine.start"
	SpanStop               = "wscengine.stop"
	SpanBackgroundStart    = "wscengine.background.start"
	SpanBackgroundRun      = "wscengine.background.run"
	SpanBackgroundShutdown = "wscengine.background.shutdown"
	SpanBackgroundRestart  = "wscengine.background.restart"
	SpanOnOpen             = "wscengine.callback.on_open"
	SpanOnMessage          = "wscengine.callback.on_message"
	SpanOnReadError        = "wscengine.callback.on_read_error"
	SpanOnClose            = "wscengine.callback.on_close"
	SpanOnCloseError       = "wscengine.callback.on_close_error"
	SpanOnRestartError     = "wscengine.callback.on_restart_error"
	SpanDial               = "websocket.dial"
	SpanClose              = "websocket.close"
	SpanPing               = "websocket.ping"
	SpanRead               = "websocket.read"
	SpanWrite              = "websocket.write"
)

// Events of spans.
const (
	EventWorkerExit       = "wscengine.worker_exit"
	EventConnectionClosed = "wscengine.connection_closed"
	EventExit             = "wscengine.exit"
	EventMessageReceived  = "websocket.message.received"
)

// Attributes.
const (
	SessionID       = attribute.Key("wscengine.session_id")
	Restart         = attribute.Key("wscengine.restart")
	CloseCode       = attribute.Key("wscengine.close_code")
	CloseReason     = attribute.Key("wscengine.close_reason")
	HasClose        = attribute.Key("wscengine.has_close_message")
	MessageLength   = attribute.Key("wscengine.message.length")
	MessageOpcode   = attribute.Key("wscengine.message.opcode")
	RetryCount      = attribute.Key("wscengine.retry_count")
	ErrorType       = attribute.Key("error.type")                // OpenTelemetry's own: the status' name
	HTTPStatus      = attribute.Key("http.response.status_code") // likewise
	URLFull         = attribute.Key("url.full")
	WSCloseCode     = attribute.Key("websocket.close.code")
	WSCloseReason   = attribute.Key("websocket.close.reason")
	WSMessageSize   = attribute.Key("websocket.message.size")
	WSMessageOpcode = attribute.Key("websocket.message.opcode")
)

// Outcome says on a span how what it stands for has ended.
func Outcome(span trace.Span, err error) {
	if err == nil {
		span.SetStatus(codes.Ok, "")
		return
	}
	span.RecordError(err)
	span.SetStatus(codes.Error, err.Error())
}
