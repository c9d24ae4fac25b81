"""The engine for asyncio, also under uvloop: the names of wscengine.Engine, awaited.

All engines of one event loop share one loop of the library, which the event loop watches by one file descriptor: no thread an engine. (The
process's standby thread answers pings while the event loop is blocked.)"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from . import _batch
from ._abi import EventType, State, StopReason
from ._base import BUFFERED, CallbackErrors, EngineBase, Match, Request, session_closed, start_error, wanted
from ._core import ffi, lib
from ._home import HomeLoop, home_loop
from ._native import NULL, Deadline, address, encoded, sized
from .client import Client
from .connection import made_connection
from .errors import ClosedError, Error, ForkedError, InCallbackError, InvalidError, StateError, TimeoutError, error_of
from .session import ConnectionBase, Message, SessionBase, no_room

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self, Unpack

    from ._abi import ConnectionOptions, EngineOptions
    from ._core import CData
    from ._host_aio import Host
    from .adapters import AsyncAdapter
    from .session import Response

__all__ = ["Connection", "Engine", "Session"]

# Whose callback runs here, or has made this task; emptied when it has returned: a task that outlives it waits for nothing of its own.
_inside: ContextVar[list[Engine]] = ContextVar("wscengine_inside", default=[])  # noqa: B039 - nobody changes that one


def _may_await(function: Any) -> bool:
    """Whether what it gives is to be awaited: of an `async def`, also behind a decorator (functools.wraps), or of an object that is called as one."""
    inner = inspect.unwrap(function)
    return any(map(inspect.iscoroutinefunction, (inner, type(inner).__call__)))


def _swept(failure: BaseException, unknown: bool = False) -> bool:
    """Whether this task was cancelled, as all are at the end of the event loop; else it is a callback's own CancelledError. unknown: CPython 3.10
    cannot say."""
    task = asyncio.current_task()
    return isinstance(failure, asyncio.CancelledError) and bool(getattr(task, "cancelling", lambda: unknown)())


class Verbs(ConnectionBase):
    """What tasks do with a connection."""

    __slots__ = ()
    loop: HomeLoop
    _unread: deque[CData]  # reads that have ended, whose tasks were cancelled

    async def send(self, data: Message | Buffer, timeout: float | None = None) -> None:
        """Sends one whole message: str as text, bytes as binary. Waits for room up to timeout seconds (None: without a limit)."""
        failed = self._send(data)
        if failed is not None:
            no_room(failed, timeout)
            await self.loop.send(lib.wsc_connection_write_begin, self._connection, data, timeout)

    def send_nowait(self, data: Message | Buffer) -> None:
        """The same for callbacks that are plain functions: nothing to await. Without room for it QueueFullError, and nothing is sent."""
        failed = self._send(data)
        if failed is not None:
            no_room(failed, 0)

    async def send_many(self, messages: Iterable[Message | Buffer], timeout: float | None = None) -> None:
        """Sends them in order, in as few writes to the socket as they fit. Waits as send() does, timeout seconds for all of them. What was
        sent before an error stays sent."""
        held, deadline, sent = list(messages), Deadline(timeout), 0
        while (sent := self._send_from(held, sent, timeout)) < len(held):
            await self.loop.send(lib.wsc_connection_write_begin, self._connection, held[sent], deadline.left())
            sent += 1

    async def ping(self, timeout: float | None = None) -> float:
        """-> seconds until its pong."""
        op = await self.loop.wait(lib.wsc_connection_ping_begin, self._connection, Deadline(timeout).context())
        return float(lib.wsc_op_rtt_ns(op) / 1e9)

    async def read(self, timeout: float | None = None) -> Message:
        """The next message; of a session only inside a callback or while the engine is paused. One that had come when the task was cancelled is
        the next read's."""
        if self._unread:
            return self._read_from(self._unread.popleft())
        context = Deadline(timeout).context()
        op = await self.loop.wait(lib.wsc_connection_read_begin, self._connection, context, undo=self._unread.append)
        return self._read_from(op)

    def _read_from(self, op: CData) -> Message:
        out = sized("wsc_message")
        lib.wsc_op_take_message(op, out)
        return self._taken(out)

    async def close(self, code: int = 1000, reason: str = "", timeout: float | None = None) -> None:
        """Closes it with a close frame and waits for the peer's. An engine reconnects afterwards; exit() ends its run."""
        context = Deadline(timeout).context()
        await self.loop.wait(lib.wsc_connection_close_begin, self._connection, context, code, encoded(reason, "reason"))


