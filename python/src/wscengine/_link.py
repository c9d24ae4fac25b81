"""A connection of an adapter, as engines of threads and of asyncio both see it. Messages stay here; the library is told of the dial, life and end.

Nothing here waits. With threads, what is said to need the host's lock is called under it."""

from __future__ import annotations

import abc
import builtins
import contextlib
import dataclasses
import enum
import os
import socket
import ssl
import time
import weakref
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._abi import OPTIONS_BY_KEYWORD, EventType, Initiator, State, Status, Timer
from ._base import without_password
from ._core import ffi, lib
from ._native import NULL, call, encoded, text
from .adapters import Offer
from .errors import ClosedError, Error, ForkedError, StateError, class_of, described, said_by
from .session import Close, Message, Response, payload_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._base import EngineBase
    from ._core import CData

ABANDON_S = 0.1  # how long a connection that was given up may take to close: enough to send what needs no waiting


class LinkState(enum.Enum):
    DIALING = 0
    ABANDONED = 1  # given up while dialing
    OPEN = 2
    OVER = 3


_NOTHING = Offer()


@dataclasses.dataclass(frozen=True)
class Question:
    """What the library asks, copied, for it is answered later. Without a token: nobody waits for the answer."""

    token: int = 0
    timeout: float = ABANDON_S
    text: str = ""
    code: int = 1001
    offer: Offer = _NOTHING

    @classmethod
    def of(cls, ev: CData) -> Question:
        timeout = ev.delay_ns / 1e9 if ev.delay_ns > 0 else ABANDON_S
        return cls(ev.token, timeout, text(ev.text), ev.close_code, _offer(ev.attempt) if ev.attempt else _NOTHING)


def _offer(attempt: CData) -> Offer:
    headers: list[tuple[str, str]] = []
    subprotocols: list[str] = []
    while line := lib.wsc_attempt_header(attempt, len(headers)):
        name, _, value = text(line).partition(": ")
        headers.append((name, value))
    while name := lib.wsc_attempt_subprotocol(attempt, len(subprotocols)):
        subprotocols.append(text(name))
    return Offer(tuple(headers), tuple(subprotocols))


def _answer(response: Response) -> CData:
    """A wsc_response; raises what an adapter gets that has filled it with something else."""
    made = ffi.gc(lib.wsc_response_new(), lib.wsc_response_free)
    lib.wsc_response_set(made, response.status, response.reason.encode("latin-1", "replace"))
    for name, value in response.headers.pairs:
        lib.wsc_response_add_header(made, name.encode(), value.encode("utf-8", "surrogateescape"))
    return made


def status_of(failure: BaseException) -> int:
    """The library's status for what an adapter raised."""
    kinds = (
        (builtins.TimeoutError, Status.ERR_TIMEOUT),
        (MemoryError, Status.ERR_NOMEM),
        (socket.gaierror, Status.ERR_RESOLVE),
        (ssl.SSLError, Status.ERR_TLS),
        (OSError, Status.ERR_IO),
    )
    return next((status for kind, status in kinds if isinstance(failure, kind)), Status.ERR_HOST)


def as_error(failure: BaseException, where: str) -> Error:
    """What an adapter raised, as one of the package's errors, whose cause it is."""
    if isinstance(failure, Error):
        return failure
    status = status_of(failure)
    made = class_of(status)(f"{where}: {described(failure)}")
    made.status, made.os_error = Status(status), getattr(failure, "errno", None) or 0
    made.__cause__ = failure
    return made


def ends(failure: BaseException) -> bool:
    """Whether the connection is gone with a read that raised this."""
    return bool(getattr(failure, "close_code", 0)) or isinstance(failure, (ConnectionError, EOFError))


def size_of(message: Message) -> int:
    """In bytes."""
    return len(message) if isinstance(message, bytes) or message.isascii() else len(message.encode())


