package wscengine

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/wscengine/wscengine/go/internal/core"
	"github.com/wscengine/wscengine/go/internal/telemetry"
	"github.com/wscengine/wscengine/go/wsadapters"
)

// tracing makes OpenTelemetry's spans of what the core tells; a nil one makes none.
type tracing struct {
	engine   *WebsocketEngine
	provider trace.TracerProvider
	tracer   trace.Tracer
	numbers  atomic.Uintptr
	spans    sync.Map                   // number -> trace.Span
	session  atomic.Pointer[trace.Span] // wscengine.background.run
}

// traced says whether a provider (nil: the global one) records anything at all. Of the global one nobody has set, and of what it gave out before,
// it does not.
func traced(p trace.TracerProvider) bool {
	if p == nil || isGlobal(p) {
		p = otel.GetTracerProvider()
	}
	if _, off := p.(noop.TracerProvider); off {
		return false
	}
	return !isGlobal(p)
}

func isGlobal(p trace.TracerProvider) bool {
	kind := reflect.TypeOf(p)
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	return kind.PkgPath() == "go.opentelemetry.io/otel/internal/global"
}

func newTracing(e *WebsocketEngine) *tracing {
	if !traced(e.provider) {
		return nil
	}
	p := e.provider
	if p == nil {
		p = otel.GetTracerProvider()
	}
	e.client = undecorated(e.client) // its spans are made here
	return &tracing{engine: e, provider: p, tracer: p.Tracer(telemetry.TracerName)}
}

func (t *tracing) keep(span trace.Span) uintptr {
	n := t.numbers.Add(1)
	t.spans.Store(n, span)
	return n
}

func (t *tracing) span(n uintptr) trace.Span {
	if found, ok := t.spans.Load(n); ok && n != 0 {
		return found.(trace.Span)
	}
	return nil
}

// Start is core.Tracer's. An adapter that is decorated already makes its client spans itself.
func (t *tracing) Start(parent uintptr, name string, client bool, at time.Time, attributes []core.Attribute) uintptr {
	if client && t.engine.host != nil && t.engine.host.traced {
		return 0
	}
	ctx := t.engine.run.Load().context()
	if over := t.span(parent); over != nil {
		ctx = trace.ContextWithSpan(ctx, over)
	}
	kind := trace.SpanKindInternal
	if client {
		kind = trace.SpanKindClient
	}
	_, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(at), trace.WithAttributes(keyValues(attributes)...))
	if name == telemetry.SpanBackgroundRun {
		t.session.Store(&span)
	}
	return t.keep(span)
}

// Event is core.Tracer's.
func (t *tracing) Event(n uintptr, name string, at time.Time, attributes []core.Attribute) {
	if span := t.span(n); span != nil {
		span.AddEvent(name, trace.WithTimestamp(at), trace.WithAttributes(keyValues(attributes)...))
	}
}

// Attributes is core.Tracer's.
func (t *tracing) Attributes(n uintptr, attributes []core.Attribute) {
	if span := t.span(n); span != nil {
		span.SetAttributes(keyValues(attributes)...)
	}
}

// End is core.Tracer's.
func (t *tracing) End(n uintptr, at time.Time, status int, err error) {
	span := t.span(n)
	if span == nil {
		return
	}
	t.spans.Delete(n)
	fail(span, status, err)
	span.End(trace.WithTimestamp(at))
}

func fail(span trace.Span, status int, err error) {
	if status < 0 {
		span.SetAttributes(telemetry.ErrorType.String(core.StatusName(status)))
	}
	if e := (*Error)(nil); errors.As(err, &e) && e.HTTPStatus != 0 {
		span.SetAttributes(telemetry.HTTPStatus.Int(e.HTTPStatus))
	}
	if err == nil && status < 0 {
		span.SetStatus(codes.Error, core.StatusText(status))
		return
	}
	telemetry.Outcome(span, err)
}

func keyValues(attributes []core.Attribute) []attribute.KeyValue {
	out := make([]attribute.KeyValue, 0, len(attributes))
	for _, a := range attributes {
		key := attribute.Key(a.Name)
		switch value := a.Value.(type) {
		case int64:
			out = append(out, key.Int64(value))
		case bool:
			out = append(out, key.Bool(value))
		case string:
			out = append(out, key.String(value))
		}
	}
	return out
}

