"""What engines for threads and for asyncio share: the handle, its events as calls of the client, and their answers."""

from __future__ import annotations

import abc
import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from . import _batch
from ._abi import EventFlags, EventType, LogLevel, MessageType, State, Status, StopReason
from ._core import ffi, lib
from ._native import NULL, Deadline, Loop, address, call, encoded, sized, text
from .client import Client, overrides
from .errors import ClosedError, Error, HostError, Kept, StartError, described, error_of
from .options import make_options
from .session import ENGINE_WRITE, Attempt, Close, Message, Response, SessionBase, shown

if TYPE_CHECKING:
    import logging

    from ._core import CData
    from ._link import HostBase

CallbackErrors = Literal["continue", "close", "stop"]
_TO_LOGGING = {  # logging.ERROR, WARNING, INFO, DEBUG and one below
    LogLevel.ERROR: 40,
    LogLevel.WARNING: 30,
    LogLevel.INFO: 20,
    LogLevel.DEBUG: 10,
    LogLevel.TRACE: 5,
}


def logger() -> logging.Logger:
    """Where the package logs."""
    import logging  # only with the first engine: it is a sixth of what an import of the package costs

    return logging.getLogger("wscengine")


def tell(log: logging.Logger, level: int, said: str, *words: Any, **more: Any) -> None:
    """Logs. What a handler of the user's raises goes to stderr, as what the standard ones raise does: it must not end who works for the engine."""
    try:
        log.log(level, said, *words, **more)
    except Exception:
        import traceback

        traceback.print_exc()


def _wanted_level() -> int:
    """The most that the logger would print."""
    log = logger()
    return max((ours for ours, theirs in _TO_LOGGING.items() if log.isEnabledFor(theirs)), default=0)


class Stats(NamedTuple):
    """Counters of an engine, all sessions together; bytes are payload unless said, times are seconds (None: not yet known)."""

    messages_received: int
    bytes_received: int
    messages_sent: int
    bytes_sent: int
    messages_dropped: int
    sessions: int
    reconnects: int
    failed_attempts: int
    queued_messages: int
    queued_bytes: int
    rtt_last: float | None
    rtt_smoothed: float | None
    last_byte_age: float | None
    packed_received_bytes: int
    unpacked_received_bytes: int
    packed_sent_bytes: int
    unpacked_sent_bytes: int
    reconnects_by_peer: int
    reconnects_by_network: int
    reconnects_by_timeout: int
    reconnects_by_protocol: int
    reconnects_by_user: int
    wire_received_bytes: int
    wire_sent_bytes: int
    unsent_bytes: int


def _seconds(ns: int) -> float | None:
    return None if ns < 0 else ns / 1e9


BUFFERED = 4096  # messages that iteration keeps ready
_ALL = 2**32 - 1


Match = Callable[[Message], object] | str | int  # which message is the reply: what says so, or its id


def id_of(message: Message) -> object:
    """What a message calls its id, if it is a JSON object that has one."""
    import json

    try:
        return json.loads(bytes(message) if isinstance(message, memoryview) else message)["id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


class Request:
    """Waits for one message."""

    def __init__(self, match: Match) -> None:
        self.match = match if callable(match) else lambda message: id_of(message) == match
        self.came = False
        self.reply: Message | None = None

    def offer(self, message: Message) -> bool:
        if self.came or not self.match(message):
            return False
        self.reply, self.came = message, True
        return True

    def answer(self) -> Message:
        assert self.reply is not None
        return self.reply


def start_error(error: Error) -> StartError:
    """The library's error of a start, whose cause is what a user wants to catch: where a callback raised, that very exception."""
    cause: BaseException = error.__cause__ or error
    while isinstance(cause, HostError) and cause.__cause__ is not None:
        cause = cause.__cause__
    made = StartError(str(error))
    made.status, made.close_code, made.os_error = error.status, error.close_code, error.os_error
    made.http_status, made.response = error.http_status, error.response
    made.__cause__ = cause
    return made


def session_closed(session: SessionBase) -> Error:
    """The error for whoever waited on a session that has ended."""
    close = session.closed
    made = ClosedError(f"the session has ended: {close.code} {close.reason}" if close else "the session has ended")
    made.close_code = close.code if close else 0
    return made


def without_password(url: str) -> str:
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}"))


def wanted(adapter: Any, kind: type) -> Any:
    """An adapter, judged."""
    if not isinstance(adapter, kind):
        raise TypeError(f"adapter is a wscengine.adapters.{kind.__name__}, not {type(adapter).__name__}")
    return adapter