class Link:
    """One connection, from its dial on."""

    def __init__(self, url: str) -> None:
        self.url = url  # without its password
        self.state = LinkState.DIALING
        self.session: Any = None  # from on_open to on_close
        self.epoch = 0  # of it
        self.response: Response | None = None
        self.queue: deque[tuple[Message, int, int]] = (
            deque()
        )  # each with its bytes, and when it was read (Unix time, ns)
        self.queued = 0  # bytes
        self.reading = False  # somebody runs the adapter's read, or is about to
        self.users = 1  # verbs of the adapter that may be busy with it: the dial, then the reading; the close
        self.gone = False  # the adapter has no connection any more
        self.closed = False  # the adapter was told to close it
        self.accepted = False  # on_open has: callbacks may be made
        self.stopped = False  # no more of them
        self.refuses = False  # the user's reads fail: a stop waits for callbacks
        self.callbacks = 0  # that run
        self.failure: BaseException | None = None  # of the last read
        self.told = False  # the library knows of it
        self.own_close: tuple[int, str] | None = None  # by the user
        self.ending: Close | None = None  # how it ended
        self.stop_token = 0  # of who is to be told when the callbacks are out
        self.unseen = [0, 0]  # messages and bytes before the session was known
        self.task: Any = None  # asyncio: that dials and reads it

    def where(self, verb: str) -> str:
        return f"{self.url}: {verb}"

    @property
    def ended(self) -> BaseException | None:
        """Why it cannot be used any more."""
        if self.failure is not None and ends(self.failure):
            return self.failure
        return None if self.state is LinkState.OPEN else ClosedError("given up")

    def over(self, verb: str, failure: BaseException | None) -> Error:
        said = f"{verb}: the session is over" + (f": {said_by(failure)}" if failure else "")
        made = ClosedError(said, close_code=getattr(failure, "close_code", 0))
        made.__cause__ = failure
        return made

    def pop(self) -> Message:
        message, size, received_ns = self.queue.popleft()
        self.queued -= size
        if self.session is not None:
            self.session.received_ns = received_ns
        return message

    def take(self, most: int) -> list[Message]:
        """Up to so many messages for a callback, which runs from here on."""
        self.callbacks += 1
        return [self.pop() for _ in range(min(most, len(self.queue)))]

    def read(self) -> Message | None:
        """For a read of the user's: the next message, None: not yet; raises when there will be none."""
        if self.state is not LinkState.OPEN or self.refuses:
            raise self.over("read", self.failure)
        if self.queue:
            return self.pop()
        if self.failure is not None:
            raise self.failure
        return None


def _value(options: dict[str, Any], keyword: str) -> Any:
    """Of an option that was given, or its default."""
    given, row = options.get(keyword), OPTIONS_BY_KEYWORD[keyword]
    return row.default / row.scale if given is None else given


