"""Adapters of engines with threads. The thread that dials a connection goes on to read it; pings and closes have threads of their own, for as long as
they take; reader_count threads make the callbacks of a session."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ._base import logger, tell
from ._link import (
    ABANDON_S,
    HostBase,
    HostSession,
    Link,
    LinkState,
    Question,
    ends,
    outgoing,
)
from ._native import Deadline, check_canceled
from .errors import CanceledError, TimeoutError
from .session import Message, Session, shown

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .adapters import Adapter
    from .engine import Engine

JOIN_S = 1.0  # how long the end of a run waits for threads of an adapter; one that is stuck in it is left behind


class Host(HostBase):
    adapter: Adapter

    def __init__(self, engine: Engine, adapter: Adapter, options: dict[str, Any]) -> None:
        super().__init__(engine, adapter, options)
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.threads: set[threading.Thread] = set()
        self.writing, self.pinging = threading.Lock(), threading.Lock()

    def wake(self) -> None:
        self.changed.notify_all()

    # ---- questions ----

    def begin_dial(self, link: Link, before: Link | None, question: Question) -> None:
        try:
            self._spawn("dial", self._dial, link, before, question)
        except RuntimeError as failure:
            self._undialed(link, question, failure)

    def begin_ping(self, link: Link, question: Question) -> None:
        self._spawn_or_do("ping", self._ping, link, question)

    def begin_close(self, link: Link, question: Question) -> None:
        self._spawn_or_do("close", self._close, link, question)

    def _spawn_or_do(self, name: str, work: Callable[..., None], *arguments: Any) -> None:
        """Does itself what no thread is to be had for: there is none at the end of the interpreter, from Python 3.12 on."""
        try:
            self._spawn(name, work, *arguments)
        except RuntimeError:
            work(*arguments)

    def _spawn(self, name: str, work: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            try:
                work(*arguments)
            finally:
                self.threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=f"wscengine-{name}", daemon=True)
        self.threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # there is none to be had
            self.threads.discard(thread)
            raise

    def apart(self, verb: str, timeout: float | None, work: Callable[[], None]) -> None:
        """Runs a verb on a thread of its own, so that whoever waits for it can be interrupted, cancelled, and not held up."""
        ended, deadline = threading.Event(), Deadline(timeout)
        failed: list[BaseException] = []

        def run() -> None:
            try:
                work()
            except BaseException as failure:
                failed.append(failure)
            ended.set()

        self._spawn(verb, run)
        while not ended.wait(deadline.slice_ns() / 1e9):
            check_canceled(verb)
            if deadline.over():
                raise TimeoutError(f"{verb}: not within {timeout} s")
        if failed:
            raise failed[0]

    def abort(self) -> None:
        try:
            self.adapter.abort()
        except BaseException as failure:  # it is asked in passing: what follows must
            tell(logger(), 40, "an adapter's abort raised", exc_info=failure)

    def ping(self, timeout: float | None) -> float:
        with _held(self.pinging, timeout, "ping"):
            begun = time.monotonic()
            self.adapter.ping(timeout)
            return time.monotonic() - begun

    def _dial(self, link: Link, before: Link | None, question: Question) -> None:
        dialed = opened = False
        try:
            if not self._wait_out(before, 0, question.timeout):
                raise TimeoutError("dial: the connection before this one is still in use")
            if link.state is not LinkState.DIALING:
                raise CanceledError("dial: given up")
            dialed = True
            response = self.adapter.dial(question.text, question.offer, question.timeout)
            opened = True
            with self.lock:
                self.dialed(link, response)
        except BaseException as failure:
            if opened or (dialed and link.state is LinkState.ABANDONED):
                with contextlib.suppress(BaseException):
                    self.adapter.close(1001, "", ABANDON_S)
            self._undialed(link, question, failure)
            return
        if not self.report(question.token, response=response):
            self.begin_close(link, Question())
        self._feed(link)

    def _undialed(self, link: Link, question: Question, failure: BaseException) -> None:
        link.gone = True
        self.leave(link)
        self.answer(link, question, "dial", failure)

    def _wait_out(self, link: Link | None, users: int, timeout: float) -> bool:
        """Until no more than so many are busy with it."""
        with self.changed:
            return link is None or self.changed.wait_for(lambda: link.users <= users, timeout)

    def _feed(self, link: Link) -> None:
        """Reads the connection as long as it lives and there is room."""
        while True:
            with self.changed:
                link.reading = False
                self.changed.wait_for(
                    lambda: link.state is not LinkState.OPEN or (link.failure is None and not self.full(link))
                )
                if link.state is not LinkState.OPEN:
                    break
                link.reading = True
            try:
                message = self.adapter.read()
                with self.lock:
                    self.got(link, message)
                    self.wake()
            except BaseException as failure:
                with self.lock:
                    self.failed(link, failure)
                    self.wake()
                    if ends(failure):
                        break
        link.reading = False
        self.leave(link)

    def _ping(self, link: Link, question: Question) -> None:
        """While there is no room nobody reads, and no pong could be seen: then the connection is taken to be alive."""
        failed: BaseException | None = None
        if link.reading:
            try:
                self.ping(question.timeout)
            except BaseException as failure:
                failed = failure if link.reading else None
        self.answer(link, question, "ping", failed)

    def _close(self, link: Link, question: Question) -> None:
        dialing, open_still = self.closes(link)
        failed: BaseException | None = None
        if dialing:
            self.abort()
        if open_still:
            failed = self._shut(link, question.code, question.text, question.timeout)
        self.leave(link)
        self.answer(link, question, "close", failed)

    def _shut(self, link: Link, code: int, reason: str, timeout: float) -> BaseException | None:
        """Closes the connection, and waits until nobody reads it."""
        deadline, failed = Deadline(timeout), None
        try:
            self.adapter.close(code, reason, timeout)
        except BaseException as failure:
            failed = failure
        with self.lock:
            self.shut(link, code, reason)
        self.abort()
        if not self._wait_out(link, 1, max(deadline.left() or 0, ABANDON_S)) and failed is None:
            failed = TimeoutError("close: the adapter's read did not return")
        return failed

    # ---- a session ----

    def accept(self, session: Any, accepted: bool) -> None:
        super().accept(session, accepted)
        for number in range(self.engine._readers if accepted else 0):
            self._spawn(f"reader-{number}", self._read, session)

    def callback_failed(self, session: Any) -> None:
        self._spawn("close", self._close_for_callback, session)

    def _close_for_callback(self, session: AdapterSession) -> None:
        with contextlib.suppress(Exception):
            session.close(1011, "callback failed")

    def _read(self, session: AdapterSession) -> None:
        """A thread that makes callbacks."""
        link, engine, me = session._link, self.engine, threading.get_ident()
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.may_take(link) or self.readers_leave(link))
                if not self.may_take(link):
                    return
                messages = link.take(engine._most)
                self.wake()
            engine._callers.add(me)
            try:
                engine._take(session, messages)
            finally:
                engine._callers.discard(me)
                with self.lock:
                    link.callbacks -= 1
                    self.settle(link)

    # ---- the end of a run ----

    def join(self) -> None:
        deadline = Deadline(JOIN_S)
        for thread in list(self.threads):
            if thread is not threading.current_thread() and thread.ident not in self.engine._callers:
                thread.join(deadline.left())

    # ---- what users ask ----

    def send(self, data: Message | Buffer, timeout: float | None) -> None:
        """On the session that is open, or the next one."""
        self.here("write")
        message, deadline = outgoing(data), Deadline(timeout)
        with self.changed:
            while (link := self.open_link()) is None:
                if deadline.over():
                    raise TimeoutError(f"write: no session was open within {timeout} s")
                check_canceled("write")
                self.changed.wait(deadline.slice_ns() / 1e9)
        self.write(link, message, deadline.left())

    def write(self, link: Link, message: Message, timeout: float | None) -> None:
        self.usable(link, "write")
        with _held(self.writing, timeout, "write"):
            self.adapter.write(message, timeout)
        self.sent(message)


@contextlib.contextmanager
def _held(lock: threading.Lock, timeout: float | None, what: str) -> Iterator[None]:
    deadline = Deadline(timeout)
    while not lock.acquire(timeout=deadline.slice_ns() / 1e9):
        check_canceled(what)
        if deadline.over():
            raise TimeoutError(f"{what}: the one before took longer than {timeout} s")
    try:
        yield
    finally:
        lock.release()


class AdapterSession(HostSession, Session):
    """A Session whose connection is an adapter's."""

    _host: Host

    def send(self, data: Message | Buffer, timeout: float | None = None) -> None:
        self._host.write(self._link, outgoing(data), timeout)

    def send_many(self, messages: Iterable[Message | Buffer], timeout: float | None = None) -> None:
        deadline = Deadline(timeout)
        for message in messages:
            self._host.write(self._link, outgoing(message), deadline.left())

    def ping(self, timeout: float | None = None) -> float:
        rtt: list[float] = []
        self._host.usable(self._link, "ping")
        self._host.apart("ping", timeout, lambda: rtt.append(self._host.ping(timeout)))
        self._rtt = rtt[0]
        return self._rtt

    def read(self, timeout: float | None = None) -> Message:
        host, link, deadline = self._host, self._link, Deadline(timeout)
        engine = host.engine  # None: it is no more
        self._may_read(engine is not None and engine._inside())
        with host.changed:
            while (message := link.read()) is None:
                if deadline.over():
                    raise TimeoutError(f"read: no message within {timeout} s")
                check_canceled("read")
                host.changed.wait(deadline.slice_ns() / 1e9)
            host.changed.notify_all()
            host.settle(link)
        return shown(message, self._raw)

    def close(self, code: int = 1000, reason: str = "", timeout: float | None = None) -> None:
        self._closing(code, reason)
        limit = self._host.close_timeout if timeout is None else timeout
        try:
            self._host.apart("close", limit, lambda: self._host.adapter.close(code, reason, limit))
        except BaseException:
            self._host.abort()
            raise
