"""Spans by OpenTelemetry's real SDK. What is told is the conformance suite's (trace.toml); here is what is Python's: contexts, exceptions, costs."""

import asyncio
import gc
import re

import pytest
import wscengine
from conftest import until
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from wscengine import _base, aio, otel


@pytest.fixture
def told():
    """The spans that have ended; told(name): those of that name."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    otel.instrument(provider)

    def named(name):
        return [span for span in exporter.get_finished_spans() if span.name == name]

    named.tracer, named.all = provider.get_tracer("test"), exporter.get_finished_spans
    yield named
    otel.uninstrument()
    gc.collect()
    until(lambda: not any(tracing.spans for tracing in otel._tracings.values()))  # each has ended


def parent_of(span, spans):
    return next((s.name for s in spans if span.parent and s.context.span_id == span.parent.span_id), None)


class Echo(wscengine.Client):
    def __init__(self, tracer):
        self.tracer, self.got = tracer, []

    def on_open(self, session, response, restarting):
        with self.tracer.start_as_current_span("mine"):
            session.send("hello")

    def on_message(self, session, message):
        self.got.append((message, trace.get_current_span().name))
        if message == "boom":
            raise KeyError("boom")


class AsyncEcho(Echo):
    async def on_open(self, session, response, restarting):
        with self.tracer.start_as_current_span("mine"):
            await asyncio.sleep(0.001)
            await session.send("hello")

    async def on_message(self, session, message):
        await asyncio.sleep(0.001)
        super().on_message(session, message)


def check(told, client):
    spans = told.all()
    assert [got for got in client.got if got[1] != "wscengine.callback.on_message"] == []
    assert parent_of(told("wscengine.start")[0], spans) == "the program"
    assert parent_of(told("mine")[0], spans) == "wscengine.callback.on_open"
    assert [parent_of(span, spans) for span in told("websocket.write")] == ["mine", "the program"]
    failed = next(s for s in told("wscengine.callback.on_message") if not s.status.is_ok and s.status.description)
    assert failed.attributes["error.type"] == "ERR_HOST"
    assert [e.attributes["exception.type"] for e in failed.events] == ["KeyError"]
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert "secret" not in "".join(span.to_json() for span in spans)
    assert re.fullmatch(r"ws://me:\*\*\*@127.0.0.1:\d+/", told("websocket.ping")[0].attributes["url.full"])


def with_password(url):
    return url.replace("ws://", "ws://me:secret@")


def test_callbacks_are_current_and_a_start_has_its_parent(server, told, caplog):
    client = Echo(told.tracer)
    engine = wscengine.Engine(with_password(server().url), client)
    with told.tracer.start_as_current_span("the program"):
        engine.start()
        engine.send("boom")
    until(lambda: len(client.got) == 2)
    engine.ping(timeout=5)
    engine.stop()
    check(told, client)
    caplog.clear()  # its traceback holds the engine


def test_the_same_on_asyncio(server, told, caplog):
    client = AsyncEcho(told.tracer)

    async def main(url):
        engine = aio.Engine(url, client)
        with told.tracer.start_as_current_span("the program"):
            await engine.start()
            await engine.send("boom")
        while len(client.got) < 2:
            await asyncio.sleep(0.005)
        await engine.ping(timeout=5)
        await engine.stop()

    asyncio.run(main(with_password(server().url)))
    check(told, client)
    caplog.clear()  # its traceback holds the engine


def test_keywords_are_told_as_what_they_are(server, told):
    with wscengine.Engine(server().url, auto_reconnect=False) as engine:
        engine.send(timeout=5, data="hello")
        engine.session.close(timeout=5, reason="bye")
    assert told("websocket.write")[0].attributes["websocket.message.size"] == 5
    assert told("websocket.close")[0].attributes["websocket.close.code"] == 1000
    assert told("websocket.close")[0].attributes["websocket.close.reason"] == "bye"


def test_what_on_open_raises_stands_on_the_start(server, told):
    class Refuses(wscengine.Client):
        def on_open(self, session, response, restarting):
            raise PermissionError("not today")

    with pytest.raises(wscengine.StartError):
        wscengine.Engine(server().url, Refuses()).start()
    until(lambda: told("wscengine.start"))
    assert told("wscengine.callback.on_open")[0].events[0].attributes["exception.type"] == "PermissionError"
    assert "PermissionError: not today" in str(told("wscengine.start")[0].events[0].attributes)


def test_several_readers_views_and_lists_of_messages_are_sent(server, told):
    got = []

    class Views(wscengine.Client):
        def on_message(self, session, message):
            got.append((bytes(message), trace.get_current_span().name))

    with wscengine.Engine(server().url, Views(), memoryviews=True, reader_count=2) as engine:
        engine.send_many(["a", b"bc"])
        until(lambda: len(got) == 2)
    assert sorted(got) == [(b"a", "wscengine.callback.on_message"), (b"bc", "wscengine.callback.on_message")]
    assert [span.attributes["websocket.message.size"] for span in told("websocket.write")] == [1, 2]


def test_send_many_on_asyncio_has_a_span_a_message(server, told):
    async def main(url):
        async with aio.Engine(url) as engine:
            await engine.send_many(["a", b"bc"])

    asyncio.run(main(server().url))
    assert [span.attributes["websocket.message.size"] for span in told("websocket.write")] == [1, 2]


def test_an_engine_that_is_dropped_while_it_runs_ends_its_spans(server, told):
    async def main(url):
        engine = aio.Engine(url)
        await engine.start()
        assert not told("wscengine.background.run")
        engine._home.running.discard(engine)
        engine._home.rest()
        engine._leave()

    asyncio.run(main(server().url))
    gc.collect()
    assert len(told("wscengine.background.run")) == 1


def test_without_a_provider_nothing_is_traced(server):
    otel.instrument()
    assert _base.tracing is None
    otel.instrument(trace.NoOpTracerProvider())
    assert _base.tracing is None
    with wscengine.Engine(server().url) as engine:
        assert engine._trace is None and "send" not in vars(engine)