class HostBase(abc.ABC):
    """Answers what the library asks of an adapter in Python. What runs the adapter's verbs, threads or tasks, is its heirs'."""

    lock: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()  # asyncio needs none

    def __init__(self, engine: EngineBase, adapter: Any, options: dict[str, Any]) -> None:
        self._engine = weakref.ref(engine)  # which has this: freed as soon as nobody uses it
        self.adapter, self.pid = adapter, os.getpid()
        self.queue_bytes, self.close_timeout = _value(options, "receive_queue_bytes"), _value(options, "close_timeout")
        self.waits = bool(_value(options, "send_waits_for_session"))
        self.link: Link | None = None
        self.sent_messages = self.sent_bytes = self.dropped = 0
        self.paused = 0
        self.stopping = False  # by stop()

    @property
    def engine(self) -> Any:
        """None: it is no more, and nobody waits for an answer."""
        return self._engine()

    def here(self, verb: str) -> None:
        """Raises in a forked child, where the lock may be somebody's who is not there."""
        if os.getpid() != self.pid:
            raise ForkedError(f"{verb}: the engine belongs to the parent process")

    def usable(self, link: Link, verb: str) -> None:
        """Raises when a connection has ended, and in a forked child."""
        self.here(verb)
        if (failure := link.ended) is not None:
            raise link.over(verb, failure)

    def engage(self) -> None:
        """Before a start."""
        self.stopping = False
        if self.adapter._owner not in (None, self):
            raise StateError("start: another engine has the adapter")
        self.adapter._owner = self

    # ---- what the library asks ----

    def asked(self, ev: CData) -> None:
        kind, question, link = ev.type, Question.of(ev), self.link
        if kind == EventType.DO_DIAL:
            self.link = Link(without_password(question.text))
            self.begin_dial(self.link, link, question)
        elif link is not None and kind == EventType.DO_PING:
            self.begin_ping(link, question)
        elif link is not None and kind == EventType.DO_CLOSE:
            self.begin_close(link, question)
        elif link is not None:
            with self.lock:
                self.stop(link, question.token)
                self.wake()
        lib.wsc_event_done(ev, NULL)

    @abc.abstractmethod
    def begin_dial(self, link: Link, before: Link | None, question: Question) -> None:
        """before: the link that was there before it."""

    @abc.abstractmethod
    def begin_ping(self, link: Link, question: Question) -> None: ...

    @abc.abstractmethod
    def begin_close(self, link: Link, question: Question) -> None: ...

    # ---- what the library is told ----

    def answer(self, link: Link, question: Question, verb: str, failure: BaseException | None) -> None:
        """How a verb of the adapter has ended."""
        self.report(question.token, as_error(failure, link.where(verb)) if failure is not None else None)

    def report(self, token: int, failure: Error | None = None, response: Response | None = None) -> bool:
        """Answers a question; False: nobody waits for it any more."""
        engine, answer, error = self.engine, NULL, ffi.new("wsc_error **")
        if engine is None:
            return False
        if response is not None:
            answer = _answer(response)
        status = failure.status if failure is not None else 0
        if failure is not None:
            with contextlib.suppress(Exception):  # garbage says nothing about the refusal
                answer = _answer(failure.response) if failure.response is not None else NULL
            engine._error(failure, error, status, 0, said_by(failure))
        taken = lib.wsc_engine_report(engine._c, token, status, answer, error[0])
        lib.wsc_error_unref(error[0])
        return bool(taken == 0)

    def life(self, link: Link, messages: int, size: int) -> None:
        """A message has come. Needs the lock."""
        engine = self.engine
        if not link.epoch:
            link.unseen[0] += messages
            link.unseen[1] += size
        elif engine is not None:
            lib.wsc_engine_report_alive(engine._c, link.epoch, messages, size)

    def settle(self, link: Link) -> None:
        """Tells what it waits for: that no callback runs; that a read has failed, once all that came before was taken. Needs the lock."""
        if link.stop_token and link.callbacks == 0:
            token, link.stop_token = link.stop_token, 0
            self.report(token)
        if link.failure is None or link.told or link.queue or not link.epoch:
            return
        if link.closed and link.own_close is None:
            return  # the library has asked for it
        if not ends(link.failure) and link.callbacks:
            return  # on_read_error runs alone
        link.told = True
        self._report_read(link, link.failure)

    def _report_read(self, link: Link, failure: BaseException) -> None:
        told, engine = as_error(failure, link.where("read")), self.engine
        if engine is None:
            return
        status, code, said = told.status, told.close_code, said_by(told)
        if code not in range(65536):  # nor is it a number, perhaps
            code = 1006
        if link.own_close is not None:
            status, (code, said) = Status.ERR_CANCELED, link.own_close
        elif ends(failure) and (not code or isinstance(failure, ClosedError)):
            status, code = Status.ERR_CLOSED, code or 1006
        error = ffi.new("wsc_error **")
        engine._error(told, error, status, code, said)
        lib.wsc_engine_report_read(engine._c, link.epoch, error[0])
        lib.wsc_error_unref(error[0])

    # ---- what happens to a link, under the lock ----

    def dialed(self, link: Link, response: Any) -> None:
        """Its dial has succeeded; raises if nobody wants it any more."""
        if response is not None and not isinstance(response, Response):
            raise TypeError(f"the adapter's dial gave {type(response).__name__}, not a Response or None")
        if response is not None:
            _answer(response)  # while whoever fills it wrongly can still be told
        if link.state is not LinkState.DIALING:
            raise ClosedError("dial: given up")
        link.state, link.response = LinkState.OPEN, response

    def got(self, link: Link, message: Any) -> None:
        """The adapter has read this."""
        if not isinstance(message, (str, bytes)):
            raise TypeError(f"the adapter's read gave {type(message).__name__}, not str or bytes")
        if link.state is LinkState.OPEN:
            size = size_of(message)
            link.queue.append((message, size, time.time_ns()))
            link.queued += size
            self.life(link, 1, size)

    def failed(self, link: Link, failure: BaseException) -> None:
        """The adapter's read has."""
        link.failure, link.told, link.gone = failure, False, ends(failure)
        self.settle(link)

    def closes(self, link: Link) -> tuple[bool, bool]:
        """A close begins. -> whether a dial has to be given up, whether the adapter has to close the connection."""
        with self.lock:
            dialing = link.state is LinkState.DIALING
            open_still = not dialing and not link.closed and not link.gone
            if dialing:
                link.state = LinkState.ABANDONED
            link.closed = True
            link.users += 1
            return dialing, open_still

    def leave(self, link: Link) -> None:
        """One verb less is busy with it."""
        with self.lock:
            link.users -= 1
            if link.gone and link.state is LinkState.DIALING:
                link.state = LinkState.OVER
            self.wake()

    def full(self, link: Link) -> bool:
        return bool(link.queued >= self.queue_bytes)

    def stop(self, link: Link, token: int) -> None:
        """Makes no more callbacks."""
        link.stop_token, link.stopped = token, True
        link.refuses = self.stopping
        self.settle(link)

    def shut(self, link: Link, code: int, reason: str) -> None:
        """The library had it closed."""
        self.retire(link)
        link.gone = True
        link.ending = link.ending or Close(Initiator.LOCAL, code, reason, code, 0, 0, Timer.NONE, 0)
        self.wake()

    def retire(self, link: Link) -> None:
        """The session is over."""
        if link.state is LinkState.OPEN:
            link.state = LinkState.OVER
        self.dropped += len(link.queue)
        link.queue.clear()
        link.queued, link.stopped, link.session = 0, True, None

    def may_take(self, link: Link) -> bool:
        if not link.queue or not link.accepted or link.stopped:
            return False
        engine = self.engine
        return engine is not None and not engine._control[0]

    def readers_leave(self, link: Link) -> bool:
        """No callback of a message will follow."""
        gone = link.failure is not None and ends(link.failure) and not link.queue
        return gone or link.stopped or link.state is not LinkState.OPEN

    # ---- a session's callbacks ----

    def begin(self, session: Any) -> None:
        """on_open is about to be called."""
        link = self.link
        assert link is not None
        with self.lock:
            session._host, session._link, link.session, link.epoch = self, link, session, session.epoch
            self.life(link, *link.unseen)
            self.wake()

    def accept(self, session: Any, accepted: bool) -> None:
        """on_open has returned."""
        link = session._link
        with self.lock:
            link.accepted = accepted
            if not accepted:
                self.retire(link)
            self.settle(link)
            self.wake()

    def closing(self, session: Any, close: Close | None) -> None:
        """on_close is about to be called, which may read what is left."""
        session._link.ending, session._link.refuses = close, False

    def closed(self, session: Any) -> None:
        """on_close has returned."""
        with self.lock:
            self.retire(session._link)
            self.wake()

    def read_on(self, session: Any) -> None:
        """on_read_error has returned."""
        with self.lock:
            session._link.failure = None
            self.wake()

    @abc.abstractmethod
    def callback_failed(self, session: Any) -> None:
        """Closes the session whose callback has, without waiting."""

    def resumed(self) -> None:
        """A pause has ended."""
        with self.lock:
            self.wake()

    def rest(self) -> None:
        """The run has ended, or the start has failed: nothing of a connection stays."""
        link = self.link
        if link is not None and not link.closed and not link.gone:
            self.begin_close(link, Question())
        self.adapter._owner = None

    @abc.abstractmethod
    def wake(self) -> None:
        """Something has changed, for whoever waits. Needs the lock."""

    # ---- what users ask ----

    def open_link(self) -> Link | None:
        """That of the session that is open; None between sessions: then a send may wait, or raises."""
        link, engine = self.link, self.engine
        if link is not None and link.session is not None and link.ended is None:
            return link
        if not self.waits or engine.state in (State.STOPPED, State.STOPPING):
            raise ClosedError("write: no session is open")
        return None

    def sent(self, message: Message) -> None:
        self.sent_messages += 1
        self.sent_bytes += size_of(message)

    def counters(self) -> dict[str, int]:
        """Those of stats that the library cannot know."""
        link = self.link
        return {
            "messages_sent": self.sent_messages,
            "bytes_sent": self.sent_bytes,
            "messages_dropped": self.dropped,
            "queued_messages": len(link.queue) if link else 0,
            "queued_bytes": link.queued if link else 0,
        }