// parent is the number of the span in a context, for the core to have as the start's.
func (t *tracing) parent(ctx context.Context) uintptr {
	if t == nil {
		return 0
	}
	span := trace.SpanFromContext(ctx)
	if !span.SpanContext().IsValid() {
		return 0
	}
	n := t.keep(span)
	context.AfterFunc(t.engine.run.Load().ctx, func() { t.spans.Delete(n) })
	return n
}

// call runs the callback of an event inside the span that the core makes of it.
func (t *tracing) call(ev *core.Event, ctx context.Context, f func(context.Context) error) {
	if t == nil {
		_ = f(ctx)
		return
	}
	ev.Traced(func(n uintptr) bool {
		span := t.span(n)
		if span != nil {
			ctx = trace.ContextWithSpan(ctx, span)
		}
		err := f(ctx)
		if err != nil && span != nil {
			span.RecordError(err)
		}
		return err != nil
	})
}

// message makes the callback of one message of a batch.
func (t *tracing) message(s *session, b *core.Batch, at uint32) {
	kind, data := b.Message(at)
	b.Traced(at, func(n uintptr) {
		ctx := s.ctx
		if span := t.span(n); span != nil {
			ctx = trace.ContextWithSpan(ctx, span)
		}
		t.engine.client.OnMessage(ctx, s.conn, &t.engine.readMutex, s.restart, s.exit, s.id, wsadapters.MessageType(kind), data)
	})
}

// decorate makes spans of what callbacks do with their connection.
func (t *tracing) decorate(conn wsadapters.WebsocketConnectionAdapterInterface) wsadapters.WebsocketConnectionAdapterInterface {
	decorated, err := wsadapters.NewWebsocketConnectionAdapterInstrumentationDecorator(conn, t.provider)
	if err != nil {
		return conn
	}
	return decorated
}

// write runs a send inside its span.
func (t *tracing) write(ctx context.Context, kind wsadapters.MessageType, msg []byte, f func(context.Context, int, []byte) error) error {
	if t == nil {
		return f(ctx, int(kind), msg)
	}
	ctx, span := t.tracer.Start(ctx, telemetry.SpanWrite, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		telemetry.URLFull.String(t.engine.shown), telemetry.WSMessageSize.Int(len(msg)), telemetry.WSMessageOpcode.Int(int(kind))))
	err := f(ctx, int(kind), msg)
	fail(span, core.StatusOf(err), err)
	span.End()
	return err
}

// stop runs Stop inside its span.
func (t *tracing) stop(ctx context.Context, f func(context.Context) error) error {
	if t == nil {
		return f(ctx)
	}
	ctx, span := t.tracer.Start(ctx, telemetry.SpanStop)
	err := f(ctx)
	fail(span, core.StatusOf(err), err)
	span.End()
	return err
}

// adapterMessage makes the callback of a message that a Go adapter has read.
func (t *tracing) adapterMessage(s *session, m message) {
	e := s.engine
	if t == nil {
		e.client.OnMessage(s.ctx, s.conn, &e.readMutex, s.restart, s.exit, s.id, m.kind, m.data)
		return
	}
	ctx := s.ctx
	if run := t.session.Load(); run != nil {
		ctx = trace.ContextWithSpan(ctx, *run)
	}
	if !e.host.traced {
		_, read := t.tracer.Start(ctx, telemetry.SpanRead, trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(telemetry.URLFull.String(e.shown)))
		read.AddEvent(telemetry.EventMessageReceived, trace.WithAttributes(
			telemetry.WSMessageSize.Int(len(m.data)), telemetry.WSMessageOpcode.Int(int(m.kind))))
		fail(read, 0, nil)
		read.End()
	}
	ctx, span := t.tracer.Start(ctx, telemetry.SpanOnMessage, trace.WithAttributes(telemetry.SessionID.String(s.id),
		telemetry.MessageLength.Int(len(m.data)), telemetry.MessageOpcode.Int(int(m.kind))))
	defer span.End()
	e.client.OnMessage(ctx, s.conn, &e.readMutex, s.restart, s.exit, s.id, m.kind, m.data)
	fail(span, 0, nil)
}