class Session(Verbs, SessionBase):
    """One connection of an aio.Engine; see wscengine.Session. Its waiting methods are awaited."""

    __slots__ = ("_unread", "loop")

    def __init__(self, session: CData, raw: bool) -> None:
        super().__init__(session, raw)
        self.loop, self._unread = home_loop(), deque()


class Connection(Verbs):
    """wscengine.Connection for asyncio: made and used on one event loop, its waiting methods awaited. Between awaits a thread of the process answers
    pings."""

    __slots__ = ("_unread", "loop")

    def __init__(self, url: str, *, raw_text: bool = False, **options: Unpack[ConnectionOptions]) -> None:
        self.loop, self._unread = home_loop(), deque()
        super().__init__(made_connection(self.loop.core, url, dict(options)), raw_text)

    async def connect(self, timeout: float | None = None) -> Response:
        """Until the server has accepted; see wscengine.Connection.connect."""
        context = Deadline(timeout).context()
        await self.loop.wait(lib.wsc_connection_dial_begin, self._connection, context, undo=self._hang_up)
        return cast("Response", self.response)

    def _hang_up(self, _: CData) -> None:
        lib.wsc_connection_close_begin(self._connection, NULL, 1001, b"", 0, NULL, NULL)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(Error):
            await self.close(1000 if kind is None else 1011)


