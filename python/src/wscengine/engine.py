"""The engine for programs with threads."""

from __future__ import annotations

import atexit
import contextlib
import functools
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from . import _batch
from ._abi import EventType, State, StopReason
from ._base import _ALL, BUFFERED, CallbackErrors, EngineBase, Match, Request, session_closed, start_error, wanted
from ._core import ffi, lib
from ._native import NULL, SLICE_S, Deadline, Loop, address, check_canceled, in_slices, sized, wait
from .client import Client
from .errors import (
    Error,
    ForkedError,
    InCallbackError,
    InvalidError,
    StateError,
    TimeoutError,
    error_of,
)
from .session import Message, Session, no_room, send_waiting

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self, Unpack

    from ._abi import EngineOptions
    from ._core import CData
    from ._host import Host
    from .adapters import Adapter

__all__ = ["Engine", "run"]

LOOK_NS = 5_000_000  # how often threads of a start that failed look whether they may go
EXIT_S = 5.0  # how long the end of the interpreter waits for engines that still run
_live: weakref.WeakSet[Engine] = weakref.WeakSet()


class _Crew:
    """The threads of one run. One that is still in a callback when the run is over ends when that has returned."""

    def __init__(self, loop: Loop) -> None:
        self.loop, self.over, self.leaving = loop, True, False
        self.threads: list[threading.Thread] = []

    def dismiss(self) -> None:
        self.over = True
        for _ in self.threads:
            lib.wsc_loop_wake(self.loop.c)


