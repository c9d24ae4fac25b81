package main

import (
	"context"
	"sync"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// spans makes one event of each span as it ends.
type spans struct {
	mu    sync.Mutex
	names map[trace.SpanID]string
	open  map[trace.SpanID]bool
}

var seen = &spans{names: map[trace.SpanID]string{}, open: map[trace.SpanID]bool{}}

func tracerProvider() trace.TracerProvider { return sdk.NewTracerProvider(sdk.WithSpanProcessor(seen)) }

func openSpans() int {
	seen.mu.Lock()
	defer seen.mu.Unlock()
	return len(seen.open)
}

func (s *spans) OnStart(_ context.Context, span sdk.ReadWriteSpan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[span.SpanContext().SpanID()] = span.Name()
	s.open[span.SpanContext().SpanID()] = true
}

func (s *spans) OnEnd(span sdk.ReadOnlySpan) {
	attributes, status := fields{}, "OK"
	for _, a := range span.Attributes() {
		if a.Key == "error.type" {
			status = a.Value.AsString()
		} else {
			attributes[string(a.Key)] = a.Value.AsInterface()
		}
	}
	var failure any
	events := []fields{}
	for _, e := range span.Events() {
		if e.Name == "exception" {
			failure = fields{"status": status, "http_status": attributes["http.response.status_code"]}
			continue
		}
		shown := fields{"name": e.Name}
		for _, a := range e.Attributes {
			shown[string(a.Key)] = a.Value.AsInterface()
		}
		events = append(events, shown)
	}
	delete(attributes, "http.response.status_code")
	s.mu.Lock()
	delete(s.open, span.SpanContext().SpanID())
	number, parent := len(s.names), s.names[span.Parent().SpanID()]
	s.mu.Unlock()
	emit(fields{
		"event": "span", "span": number, "name": span.Name(), "parent": parent, "kind": span.SpanKind().String(),
		"status": status, "error": failure, "attributes": attributes, "events": events,
	})
}

func (s *spans) Shutdown(context.Context) error   { return nil }
func (s *spans) ForceFlush(context.Context) error { return nil }