class Engine(EngineBase):
    """wscengine.Engine for asyncio: made and used on one event loop. Callbacks are plain functions or `async def`, which are awaited one after
    another: no further event of this engine is taken while one waits; the library reads on into its bounded queue, and answers pings. Make it inside a
    coroutine. See wscengine.Engine for its arguments; adapter is an AsyncAdapter, reader_count always 1."""

    _session_type = Session
    _host: Host | None = None
    _awaited = True

    def __init__(
        self,
        url: str,
        client: Client | None = None,
        *,
        adapter: AsyncAdapter | None = None,
        raw_text: bool = False,
        memoryviews: bool = False,
        callback_errors: CallbackErrors = "continue",
        **options: Unpack[EngineOptions],
    ) -> None:
        if options.get("reader_count") not in (None, 1):
            raise InvalidError("reader_count is always 1 with asyncio")
        self._home = home_loop()
        super().__init__(
            url,
            client,
            self._home.core,
            adapter=adapter,
            raw_text=raw_text,
            memoryviews=memoryviews,
            callback_errors=callback_errors,
            options=dict(options),
        )
        self._home.engines[address(self._c)] = self
        self._awaits = _may_await(self.client.on_message)
        self._tasks: set[asyncio.Task[None]] = set()
        self._buffer: deque[Message] = deque()
        self._changed = asyncio.Event()
        self._requests: list[Request] = []
        self._reply = sized("wsc_reply")
        self._reply_at = address(self._reply)
        self._plain = not (self._awaits or self._bulk or self._iterated or self._views or self._trace is not None)
        self._pause_holder: asyncio.Task[Any] | None = None
        self._pause_depth = 0

    def _make_host(self, adapter: Any, options: dict[str, Any]) -> tuple[Host, Any]:
        from ._host_aio import AdapterSession, Host
        from .adapters import AsyncAdapter

        return Host(self, wanted(adapter, AsyncAdapter), options), AdapterSession

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(StateError, ForkedError):
            await self.stop()

    # ---- verbs ----

    @property
    def session(self) -> Session | None:
        """The session that is open now; None between sessions."""
        return cast("Session | None", super().session)

    async def start(self, timeout: float | None = None) -> None:
        """Connects, and returns when on_open has; see wscengine.Engine.start."""
        if self in _inside.get():
            raise InCallbackError("start inside a callback would wait for itself")
        if self.state != State.STOPPED:
            raise StateError("start: the engine is running already")
        self._home.here()
        self._interrupt = None
        if self._host is not None:
            self._host.engage()
        self._home.watch(self)
        try:
            context = self._start_context(timeout)
            await self._home.wait(lib.wsc_engine_start_begin, self._c, context, undo=lambda _: self.exit())
        except BaseException as error:
            await self._rest(100)
            if isinstance(error, Error) and not isinstance(error, (StateError, InvalidError, ForkedError)):
                raise start_error(error)  # noqa: B904 - it has its cause
            raise

    async def _rest(self, looks: int) -> None:
        """After a start that failed: lets go of the engine when it has come to rest, for on_stopped may still have to be called; in a task where
        a callback takes long."""
        while self.state != State.STOPPED:
            looks -= 1
            if looks == 0:
                task = asyncio.get_running_loop().create_task(self._rest(-1))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                return
            await asyncio.sleep(0.001 if looks > 0 else 0.05)
        if self._host is not None:
            self._host.rest()
        self._leave()  # before it waits: the next start may come meanwhile
        if self._host is not None:
            await self._host.join()

    async def stop(self, timeout: float | None = None) -> None:
        """Calls on_close, closes, and returns when no callback runs or will run. Inside a callback it acts as exit() and returns at once. When
        the wait ends early, also by its task's cancellation, the engine goes on stopping; stop again to wait."""
        if self in _inside.get():
            lib.wsc_engine_exit(self._c)
            return
        if self._host is not None:
            self._host.stopping = True
        await self._home.wait(lib.wsc_engine_stop_begin, self._c, Deadline(timeout).context())
        if self._host is not None:
            await self._host.join()

    async def wait(self, timeout: float | None = None) -> StopReason:
        """Until the run has ended; see wscengine.Engine.wait."""
        if self in _inside.get():
            raise InCallbackError("wait inside a callback would wait for itself")
        op = await self._home.wait(lib.wsc_engine_wait_begin, self._c, Deadline(timeout).context())
        if self._interrupt is not None:
            raise self._interrupt
        error = ffi.new("wsc_error **")
        try:
            lib.wsc_op_status(op, error)
            why = error_of(error[0])
        finally:
            lib.wsc_error_unref(error[0])
        if why is not None:
            raise why
        return self.stop_reason

    async def is_started(self) -> bool:
        """Whether a run is on; waits while it is starting or stopping, but not inside a callback."""
        if self in _inside.get():
            return self.state not in (State.STOPPED, State.STOPPING)
        while (state := self.state) in (State.STARTING, State.STOPPING):
            await asyncio.sleep(0.005)
        return state != State.STOPPED

    async def send(self, data: Message | Buffer, timeout: float | None = None) -> None:
        """Sends one message on the session that is open: str as text, bytes as binary."""
        if self._host is not None:
            await self._host.send(data, timeout)
            return
        failed = self._send(data)
        if failed is not None:
            no_room(failed, timeout)
            await self._home.send(lib.wsc_engine_write_begin, self._c, data, timeout)

    async def send_many(self, messages: Iterable[Message | Buffer], timeout: float | None = None) -> None:
        """Sends them in order, in as few writes to the socket as they fit."""
        await self._open().send_many(messages, timeout)

    async def ping(self, timeout: float | None = None) -> float:
        """-> seconds until the pong."""
        return await self._open().ping(timeout)

    @contextlib.asynccontextmanager
    async def paused(self, timeout: float | None = None) -> AsyncIterator[Self]:
        """`async with engine.paused():` no message is taken meanwhile but by session.read(); nests in one task."""
        mine = asyncio.current_task()
        if self._pause_depth == 0 or self._pause_holder is not mine:
            try:
                await self._home.wait(
                    lib.wsc_engine_pause_begin,
                    self._c,
                    Deadline(timeout).context(),
                    undo=lambda _: lib.wsc_engine_resume(self._c),
                )
            except BaseException:
                self._resumed()
                raise
            self._pause_holder, self._pause_depth = mine, 0
        self._pause_depth += 1
        if self._host is not None:
            self._host.paused += 1
        try:
            yield self
        finally:
            self._pause_depth -= 1
            if self._host is not None:
                self._host.paused -= 1
            if self._pause_depth == 0:
                self._pause_holder = None
                lib.wsc_engine_resume(self._c)
                self._resumed()

    def _resumed(self) -> None:
        if self._host is not None:
            self._host.resumed()

    async def request(self, data: Message | Buffer, match: Match, timeout: float | None = None) -> Message:
        """Sends data and waits for the message for which match(message) is true, or, where match is a str or int, for the JSON object whose "id" is
        that; on_message does not get that one."""
        if self in _inside.get():
            raise InCallbackError("request inside a callback waits for itself; use session.send() and session.read()")
        asked, deadline, session = Request(match), Deadline(timeout), self._open()
        self._requests.append(asked)
        try:
            await session.send(data, timeout)
            while not asked.came:
                self._changed.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), deadline.slice_ns() / 1e9)
                if self._gone(session) and not asked.came:
                    raise session_closed(session)
                if not asked.came and deadline.over():
                    raise TimeoutError(f"request: no matching reply within {timeout} s")
            return asked.answer()
        finally:
            self._requests.remove(asked)

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Messages across all sessions, until the run ends; raises what wait() raises. For a client without on_message."""
        if not self._iterated:
            raise TypeError("iterate over an engine whose client has no on_message: messages go to one of the two")
        while True:
            while not self._buffer and self in self._home.running:
                self._changed.clear()
                await self._changed.wait()
            if not self._buffer:
                break
            message = self._buffer.popleft()
            self._changed.set()
            yield message
        await self.wait()

    # ---- events ----

    def _open(self) -> Session:
        session = self.session
        if session is None:
            raise ClosedError("no session is open")
        return session

    def _leave(self) -> None:
        self._home.running.discard(self)
        self._home.rest()
        self._changed.set()

    def _begin(self, ev: CData) -> None:
        """Handles an event at once where nothing has to be awaited, else in a task."""
        inside = [self]
        token = _inside.set(inside)
        try:
            steps = self._batch(ev) if ev.type == EventType.BATCH else self._event(ev)
            try:
                awaited = steps.send(None)
            except StopIteration:
                inside.clear()
                self._home.give_back(ev)
                return
            task = asyncio.get_running_loop().create_task(self._go_on(steps, awaited, ev))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        finally:
            _inside.reset(token)

    async def _go_on(self, steps: Any, awaited: Any, ev: CData) -> None:
        """The rest of an event's handling: each awaitable that it yields."""
        while True:
            result, failure = None, None
            try:
                result = await awaited
            except BaseException as raised:
                failure = raised
            _inside.get().clear()
            _inside.set([self])
            try:
                awaited = steps.send(result) if failure is None else steps.throw(failure)
            except StopIteration:
                _inside.get().clear()
                self._home.give_back(ev)
                return

    def _failed(self, failure: BaseException) -> None:
        if _swept(failure):
            self.exit()  # or the next callback would wait on, and the end of the event loop for it
        else:
            super()._failed(failure)

    def _enter(self, ev: CData) -> SessionBase | None:
        """Begins with a batch; None: it is over already, and has been answered."""
        reply, session = self._reply, self._session
        reply.consumed = 0
        if session is None or not lib.wsc_event_enter(ev):
            lib.wsc_event_done(ev, reply)
            return None
        session.received_ns = ev.received_ns
        return session

    def _deliver_now(self, ev: CData) -> None:
        """A batch whose callbacks are plain functions: what _begin would do, with nothing that could be awaited."""
        session, on_message = self._enter(ev), self.client.on_message
        if session is None:
            return
        at, inside, over = address(ev), [self], False
        token = _inside.set(inside)
        try:
            while not over:
                try:
                    _batch.deliver(at, self._reply_at, self._raw, False, on_message, session)
                    over = True
                except BaseException as raised:
                    self._failed(raised)
        finally:
            inside.clear()
            _inside.reset(token)
            lib.wsc_event_done(ev, self._reply)
            lib.wsc_event_leave(ev)

    def _event(self, ev: CData) -> Any:
        result, failure, stopped = None, None, ev.type == EventType.STOPPED
        try:
            made = self._call_for(ev)
            if made is not None:
                result = self._invoke(ev, *made)
                if inspect.isawaitable(result):
                    result = yield result
        except BaseException as raised:
            failure = raised
        self._answer(ev, result, failure)
        if stopped:
            self._leave()

    def _batch(self, ev: CData) -> Any:
        session = self._enter(ev)
        if session is None:
            return
        steps = self._keep(ev) if self._iterated else self._deliver(ev, session)
        try:
            yield from steps
        finally:
            lib.wsc_event_done(ev, self._reply)
            lib.wsc_event_leave(ev)

    def _deliver(self, ev: CData, session: Any) -> Any:
        while True:
            try:
                if (self._views or self._trace is not None) and not self._bulk:
                    for record, message in self._messages(ev, self._reply, False):
                        if not (self._requests and self._asked(message)):
                            result = self._invoke(ev, self.client.on_message, (session, message), record)
                            if inspect.isawaitable(result):
                                yield result
                    return
                messages = self._collect(ev, self._reply, self._most)
                if not messages:
                    return
                if self._requests:
                    messages = [m for m in messages if not self._asked(m)]
                result = None
                if self._bulk and messages:
                    result = self.client.on_messages(session, messages)
                elif messages:
                    result = self.client.on_message(session, messages[0])
                if inspect.isawaitable(result):
                    yield result
            except BaseException as raised:
                self._failed(raised)

    def _keep(self, ev: CData) -> Any:
        """A batch for iteration. Where there is no room it waits, and the queue behind it fills, and then the peer's socket."""
        while True:
            room = BUFFERED - len(self._buffer)
            if room > 0:
                messages = self._collect(ev, self._reply, room)
                self._buffer.extend(m for m in messages if not (self._requests and self._asked(m)))
                self._changed.set()
                if self._reply.consumed >= ev.count or not messages:
                    return
            elif self._control[0]:
                return
            else:
                yield asyncio.sleep(0.002 if self._buffer else 0)

    async def _take(self, session: Any, messages: list[Message]) -> None:
        """Messages of an adapter."""
        messages = self._shown(messages)
        if self._requests:
            messages = [m for m in messages if not self._asked(m)]
        try:
            if self._iterated:
                await self._keep_all(messages)
                return
            if self._bulk:
                result = self.client.on_messages(session, messages) if messages else None
                if inspect.isawaitable(result):
                    await result
                return
            for message in messages:
                result = self._invoke_message(self.client.on_message, session, message)
                if inspect.isawaitable(result):
                    await result
        except BaseException as raised:
            if _swept(raised, unknown=True):
                raise
            self._failed(raised)

    async def _keep_all(self, messages: list[Message]) -> None:
        """The same as _keep: where there is no room it waits, and the adapter's queue fills."""
        for message in messages:
            while len(self._buffer) >= BUFFERED and not self._control[0]:
                await asyncio.sleep(0.002)
            self._buffer.append(message)
            self._changed.set()

    def _asked(self, message: Message) -> bool:
        found = any(self._is_reply(asked, message) for asked in self._requests)
        if found:
            self._changed.set()
        return found
