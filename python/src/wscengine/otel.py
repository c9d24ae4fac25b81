"""Spans by OpenTelemetry: `pip install wscengine[otel]`.

    from wscengine import otel

    otel.instrument()      # engines made from here on tell the global tracer provider, or the one that is given

What is told, and what it is called, is the same in every language of the library: `wscengine.start` and `.stop`, the phases of a run
(`wscengine.background.…`), each callback (`wscengine.callback.…`, current inside it), and what is done with the connection (`websocket.dial`, `.read`,
`.write`, `.ping`, `.close`). An error is recorded on its span, with `error.type` (the status of the C library) and, where a server refused,
`http.response.status_code`. Messages taken by on_messages or by iteration have no spans of their own. Without a provider, or with a no-op one, an engine
costs nothing more.

traced_adapter() and traced_client() decorate one adapter or client by hand."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import types
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry import context as contexts
from opentelemetry import trace

from . import _base
from ._abi import MessageType, Status
from ._core import ffi, lib
from ._native import NULL, address, sized, text
from .adapters import Adapter, AsyncAdapter
from .client import Client, overrides
from .errors import Error, error_of
from .session import Close, Message

if TYPE_CHECKING:
    from ._core import CData

__all__ = ["instrument", "traced_adapter", "traced_client", "uninstrument"]

CALLBACK = "wscengine.callback."

_KINDS = {lib.WSC_SPAN_INTERNAL: trace.SpanKind.INTERNAL, lib.WSC_SPAN_CLIENT: trace.SpanKind.CLIENT}
_numbers = itertools.count(1)
_tracings: dict[int, Tracing] = {}  # by what the library knows them by, until their engines are freed


def _tracer(provider: trace.TracerProvider) -> trace.Tracer:
    return trace.get_tracer("wscengine", text(lib.wsc_version()), provider)


def instrument(tracer_provider: trace.TracerProvider | None = None) -> None:
    """Engines made from here on, of threads and of asyncio, are traced. Until uninstrument(), or the next instrument()."""
    provider = trace.get_tracer_provider() if tracer_provider is None else tracer_provider
    silent = isinstance(provider, (trace.NoOpTracerProvider, trace.ProxyTracerProvider))
    _base.tracing = None if silent else functools.partial(Tracing, _tracer(provider))


def uninstrument() -> None:
    """Engines made from here on are not traced."""
    _base.tracing = None


class Tracing:
    """The tracer of one engine: the library's spans by numbers, each with the context for what is inside it."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self.tracer = tracer
        self.spans: dict[int, tuple[trace.Span, contexts.Context]] = {}
        self.numbers = itertools.count(1)
        self.run = contexts.Context()  # of the session that is open
        self.shown = ""  # the URL
        self.quiet = False  # an adapter that is traced tells of its verbs itself
        self.number = next(_numbers)
        _tracings[self.number] = self
        self.vtable = sized(
            "wsc_tracer",
            span_start=lib.wscengine_span_start,
            span_event=lib.wscengine_span_event,
            span_attributes=lib.wscengine_span_attributes,
            span_end=lib.wscengine_span_end,
        )

    def configure(self, options: CData) -> None:
        """Before an engine is made."""
        lib.wsc_options_set_tracer(options, self.vtable, ffi.cast("void *", self.number))

    def detach(self) -> None:
        """After an engine was freed: what the library may still tell of it is not heard."""
        _tracings.pop(self.number, None)

    def attach(self, engine: _base.EngineBase, url: str) -> None:
        """To an engine that has been made."""
        self.shown = _base.without_password(url)
        host = engine._host
        self.quiet = host is not None and host.adapter.traced
        engine._session_type = _traced_session(engine._session_type, self)
        for name, made in (("send", _verb(self, "write")), ("stop", self._stop), ("start", self._start)):
            setattr(engine, name, types.MethodType(made(getattr(type(engine), name)), engine))

    # ---- spans the library tells of ----

    def add(self, span: trace.Span, around: contexts.Context) -> int:
        number = next(self.numbers)
        self.spans[number] = span, around
        return number

    def span(self, handle: CData) -> tuple[trace.Span, contexts.Context] | None:
        return self.spans.get(address(handle)) if handle else None

    def call(
        self, ev: CData, record: CData, function: Callable[..., Any], arguments: tuple[Any, ...], may_wait: bool
    ) -> Any:
        """A callback, inside its span; where it is to be awaited, what is to be awaited instead."""
        told = lib.wsc_trace_begin(ev, record)
        with self._current(told):
            result = function(*arguments)
        if may_wait and inspect.isawaitable(result):
            return self._awaited(told, result, ev.type)
        return _ended(told, result, ev.type)

    async def _awaited(self, told: CData, awaitable: Any, kind: int) -> Any:
        with self._current(told):
            result = await awaitable
        return _ended(told, result, kind)

    def adapter_message(self, function: Callable[..., Any], session: Any, message: Message, may_wait: bool) -> Any:
        """on_message for what an adapter in Python has read; where it is to be awaited, what is to be awaited instead."""
        if not self.quiet:
            with self.inside("websocket.read", trace.SpanKind.CLIENT, {"url.full": self.shown}, self.run) as span:
                _got(span, message)
        with contextlib.ExitStack() as stack:
            facts = _on_message(session, message)
            stack.enter_context(self.inside(f"{CALLBACK}on_message", trace.SpanKind.INTERNAL, facts, self.run))
            result = function(session, message)
            if may_wait and inspect.isawaitable(result):
                return self._awaited_inside(stack.pop_all(), result)
        return result

    async def _awaited_inside(self, span: contextlib.ExitStack, awaitable: Any) -> Any:
        with span:
            return await awaitable

    @contextlib.contextmanager
    def _current(self, told: CData) -> Iterator[None]:
        """Inside the span of a callback, which ends if that fails."""
        found = self.span(lib.wsc_trace_span(told))
        attached = contexts.attach(found[1]) if found else None
        try:
            yield
        except BaseException as failure:
            if found:
                found[0].record_exception(failure)
            lib.wsc_trace_end(told, lib.WSC_ERR_HOST)
            raise
        finally:
            if attached is not None:
                contexts.detach(attached)

    # ---- verbs ----

    def inside(
        self, name: str, kind: trace.SpanKind, attributes: dict[str, Any], around: contexts.Context | None = None
    ) -> contextlib.AbstractContextManager[trace.Span]:
        return _inside(self.tracer, name, kind, attributes, around)

    def _stop(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return _wrapped(function, lambda *_: self.inside("wscengine.stop", trace.SpanKind.INTERNAL, {}))

    def _start(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The library makes its span; here it gets its parent."""

        @contextlib.contextmanager
        def parent(engine: _base.EngineBase, *_: Any) -> Iterator[None]:
            now = trace.get_current_span()
            if not now.get_span_context().is_valid:
                yield
                return
            number = self.add(now, contexts.get_current())
            engine._parent_span = ffi.cast("void *", number)
            try:
                yield
            finally:
                engine._parent_span = NULL
                self.spans.pop(number, None)

        return _wrapped(function, parent)


@contextlib.contextmanager
def _inside(
    tracer: trace.Tracer,
    name: str,
    kind: trace.SpanKind,
    attributes: dict[str, Any],
    around: contexts.Context | None = None,
) -> Iterator[trace.Span]:
    """A span that is current meanwhile, and ends as what is done in it does."""
    with tracer.start_as_current_span(
        name, around, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as failure:
            span.record_exception(failure)
            _failed(span, failure.status if isinstance(failure, Error) else lib.WSC_ERR_HOST, str(failure))
            raise


def _ended(told: CData, result: Any, kind: int) -> Any:
    """What a callback gave, whose span ends."""
    lib.wsc_trace_end(told, lib.WSC_ERR_HOST if _base.refuses(kind, result) else 0)
    return result


def _failed(span: trace.Span, status: int, said: str) -> None:
    names = {s.value: s.name for s in Status}
    span.set_attribute("error.type", names.get(status, str(status)))
    span.set_status(trace.StatusCode.ERROR, said)


def _placed(function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
    """Arguments where they would be without keywords."""
    if not keywords:
        return arguments
    bound = inspect.signature(function).bind(*arguments, **keywords)
    bound.apply_defaults()
    return bound.args


def _wrapped(function: Callable[..., Any], around: Callable[..., Any]) -> Callable[..., Any]:
    """A method that runs inside around(self, its arguments …)."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*arguments: Any, **keywords: Any) -> Any:
            with around(*_placed(function, arguments, keywords)) as span:
                return _got(span, await function(*arguments, **keywords))

        return awaited

    @functools.wraps(function)
    def called(*arguments: Any, **keywords: Any) -> Any:
        with around(*_placed(function, arguments, keywords)) as span:
            return _got(span, function(*arguments, **keywords))

    return called


def _size(message: Any) -> dict[str, Any]:
    is_text = isinstance(message, str)
    return {
        "websocket.message.size": len(message.encode("utf-8", "surrogatepass"))
        if is_text
        else memoryview(message).nbytes,
        "websocket.message.opcode": int(MessageType.TEXT if is_text else MessageType.BINARY),
    }


def _got(span: trace.Span | None, result: Any) -> Any:
    """What a verb gives; a message is told of."""
    if span is not None and isinstance(result, (str, bytes)):
        span.add_event("websocket.message.received", _size(result))
    return result


def _facts_of_verb(verb: str, url: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
    facts: dict[str, Any] = {"url.full": url}
    if verb == "write" and arguments and isinstance(arguments[0], (str, bytes, bytearray, memoryview)):
        facts |= _size(arguments[0])
    if verb == "close":
        code, reason = (*arguments, *(1000, "")[len(arguments) :])[:2]
        facts |= {"websocket.close.code": code, "websocket.close.reason": reason}
    return facts


def _verb(tracing: Tracing, verb: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def around(_: Any, *arguments: Any) -> Any:
        return tracing.inside(
            f"websocket.{verb}", trace.SpanKind.CLIENT, _facts_of_verb(verb, tracing.shown, arguments)
        )

    return lambda function: _wrapped(function, around)


def _traced_session(kind: Any, tracing: Tracing) -> Any:
    verbs = {"send": "write", "read": "read", "ping": "ping", "close": "close"}
    members: dict[str, Any] = {name: _verb(tracing, verb)(getattr(kind, name)) for name, verb in verbs.items()}

    def send_many(self: Any, messages: Iterable[Message], timeout: float | None = None) -> None:
        with self.corked():
            for message in messages:
                self.send(message, timeout)

    async def send_many_awaited(self: Any, messages: Iterable[Message], timeout: float | None = None) -> None:
        with self.corked():
            for message in messages:
                await self.send(message, timeout)

    members["send_many"] = send_many_awaited if inspect.iscoroutinefunction(kind.send_many) else send_many
    return type(kind.__name__, (kind,), {"__slots__": (), "__doc__": kind.__doc__, **members})


# ---- decorators: the same spans without instrument() ----

_Adapter = TypeVar("_Adapter", Adapter, AsyncAdapter)


def traced_adapter(adapter: _Adapter, tracer_provider: trace.TracerProvider | None = None) -> _Adapter:
    """An adapter that makes a span of each verb of another, which it calls; tracer_provider: None is the global one. Its spans have the span that is
    current where the verb is called as their parent. An engine that is traced itself leaves these spans to it."""
    tracer, url = _tracer(tracer_provider or trace.get_tracer_provider()), ""

    def traced(verb: str) -> Any:
        def around(*arguments: Any) -> Any:
            nonlocal url
            if verb == "dial":
                url = _base.without_password(arguments[0])
            return _inside(tracer, f"websocket.{verb}", trace.SpanKind.CLIENT, _facts_of_verb(verb, url, arguments))

        return staticmethod(_wrapped(getattr(adapter, verb), around))

    kind = AsyncAdapter if isinstance(adapter, AsyncAdapter) else Adapter
    members = {verb: traced(verb) for verb in ("dial", "read", "write", "ping", "close")}
    members["underlying"] = property(lambda _: adapter.underlying)
    members["abort"] = staticmethod(getattr(adapter, "abort", lambda: None))
    made: _Adapter = type("TracedAdapter", (kind,), {"traced": True, **members})()
    return made


def traced_client(client: Client, tracer_provider: trace.TracerProvider | None = None) -> Client:
    """A client that makes a span of each callback of another, which it calls. An engine that is traced itself calls the other one directly."""
    tracer, made = _tracer(tracer_provider or trace.get_tracer_provider()), Client()
    for name in vars(Client):
        if not name.startswith("_") and overrides(client, name):
            function, facts = getattr(client, name), _CALLBACKS.get(name)
            setattr(made, name, _wrapped(function, _around(tracer, name, facts)) if facts else function)
    made._decorated = client
    return made


def _around(tracer: trace.Tracer, name: str, facts: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    return lambda *arguments: _inside(tracer, CALLBACK + name, trace.SpanKind.INTERNAL, facts(*arguments))


def _on_message(session: Any, message: Any) -> dict[str, Any]:
    size = _size(message)
    return {
        "wscengine.session_id": session.id,
        "wscengine.message.length": size["websocket.message.size"],
        "wscengine.message.opcode": size["websocket.message.opcode"],
    }


def _on_close(session: Any, close: Close | None) -> dict[str, Any]:
    facts = {"wscengine.session_id": session.id, "wscengine.has_close_message": close is not None}
    if close is not None:
        facts |= {"wscengine.close_code": close.code, "wscengine.close_reason": close.reason}
    return facts


_CALLBACKS: dict[str, Callable[..., dict[str, Any]]] = {
    "on_open": lambda session, _, restarting: {
        "wscengine.session_id": session.id,
        "wscengine.restart": restarting,
    },
    "on_message": _on_message,
    "on_read_error": lambda session, _: {"wscengine.session_id": session.id},
    "on_close": _on_close,
    "on_close_error": lambda session, _: {"wscengine.session_id": session.id},
    "on_restart_error": lambda _engine, _error, retry, _last: {"wscengine.retry_count": retry},
}


# ---- what the library calls ----


def _facts(attributes: CData, count: int) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for i in range(count):
        one = attributes[i]
        if one.type == lib.WSC_ATTRIBUTE_STR:
            facts[text(one.name)] = text(one.text)
        else:
            facts[text(one.name)] = bool(one.number) if one.type == lib.WSC_ATTRIBUTE_BOOL else one.number
    return facts


@ffi.def_extern(error=NULL)  # type: ignore[untyped-decorator]
def wscengine_span_start(
    handle: CData, parent: CData, name: CData, kind: int, time_ns: int, attributes: CData, count: int
) -> CData:
    tracing = _tracings.get(address(handle))
    if tracing is None or (tracing.quiet and kind == lib.WSC_SPAN_CLIENT):
        return NULL
    above = tracing.span(parent)
    around = above[1] if above else contexts.Context()
    span = tracing.tracer.start_span(
        text(name), around, _KINDS[kind], attributes=_facts(attributes, count), start_time=time_ns
    )
    inside = trace.set_span_in_context(span, around)
    if text(name) == "wscengine.background.run":
        tracing.run = inside
    return ffi.cast("void *", tracing.add(span, inside))


def _found(handle: CData, span: CData) -> tuple[trace.Span, contexts.Context] | None:
    tracing = _tracings.get(address(handle))
    return tracing.span(span) if tracing else None


@ffi.def_extern()  # type: ignore[untyped-decorator]
def wscengine_span_event(handle: CData, span: CData, name: CData, time_ns: int, attributes: CData, count: int) -> None:
    found = _found(handle, span)
    if found:
        found[0].add_event(text(name), _facts(attributes, count), time_ns)


@ffi.def_extern()  # type: ignore[untyped-decorator]
def wscengine_span_attributes(handle: CData, span: CData, attributes: CData, count: int) -> None:
    found = _found(handle, span)
    if found:
        found[0].set_attributes(_facts(attributes, count))


@ffi.def_extern()  # type: ignore[untyped-decorator]
def wscengine_span_end(handle: CData, span: CData, time_ns: int, status: int, error: CData) -> None:
    found = _found(handle, span)
    if not found:
        return
    _tracings[address(handle)].spans.pop(address(span), None)
    if status != 0:
        cause = error_of(error)
        said = str(cause) if cause is not None else text(lib.wsc_status_text(status))
        if cause is not None:
            found[0].record_exception(cause)
            refusal = getattr(cause, "http_status", 0)
            if refusal:
                found[0].set_attribute("http.response.status_code", refusal)
        _failed(found[0], status, said)
    found[0].end(time_ns)