def refuses(kind: int, result: Any) -> bool:
    """Whether a callback's result is a no: on_open's to the session, before_attempt's to any further attempt."""
    return result is False and kind in (EventType.OPENED, EventType.BEFORE_ATTEMPT)


class Tracing(Protocol):
    """Who tells of engines as they work: wscengine.otel."""

    def configure(self, options: CData) -> None: ...
    def attach(self, engine: EngineBase, url: str) -> None: ...
    def detach(self) -> None: ...
    def call(
        self, ev: CData, record: CData, function: Callable[..., Any], arguments: tuple[Any, ...], may_wait: bool
    ) -> Any: ...
    def adapter_message(self, function: Callable[..., Any], session: Any, message: Message, may_wait: bool) -> Any: ...


tracing: Callable[[], Tracing] | None = None  # makes those of the engines made next


def _free(loop: Loop, trace: Tracing | None, engine: CData) -> None:
    lib.wsc_engine_free(engine)
    loop.leave()
    if trace is not None:
        trace.detach()


class EngineBase(abc.ABC):
    """See Engine and aio.Engine."""

    _session_type: Any = SessionBase
    _host: HostBase | None = None  # answers for an adapter in Python
    _awaited = False  # whether callbacks may be coroutine functions
    _parent_span: CData = NULL  # of the start that is under way

    def __init__(
        self,
        url: str,
        client: Client | None,
        loop: Loop,
        *,
        adapter: Any,
        raw_text: bool,
        memoryviews: bool,
        callback_errors: CallbackErrors,
        options: dict[str, Any],
    ) -> None:
        if callback_errors not in ("continue", "close", "stop"):
            raise TypeError(f'callback_errors is "continue", "close" or "stop", not {callback_errors!r}')
        if not isinstance(url, str):
            raise TypeError(f"url is a str, not {type(url).__name__}")
        self.client = Client() if client is None else client
        if not isinstance(self.client, Client):
            raise TypeError(f"client is a wscengine.Client, not {type(client).__name__}")
        if options.get("log_level") is None:
            options["log_level"] = _wanted_level()
        asks = int(overrides(self.client, "before_attempt"))
        made = ffi.new("wsc_engine **")
        configured = make_options(options, ASK_BEFORE_ATTEMPT=asks, HOST_ADAPTER=int(adapter is not None))
        self._trace = tracing() if tracing else None
        if self._trace is not None:
            self.client = self.client._decorated or self.client
            self._trace.configure(configured)
        call(lib.wsc_engine_new, encoded(url, "url"), NULL, NULL, configured, made)
        self._c = ffi.gc(made[0], functools.partial(_free, loop, self._trace))
        loop.use()
        self._send = _batch.sender(ENGINE_WRITE, address(self._c))
        self._loop = loop
        call(lambda error: lib.wsc_loop_add(loop.c, self._c))
        self._control = lib.wsc_engine_control(self._c)
        self._raw, self._views = bool(raw_text), bool(memoryviews)
        self._share = (options.get("reader_count") or 1) > 1
        self._callback_errors = callback_errors
        self._session: SessionBase | None = None
        self._attempt: Attempt | None = None
        self._interrupt: BaseException | None = None
        self._kept: deque[Kept] = deque(maxlen=64)  # what errors of the library carry; tracebacks may lead back here
        self._iterated = not overrides(self.client, "on_message") and not overrides(self.client, "on_messages")
        self._bulk = overrides(self.client, "on_messages")
        self._most = _ALL if self._bulk else BUFFERED if self._iterated else 1  # messages for one turn
        if adapter is not None:
            self._host, self._session_type = self._make_host(adapter, options)
        if self._trace is not None:
            self._trace.attach(self, url)

    @abc.abstractmethod
    def _make_host(self, adapter: Any, options: dict[str, Any]) -> tuple[HostBase, Any]:
        """Who answers for an adapter, and the type of its sessions."""

    # ---- what needs no waiting ----

    @property
    def state(self) -> State:
        """STOPPED, STARTING, OPEN, RECONNECTING or STOPPING, at once."""
        return State(lib.wsc_engine_state(self._c))

    @property
    def stop_reason(self) -> StopReason:
        """Why the last run ended."""
        return StopReason(lib.wsc_engine_stop_reason(self._c))

    @property
    def session(self) -> SessionBase | None:
        """The session that is open now; None between sessions."""
        found = lib.wsc_engine_session(self._c)
        if not found:
            return None
        try:
            session = self._session
            if session is not None and session.epoch == lib.wsc_session_epoch(found):
                return session
            return None if self._host is not None else self._session_type(found, self._raw)
        finally:
            lib.wsc_session_unref(found)

    def _gone(self, session: SessionBase) -> bool:
        """Whether a session has ended and all that came before its end was delivered."""
        if not session.closed:
            return False
        now = self.session
        return now is None or now.epoch != session.epoch

    @property
    def stats(self) -> Stats:
        out = sized("wsc_stats")
        call(lambda error: lib.wsc_engine_stats(self._c, out))
        values: dict[str, Any] = {}
        for name in Stats._fields:
            values[name] = getattr(out, name) if hasattr(out, name) else _seconds(getattr(out, f"{name}_ns"))
        if self._host is not None:
            values |= self._host.counters()
        return Stats(**values)

    def exit(self) -> None:
        """Ends the run when the running callbacks have returned. Any thread, never blocks."""
        lib.wsc_engine_exit(self._c)

    def restart(self) -> None:
        """Ends the session that is open, when the running callbacks have returned, and connects anew."""
        lib.wsc_engine_restart(self._c)

    # ---- events ----

    def _call_for(self, ev: CData) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
        """What to call for an event that is no batch; None: nothing."""
        kind, client = ev.type, self.client
        if kind == EventType.OPENED:
            session = self._session = self._session_type(ev.session, self._raw)
            if self._host is not None:
                self._host.begin(session)
            restarting = bool(ev.flags & EventFlags.RESTARTING)
            return client.on_open, (self._session, Response.of(ev.response), restarting)
        if kind == EventType.CLOSED:
            close = Close.of(ev.close) if ev.flags & EventFlags.BY_PEER else None
            if self._host is not None:
                self._host.closing(self._session, Close.of(ev.close))
            return client.on_close, (self._session, close)
        if kind == EventType.READ_ERROR:
            return client.on_read_error, (self._session, error_of(ev.error))
        if kind == EventType.CLOSE_ERROR:
            return client.on_close_error, (self._session, error_of(ev.error))
        if kind == EventType.RESTART_ERROR:
            last = bool(ev.flags & EventFlags.LAST)
            return client.on_restart_error, (self, error_of(ev.error), ev.retry, last)
        if kind == EventType.BEFORE_ATTEMPT:
            self._attempt = Attempt(ev.attempt)
            return client.before_attempt, (self, self._attempt)
        if kind == EventType.STOPPED:
            return client.on_stopped, (self, StopReason(ev.status), error_of(ev.error))
        return None

    def _invoke(self, ev: CData, function: Callable[..., Any], arguments: tuple[Any, ...], record: CData = NULL) -> Any:
        """Calls back, inside a span where there is a tracer."""
        if self._trace is None:
            return function(*arguments)
        return self._trace.call(ev, record, function, arguments, self._awaited)

    def _records(self, ev: CData, reply: CData, share: bool) -> Iterator[CData]:
        """The records of a batch one by one, as each is taken. With the last one (or each, to share: the rest is for other readers) the batch is done,
        so that what comes next need not wait for this record's callback."""
        record = ffi.new("wsc_record *")
        while lib.wsc_event_take(ev, record):
            reply.consumed += 1
            if share or reply.consumed == ev.count:
                lib.wsc_event_done(ev, reply)
            yield record
            if share:
                return

    def _messages(self, ev: CData, reply: CData, share: bool) -> Iterator[tuple[CData, Any]]:
        """The same with each one's message; memoryviews are of the receive memory, which lives as long as any of them. Where readers take by turns, one
        message of many is copied: each would have to keep all of them."""
        if not self._views:
            for record in self._records(ev, reply, share):
                payload: bytes = ffi.buffer(ev.arena + record.offset, record.length)[:]
                is_text = record.type == MessageType.TEXT and not self._raw
                yield record, payload.decode() if is_text else payload
            return
        if share and ev.count > 1:
            for record in self._records(ev, reply, share):
                yield record, memoryview(ffi.buffer(ev.arena + record.offset, record.length)[:])
            return
        whole, moved = self._hold(ev)
        for record in self._records(ev, reply, share):
            at = moved[record.offset] if moved else record.offset
            yield record, whole[at : at + record.length]

    def _hold(self, ev: CData) -> tuple[memoryview, dict[int, int] | None]:
        """A batch's memory as long as a view needs it; if it was copied, where each payload lies now."""
        batch = lib.wsc_event_hold(ev)
        if not batch:
            raise MemoryError
        length = ffi.new("uint64_t *")
        arena = ffi.gc(lib.wsc_batch_arena(batch, length), lambda _: lib.wsc_batch_unref(batch))
        moved = None
        if arena != ev.arena:
            records = lib.wsc_batch_records(batch, NULL)
            moved = {ev.records[i].offset: records[i].offset for i in range(ev.count)}
        return memoryview(ffi.buffer(arena, length[0])).toreadonly(), moved

    def _collect(self, ev: CData, reply: CData, most: int) -> list[Any]:
        """Up to so many messages of a batch at once."""
        if self._views:
            return [message for _, message in itertools.islice(self._messages(ev, reply, False), most)]
        return _batch.collect(address(ev), address(reply), self._raw, most)

    def _shown(self, messages: list[Message]) -> list[Any]:
        """Messages of an adapter, as the user wants them."""
        if self._views:
            return [memoryview(m.encode() if isinstance(m, str) else m) for m in messages]
        return [shown(m, self._raw) for m in messages]

    def _invoke_message(self, function: Callable[..., Any], session: Any, message: Message) -> Any:
        """The same for a message of an adapter."""
        if self._trace is None:
            return function(session, message)
        return self._trace.adapter_message(function, session, message, self._awaited)

    def _start_context(self, timeout: float | None) -> CData:
        context = Deadline(timeout).context()
        if self._parent_span:
            context = context or sized("wsc_context")
            context.parent_span = self._parent_span
        return context

    def _answer(self, ev: CData, result: Any, failure: BaseException | None) -> None:
        """Tells the library how the callback of a non-batch event ended."""
        kind, reply, error = ev.type, sized("wsc_reply"), ffi.new("wsc_error **")
        if kind == EventType.BEFORE_ATTEMPT and self._attempt is not None:
            self._attempt._c = NULL
        if refuses(kind, result if failure is None else False):
            reply.status = lib.WSC_ERR_HOST
            if failure is not None:
                self._error(failure, error)
                reply.error = error[0]
        elif kind == EventType.CLOSED and failure is None and result is not None:
            try:
                code, reason = result if isinstance(result, tuple) else (result, "")
                held = ffi.new("char[]", encoded(reason, "reason"))
                reply.close_code, reply.close_reason = code, held
            except Exception as wrong:  # neither of the two: as if it had been raised
                failure = wrong
        if failure is not None and kind != EventType.OPENED:
            self._failed(failure)
        elif isinstance(failure, (KeyboardInterrupt, SystemExit)):
            self._failed(failure)
        host = self._host
        if host is not None and kind == EventType.OPENED:
            try:
                host.accept(self._session, reply.status == 0)
            except RuntimeError as none:  # no thread is to be had for its callbacks
                host.accept(self._session, False)
                self._error(none, error)
                reply.status, reply.error = lib.WSC_ERR_HOST, error[0]
        elif host is not None and kind == EventType.CLOSED:
            host.closed(self._session)
        elif host is not None and kind == EventType.STOPPED:
            host.rest()
        lib.wsc_event_done(ev, reply)
        lib.wsc_error_unref(error[0])
        if host is not None and kind == EventType.READ_ERROR:
            host.read_on(self._session)

    def _is_reply(self, asked: Request, message: Message) -> bool:
        """Whether a request has waited for this; a match that raises is no match, and costs nobody the message."""
        try:
            return asked.offer(message)
        except BaseException as raised:
            self._failed(raised)
            return False

    def _error(
        self,
        failure: BaseException,
        out: CData,
        status: int = Status.ERR_HOST,
        close_code: int = 0,
        said: str | None = None,
    ) -> None:
        """The library's error for an exception, which keeps its identity on the way back."""
        kept = Kept(failure)
        self._kept.append(kept)
        words = described(failure) if said is None else said
        message = words.encode("utf-8", "replace").replace(b"\0", b"?")
        lib.wsc_error_new(status, close_code, message, NULL, ffi.cast("void *", kept.number), NULL, out)

    def _failed(self, failure: BaseException) -> None:
        """A callback raised."""
        if isinstance(failure, (KeyboardInterrupt, SystemExit)):
            self._interrupt = failure
            lib.wsc_engine_exit(self._c)
            return
        tell(logger(), 40, "a callback raised", exc_info=failure)
        session = self._session
        if self._callback_errors == "stop":
            self._interrupt = failure
            lib.wsc_engine_exit(self._c)
        elif self._callback_errors == "close" and session is not None:
            if self._host is not None:
                self._host.callback_failed(session)
            else:
                lib.wsc_connection_close_begin(session._connection, NULL, 1011, b"callback failed", 0, NULL, NULL)

    def _log(self, ev: CData) -> None:
        extra = {"engine_id": lib.wsc_engine_id(self._c), "session_id": text(ev.session_id)}
        name = text(ev.subsystem)
        tell(logger().getChild(name), _TO_LOGGING.get(ev.level, 10), "%s", text(ev.text), extra=extra)
        lib.wsc_event_done(ev, NULL)