class Engine(EngineBase):
    """Connects, calls the client back, notices a lost connection, reconnects, stops.

    Engine(url, client=None, *, adapter=None, raw_text=False, memoryviews=False, callback_errors="continue", **options)

    url: ws:// or wss:// · client: a Client; without one, or without its on_message, iterate: `for message in engine` · adapter: a
    wscengine.adapters.Adapter instead of the built-in connection · raw_text: text as bytes, not
    str · memoryviews: messages are read-only memoryviews of the memory they were received into, which they keep alive (see python/README.md) · callback_errors: what
    follows an exception of a callback once it is logged: "continue", "close" (1011, then it reconnects) or "stop" (it comes out of wait()) · options:
    wscengine.options.describe() has them; times are seconds.

    Callbacks run on reader_count threads (1) of the engine's own, from start() until the run has ended. Every method may be called from any
    thread, and from callbacks. Blocking ones can be interrupted by Ctrl-C within 0.1 s, and leave the engine as it was."""

    _session_type = Session
    _host: Host | None = None

    def __init__(
        self,
        url: str,
        client: Client | None = None,
        *,
        adapter: Adapter | None = None,
        raw_text: bool = False,
        memoryviews: bool = False,
        callback_errors: CallbackErrors = "continue",
        **options: Unpack[EngineOptions],
    ) -> None:
        loop = Loop()
        super().__init__(
            url,
            client,
            loop,
            adapter=adapter,
            raw_text=raw_text,
            memoryviews=memoryviews,
            callback_errors=callback_errors,
            options=dict(options),
        )
        self._readers = int(options.get("reader_count") or 1)
        self._crew = _Crew(loop)
        self._starting = threading.Lock()  # one start at a time: each makes threads
        self._callers: set[int] = set()
        self._requests: list[Request] = []
        self._buffer: deque[Message] = deque()
        self._buffered, self._replied, self._finished = (threading.Condition() for _ in range(3))

    def _make_host(self, adapter: Any, options: dict[str, Any]) -> tuple[Host, Any]:
        from ._host import AdapterSession, Host
        from .adapters import Adapter

        return Host(self, wanted(adapter, Adapter), options), AdapterSession

    @property
    def session(self) -> Session | None:
        """The session that is open now; None between sessions."""
        return cast("Session | None", super().session)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(StateError, ForkedError):
            self.stop()

    # ---- verbs ----

    def start(self, timeout: float | None = None) -> None:
        """Connects, and returns when on_open has. timeout: seconds, beside on_open_timeout.

        Raises StartError from what went wrong (what on_open raised, a TimeoutError …; nothing goes on behind), StateError when it runs
        already, InCallbackError."""
        if self._inside():
            raise InCallbackError("start inside a callback would wait for itself")
        if not self._starting.acquire(blocking=False):
            raise StateError("start: the engine is starting already")
        try:
            self._start(timeout)
        finally:
            self._starting.release()

    def _start(self, timeout: float | None) -> None:
        if self.state != State.STOPPED:
            raise StateError("start: the engine is running already")
        context = self._start_context(timeout)
        self._interrupt = None
        if self._host is not None:
            self._host.engage()
        crew = self._crew = _Crew(self._loop)
        try:
            self._spawn(crew)
            wait(lib.wsc_engine_start_begin, self._c, context)
        except (StateError, InvalidError, ForkedError):  # nothing has begun
            self._dismiss(crew)
            raise
        except Error as error:
            self._release(crew)
            raise start_error(error)  # noqa: B904 - it has its cause
        except BaseException:
            lib.wsc_engine_exit(self._c)  # it may have been open already
            self._release(crew)
            raise

    def stop(self, timeout: float | None = None) -> None:
        """Calls on_close, closes, and returns when no callback runs or will run. Inside a callback it acts as exit() and returns at once.

        Raises TimeoutError after timeout or stop_timeout, StateError when it does not run. When the wait ends early, also by Ctrl-C, the engine goes on
        stopping; stop again to wait."""
        if self._inside():
            lib.wsc_engine_exit(self._c)
            return
        crew = self._crew  # of the run that is stopped: when that is over, another thread may start the next at once
        if self._host is not None:
            self._host.stopping = True
        wait(lib.wsc_engine_stop_begin, self._c, Deadline(timeout).context())
        self._dismiss(crew, join=True)
        if self._host is not None:
            self._host.join()

    def wait(self, timeout: float | None = None) -> StopReason:
        """Until the run has ended: what main() calls. -> why (a stop, an exit); raises the error of a run that was lost or gave up, and what a
        callback raised to end it (KeyboardInterrupt, SystemExit). Raises TimeoutError, InCallbackError."""
        if self._inside():
            raise InCallbackError("wait inside a callback would wait for itself")
        op = wait(lib.wsc_engine_wait_begin, self._c, Deadline(timeout).context(), aside=self._aside)
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

    def _aside(self) -> bool:
        """A slice of wait() that takes no work from the engine's threads; False: there are none."""
        with self._finished:
            if self._crew.over:
                return False
            self._finished.wait(SLICE_S)
        return True

    def is_started(self) -> bool:
        """Whether a run is on; waits while it is starting or stopping, but not inside a callback."""
        if self._inside():
            return self.state not in (State.STOPPED, State.STOPPING)
        while (state := self.state) in (State.STARTING, State.STOPPING):
            check_canceled("is_started")
            time.sleep(0.005)
        return state != State.STOPPED

    def send(self, data: Message | Buffer, timeout: float | None = None) -> None:
        """Sends one message on the session that is open: str as text, bytes as binary. Between sessions ClosedError, or with
        send_waits_for_session it waits for the next."""
        if self._host is not None:
            self._host.send(data, timeout)
            return
        failed = self._send(data)
        if failed is not None:
            no_room(failed, timeout)
            send_waiting(lib.wsc_engine_write_begin, self._c, data, timeout)

    def send_many(self, messages: Iterable[Message | Buffer], timeout: float | None = None) -> None:
        """Sends them in order, in as few writes to the socket as they fit."""
        self._open().send_many(messages, timeout)

    def ping(self, timeout: float | None = None) -> float:
        """-> seconds until the pong."""
        return self._open().ping(timeout)

    @contextlib.contextmanager
    def paused(self, timeout: float | None = None) -> Iterator[Self]:
        """`with engine.paused():` no message is taken meanwhile but by session.read(); nests."""
        host = self._host
        try:
            in_slices(functools.partial(lib.wsc_engine_pause, self._c), timeout, "pause")
            if host is not None:
                host.paused += 1
            try:
                yield self
            finally:
                if host is not None:
                    host.paused -= 1
                lib.wsc_engine_resume(self._c)
        finally:
            if host is not None:
                host.resumed()

    def request(self, data: Message | Buffer, match: Match, timeout: float | None = None) -> Message:
        """Sends data and waits for the message for which match(message) is true, or, where match is a str or int, for the JSON object whose "id" is
        that; on_message does not get that one.

        Raises TimeoutError, ClosedError. Not inside a callback of an engine with one reader, which would wait for itself: there use
        session.send() and session.read()."""
        if self._inside() and not self._share:
            raise InCallbackError("request inside a callback waits for itself; use session.send() and session.read()")
        asked, deadline, session = Request(match), Deadline(timeout), self._open()
        self._requests.append(asked)
        try:
            session.send(data, timeout)
            while not asked.came:
                check_canceled("request")
                with self._replied:
                    self._replied.wait_for(lambda: asked.came, deadline.slice_ns() / 1e9)
                if self._gone(session) and not asked.came:
                    raise session_closed(session)
                if not asked.came and deadline.over():
                    raise TimeoutError(f"request: no matching reply within {timeout} s")
            return asked.answer()
        finally:
            self._requests.remove(asked)

    # ---- iteration ----

    def __iter__(self) -> Iterator[Message]:
        """Messages across all sessions, until the run ends; raises what wait() raises. For a client without on_message."""
        if not self._iterated:
            raise TypeError("iterate over an engine whose client has no on_message: messages go to one of the two")
        while True:
            with self._buffered:
                while not self._buffer and not self._crew.over:
                    check_canceled("iteration")
                    self._buffered.wait(SLICE_S)
                if not self._buffer:
                    break
                message = self._buffer.popleft()
                self._buffered.notify()
            yield message
        self.wait()

    def _keep(self, ev: CData, reply: CData) -> None:
        """A batch for iteration. Where there is no room it waits, and the queue behind it fills, and then the peer's socket."""
        while True:
            with self._buffered:
                room = BUFFERED - len(self._buffer)
                if room > 0:
                    messages = self._collect(ev, reply, room)
                    if self._requests:
                        messages = [m for m in messages if not self._asked(m)]
                    self._buffer.extend(messages)
                    self._buffered.notify()
                    if reply.consumed >= ev.count or self._control[0]:
                        return
                elif self._control[0] or self._crew.over:
                    return
                else:
                    self._buffered.wait(SLICE_S)

    # ---- threads ----

    def _inside(self) -> bool:
        return threading.get_ident() in self._callers

    def _open(self) -> Session:
        session = self.session
        if session is None:
            from .errors import ClosedError

            raise ClosedError("no session is open")
        return session

    def _spawn(self, crew: _Crew) -> None:
        """Threads for one run."""
        crew.over = False
        _live.add(self)
        for number in range(self._readers + 1):
            work = self._work if number < self._readers else self._stand_in
            thread = threading.Thread(target=work, args=(crew,), name=f"wscengine-{number}", daemon=True)
            thread.start()
            crew.threads.append(thread)

    def _dismiss(self, crew: _Crew, join: bool = False) -> None:
        """Ends the threads of a run, and waits for them; join = False: not for those in a callback, which need not be woken either."""
        crew.dismiss()
        for waited in (self._buffered, self._finished):
            with waited:
                waited.notify_all()
        for thread in crew.threads:
            if thread is not threading.current_thread() and (join or thread.ident not in self._callers):
                thread.join(None if join else SLICE_S)

    def _release(self, crew: _Crew) -> None:
        """After a start that failed: the threads leave when the engine has come to rest, for on_stopped may still have to be called, or on_open to
        return."""
        crew.leaving = True
        for _ in crew.threads:
            lib.wsc_loop_wake(self._loop.c)
        for thread in crew.threads:
            if thread.ident not in self._callers:
                thread.join(SLICE_S)
        if self._host is not None:
            self._host.rest()
            self._host.join()

    def _rested(self, crew: _Crew) -> bool:
        return crew.leaving and (self.state == State.STOPPED or crew is not self._crew)

    def _stand_in(self, crew: _Crew) -> None:
        """A thread more, which sleeps unless all others are in callbacks for long."""
        while not crew.over and not self._rested(crew):
            if lib.wsc_loop_spare(self._loop.c, LOOK_NS if crew.leaving else -1) == 0:
                self._work(crew, 0)

    def _work(self, crew: _Crew, patience_ns: int = -1) -> None:
        ev, reply, empty, me = sized("wsc_event"), sized("wsc_reply"), sized("wsc_event"), threading.get_ident()
        size, loop, following = ffi.sizeof("wsc_event"), self._loop.c, lib.wsc_loop_next
        while not crew.over:
            ffi.memmove(ev, empty, size)
            if following(loop, LOOK_NS if crew.leaving else patience_ns, ev) != 0:
                if patience_ns == 0 or self._rested(crew):
                    return
            elif ev.type == EventType.BATCH:
                self._callers.add(me)
                self._on_batch(ev, reply)
                self._callers.discard(me)
            elif ev.type == EventType.LOG:
                self._log(ev)
            elif ev.type == EventType.OP_DONE:
                lib.wsc_event_done(ev, NULL)
                with self._finished:
                    self._finished.notify_all()
            elif self._host is not None and EventType.DO_DIAL <= ev.type <= EventType.DO_STOP_READING:
                self._host.asked(ev)
            else:
                self._on_event(ev, me)

    def _on_event(self, ev: CData, me: int) -> None:
        result, failure, stopped = None, None, ev.type == EventType.STOPPED
        self._callers.add(me)
        try:
            made = self._call_for(ev)
            if made is not None:
                result = self._invoke(ev, *made)
        except BaseException as raised:
            failure = raised
        finally:
            self._callers.discard(me)
        crew = self._crew
        if stopped:
            crew.over = True  # before wait() returns: the next start has threads of its own
        self._answer(ev, result, failure)
        if stopped:
            self._dismiss(crew)

    def _on_batch(self, ev: CData, reply: CData) -> None:
        reply.consumed = 0
        session = self._session
        if session is None or not lib.wsc_event_enter(ev):
            lib.wsc_event_done(ev, reply)
            return
        session.received_ns = ev.received_ns
        try:
            while True:
                try:
                    self._deliver(ev, reply, cast(Session, session))
                    break
                except BaseException as raised:
                    self._failed(raised)
                    if self._share:  # the rest is another reader's, perhaps already
                        break
        finally:
            lib.wsc_event_done(ev, reply)
            lib.wsc_event_leave(ev)

    def _deliver(self, ev: CData, reply: CData, session: Session) -> None:
        if self._iterated:
            self._keep(ev, reply)
        elif self._bulk:
            messages = self._collect(ev, reply, _ALL)
            if self._requests:
                messages = [m for m in messages if not self._asked(m)]
            if messages:
                self.client.on_messages(session, messages)
        elif self._views or self._trace is not None:
            on_message = self._offered if self._requests else self.client.on_message
            for record, message in self._messages(ev, reply, self._share):
                self._invoke(ev, on_message, (session, message), record)
        else:
            on_message = self._offered if self._requests else self.client.on_message
            _batch.deliver(address(ev), address(reply), self._raw, self._share, on_message, session)

    def _take(self, session: Session, messages: list[Message]) -> None:
        """Messages of an adapter."""
        messages = self._shown(messages)
        if self._requests:
            messages = [m for m in messages if not self._asked(m)]
        try:
            if self._iterated:
                self._keep_all(messages)
            elif self._bulk and messages:
                self.client.on_messages(session, messages)
            elif not self._bulk:
                for message in messages:
                    self._invoke_message(self.client.on_message, session, message)
        except BaseException as raised:
            self._failed(raised)

    def _keep_all(self, messages: list[Message]) -> None:
        """The same as _keep: where there is no room it waits, and the adapter's queue fills."""
        for message in messages:
            with self._buffered:
                while len(self._buffer) >= BUFFERED and not self._control[0] and not self._crew.over:
                    self._buffered.wait(SLICE_S)
                self._buffer.append(message)
                self._buffered.notify()

    def _asked(self, message: Message) -> bool:
        found = any(self._is_reply(asked, message) for asked in list(self._requests))
        if found:
            with self._replied:
                self._replied.notify_all()
        return found

    def _offered(self, session: Session, message: Message) -> None:
        if not self._asked(message):
            self.client.on_message(session, message)


class _Callables(Client):
    def __init__(self, callables: dict[str, Callable[..., Any]]) -> None:
        for name, function in callables.items():
            if not hasattr(Client, name):
                raise TypeError(f"there is no callback {name!r}")
            setattr(self, name, function)


def run(url: str, *, on_message: Callable[[Session, Message], Any], **keywords: Any) -> StopReason:
    """Connects and calls back until the run ends, by Ctrl-C for instance. Further keywords: callbacks of Client by their names (on_open …), and
    what Engine takes."""
    callables = {"on_message": on_message}
    callables |= {name: keywords.pop(name) for name in list(keywords) if hasattr(Client, name)}
    with Engine(url, _Callables(callables), **keywords) as engine:
        return engine.wait()


@atexit.register
def _stop_all() -> None:
    deadline = Deadline(EXIT_S)
    for engine in list(_live):
        with contextlib.suppress(Exception):
            engine.stop(deadline.left())
