package wsadapters

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/wscengine/wscengine/go/internal/telemetry"
)

// WebsocketConnectionAdapterInstrumentationDecorator makes a client span of each method of another adapter. The engine wraps its adapter in
// one unless it is one already.
type WebsocketConnectionAdapterInstrumentationDecorator struct {
	decorated WebsocketConnectionAdapterInterface
	tracer    trace.Tracer
	target    atomic.Pointer[string] // url.full of the connection that is open
}

// NewWebsocketConnectionAdapterInstrumentationDecorator decorates an adapter, which must not be nil. tracerProvider nil: the global one.
func NewWebsocketConnectionAdapterInstrumentationDecorator(
	decorated WebsocketConnectionAdapterInterface,
	tracerProvider trace.TracerProvider,
) (*WebsocketConnectionAdapterInstrumentationDecorator, error) {
	if decorated == nil {
		return nil, errors.New("wsadapters: decorated is nil")
	}
	if tracerProvider == nil {
		tracerProvider = otel.GetTracerProvider()
	}
	return &WebsocketConnectionAdapterInstrumentationDecorator{decorated: decorated, tracer: tracerProvider.Tracer(telemetry.TracerName)}, nil
}

// Decorated is the adapter inside.
func (d *WebsocketConnectionAdapterInstrumentationDecorator) Decorated() WebsocketConnectionAdapterInterface {
	return d.decorated
}

func (d *WebsocketConnectionAdapterInstrumentationDecorator) start(ctx context.Context, name string, more ...attribute.KeyValue) (context.Context, trace.Span) {
	if target := d.target.Load(); target != nil {
		more = append(more, telemetry.URLFull.String(*target))
	} else if open, ok := d.decorated.(interface{ URLFull() string }); ok {
		more = append(more, telemetry.URLFull.String(open.URLFull())) // it was open when it was decorated
	}
	return d.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(more...))
}

func end(span trace.Span, err error) {
	telemetry.Outcome(span, err)
	span.End()
}

// Dial is inside a span websocket.dial.
func (d *WebsocketConnectionAdapterInstrumentationDecorator) Dial(ctx context.Context, target url.URL) (*http.Response, error) {
	shown := target.Redacted()
	d.target.Store(&shown)
	ctx, span := d.start(ctx, telemetry.SpanDial)
	resp, err := d.decorated.Dial(ctx, target)
	end(span, err)
	return resp, err
}

// Close is inside a span websocket.close.
func (d *WebsocketConnectionAdapterInstrumentationDecorator) Close(ctx context.Context, code StatusCode, reason string) error {
	ctx, span := d.start(ctx, telemetry.SpanClose, telemetry.WSCloseCode.Int(int(code)), telemetry.WSCloseReason.String(reason))
	err := d.decorated.Close(ctx, code, reason)
	end(span, err)
	return err
}

// Ping is inside a span websocket.ping.
func (d *WebsocketConnectionAdapterInstrumentationDecorator) Ping(ctx context.Context) error {
	ctx, span := d.start(ctx, telemetry.SpanPing)
	err := d.decorated.Ping(ctx)
	end(span, err)
	return err
}

// Read is inside a span websocket.read, which ends with it.
func (d *WebsocketConnectionAdapterInstrumentationDecorator) Read(ctx context.Context) (MessageType, []byte, error) {
	ctx, span := d.start(ctx, telemetry.SpanRead)
	kind, msg, err := d.decorated.Read(ctx)
	if err == nil {
		span.AddEvent(telemetry.EventMessageReceived, trace.WithAttributes(
			telemetry.WSMessageSize.Int(len(msg)), telemetry.WSMessageOpcode.Int(int(kind))))
	}
	var closed WebsocketCloseError
	if errors.As(err, &closed) {
		span.SetAttributes(telemetry.WSCloseCode.Int(int(closed.Code)), telemetry.WSCloseReason.String(closed.Reason))
	}
	end(span, err)
	return kind, msg, err
}

// Write is inside a span websocket.write.
func (d *WebsocketConnectionAdapterInstrumentationDecorator) Write(ctx context.Context, msgType MessageType, msg []byte) error {
	ctx, span := d.start(ctx, telemetry.SpanWrite,
		telemetry.WSMessageSize.Int(len(msg)), telemetry.WSMessageOpcode.Int(int(msgType)))
	err := d.decorated.Write(ctx, msgType, msg)
	end(span, err)
	return err
}

// GetUnderlyingWebsocketConnection is the decorated adapter's.
func (d *WebsocketConnectionAdapterInstrumentationDecorator) GetUnderlyingWebsocketConnection() any {
	return d.decorated.GetUnderlyingWebsocketConnection()
}