def outgoing(data: Any) -> Message:
    """A message to send, judged."""
    payload = payload_of(data)[1]
    return data if isinstance(data, str) else payload


class HostSession:
    """What a session is where the connection is an adapter's; mixed into Session."""

    _link: Link
    _host: Any

    @property
    def response(self) -> Response | None:
        """The answer to the upgrade."""
        return self._link.response

    @property
    def subprotocol(self) -> str:
        response = self._link.response
        return response.subprotocol if response else ""

    @property
    def closed(self) -> Close | None:
        """How it ended; None while it has not."""
        return self._link.ending

    _rtt: float | None = None

    @property
    def rtt(self) -> float | None:
        """Seconds of the last ping's round trip; None before the first pong."""
        engine = self._host.engine
        return self._rtt if self._rtt is not None or engine is None else engine.stats.rtt_last

    @property
    def underlying(self) -> Any:
        """The adapter's own connection."""
        return self._host.adapter.underlying

    @contextlib.contextmanager
    def corked(self) -> Iterator[Self]:
        """Each message leaves at once: adapters know no cork."""
        yield self

    def _may_read(self, inside: bool) -> None:
        self._host.here("read")
        if not self._host.paused and not inside:
            raise StateError("read: only inside a callback or while the engine is paused")

    def _closing(self, code: int, reason: str) -> None:
        """The user is about to close it."""
        self._host.usable(self._link, "close")
        call(lib.wsc_close_check, code, encoded(reason, "reason"))
        self._link.own_close, self._link.closed = (code, reason), True
