package wscengine

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/wscengine/wscengine/go/internal/telemetry"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsclient"
)

// websocketClientInstrumentationDecorator makes a span of each callback of another client. An engine with a tracer makes these spans itself.
type websocketClientInstrumentationDecorator struct {
	decorated wsclient.WebsocketClientInterface
	tracer    trace.Tracer
}

var _ wsclient.WebsocketClientInterface = (*websocketClientInstrumentationDecorator)(nil)

// NewWebsocketClientInstrumentationDecorator decorates a client, which must not be nil. tracerProvider nil: the global one.
func NewWebsocketClientInstrumentationDecorator(
	decorated wsclient.WebsocketClientInterface,
	tracerProvider trace.TracerProvider,
) (*websocketClientInstrumentationDecorator, error) {
	if isNil(decorated) {
		return nil, errors.New("wscengine: decorated is nil")
	}
	if tracerProvider == nil {
		tracerProvider = otel.GetTracerProvider()
	}
	return &websocketClientInstrumentationDecorator{decorated: decorated, tracer: tracerProvider.Tracer(telemetry.TracerName)}, nil
}

func (d *websocketClientInstrumentationDecorator) start(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	return d.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindInternal), trace.WithAttributes(attributes...))
}

func (d *websocketClientInstrumentationDecorator) OnOpen(
	ctx context.Context,
	resp *http.Response,
	conn wsadapters.WebsocketConnectionAdapterInterface,
	readMutex *sync.Mutex,
	exit context.CancelFunc,
	restarting bool,
) error {
	ctx, span := d.start(ctx, telemetry.SpanOnOpen, telemetry.Restart.Bool(restarting))
	defer span.End()
	err := d.decorated.OnOpen(ctx, resp, conn, readMutex, exit, restarting)
	telemetry.Outcome(span, err)
	return err
}

func (d *websocketClientInstrumentationDecorator) OnMessage(
	ctx context.Context,
	conn wsadapters.WebsocketConnectionAdapterInterface,
	readMutex *sync.Mutex,
	restart context.CancelFunc,
	exit context.CancelFunc,
	sessionId string,
	msgType wsadapters.MessageType,
	msg []byte,
) {
	ctx, span := d.start(ctx, telemetry.SpanOnMessage, telemetry.SessionID.String(sessionId),
		telemetry.MessageLength.Int(len(msg)), telemetry.MessageOpcode.Int(int(msgType)))
	defer span.End()
	d.decorated.OnMessage(ctx, conn, readMutex, restart, exit, sessionId, msgType, msg)
	telemetry.Outcome(span, nil)
}

func (d *websocketClientInstrumentationDecorator) OnReadError(
	ctx context.Context,
	conn wsadapters.WebsocketConnectionAdapterInterface,
	readMutex *sync.Mutex,
	restart context.CancelFunc,
	exit context.CancelFunc,
	err error,
) {
	ctx, span := d.start(ctx, telemetry.SpanOnReadError)
	defer span.End()
	span.RecordError(err)
	d.decorated.OnReadError(ctx, conn, readMutex, restart, exit, err)
	telemetry.Outcome(span, nil)
}

func (d *websocketClientInstrumentationDecorator) OnClose(
	ctx context.Context,
	conn wsadapters.WebsocketConnectionAdapterInterface,
	readMutex *sync.Mutex,
	closeMessage *wsclient.CloseMessageDetails,
) *wsclient.CloseMessageDetails {
	attributes := []attribute.KeyValue{telemetry.HasClose.Bool(closeMessage != nil)}
	if closeMessage != nil {
		attributes = append(attributes, telemetry.CloseCode.Int(int(closeMessage.CloseReason)),
			telemetry.CloseReason.String(closeMessage.CloseMessage))
	}
	ctx, span := d.start(ctx, telemetry.SpanOnClose, attributes...)
	defer span.End()
	answer := d.decorated.OnClose(ctx, conn, readMutex, closeMessage)
	telemetry.Outcome(span, nil)
	return answer
}

func (d *websocketClientInstrumentationDecorator) OnCloseError(ctx context.Context, err error) {
	ctx, span := d.start(ctx, telemetry.SpanOnCloseError)
	defer span.End()
	span.RecordError(err)
	d.decorated.OnCloseError(ctx, err)
	telemetry.Outcome(span, nil)
}

func (d *websocketClientInstrumentationDecorator) OnRestartError(ctx context.Context, exit context.CancelFunc, err error, retryCount int) {
	ctx, span := d.start(ctx, telemetry.SpanOnRestartError, telemetry.RetryCount.Int(retryCount))
	defer span.End()
	span.RecordError(err)
	d.decorated.OnRestartError(ctx, exit, err, retryCount)
	telemetry.Outcome(span, nil)
}

// undecorated is the client inside, which may have more callbacks than the decorator tells of.
func undecorated(client wsclient.WebsocketClientInterface) wsclient.WebsocketClientInterface {
	for {
		decorator, ok := client.(*websocketClientInstrumentationDecorator)
		if !ok {
			return client
		}
		client = decorator.decorated
	}
}

// isNil is true for nil and for a nil pointer in an interface.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	value := reflect.ValueOf(v)
	return value.Kind() == reflect.Pointer && value.IsNil()
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
