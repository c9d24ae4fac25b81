"""The Python driver's spans: an engine traced by wscengine.otel and OpenTelemetry's SDK; a span becomes one `span` event as it ends."""

import itertools

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from wscengine import otel


class Spans(SpanProcessor):
    """emit: of an event's fields. open: a set of what has not ended."""

    def __init__(self, emit, open):
        self.emit, self.open, self.names = emit, open, {}
        self.numbers = itertools.count(1)

    def on_start(self, span, parent_context=None):
        self.names[span.context.span_id] = next(self.numbers), span.name
        self.open.add(span.context.span_id)

    def on_end(self, span):
        facts = dict(span.attributes)
        status = facts.pop("error.type", "OK")
        assert (status == "OK") == span.status.is_ok, span.status
        error = None
        if status != "OK" and any(event.name == "exception" for event in span.events):
            error = {"status": status, "http_status": facts.pop("http.response.status_code", 0)}
        self.open.discard(span.context.span_id)  # before the runner can know
        number, name = self.names[span.context.span_id]
        self.emit(
            {
                "event": "span",
                "span": number,
                "name": name,
                "parent": self.names[span.parent.span_id][1] if span.parent else "",
                "kind": span.kind.name.lower(),
                "status": status,
                "error": error,
                "attributes": facts,
                "events": [{"name": e.name, **e.attributes} for e in span.events if e.name != "exception"],
            }
        )


def trace_engines(emit, open):
    """Engines made from here on are traced."""
    provider = TracerProvider()
    provider.add_span_processor(Spans(emit, open))
    otel.instrument(provider)
