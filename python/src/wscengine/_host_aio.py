"""Adapters of engines for asyncio. A connection has a task that dials and then reads it, a session one that makes its callbacks; pings and closes are
tasks too."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from ._home import TURN
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
from ._native import Deadline
from .aio import Session, _inside
from .errors import CanceledError, TimeoutError, UnsupportedError
from .session import Message, shown

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .adapters import AsyncAdapter
    from .aio import Engine

JOIN_S = 1.0  # how long the end of a run waits for tasks of an adapter
_T = TypeVar("_T")


async def _within(verb: Awaitable[_T], timeout: float | None, name: str) -> _T:
    """A verb of the adapter, which is cancelled at its timeout."""
    try:
        return await asyncio.wait_for(verb, timeout)
    except asyncio.TimeoutError as late:
        raise TimeoutError(f"{name}: not within {timeout} s") from (late if str(late) else None)


class Host(HostBase):
    adapter: AsyncAdapter

    def __init__(self, engine: Engine, adapter: AsyncAdapter, options: dict[str, Any]) -> None:
        super().__init__(engine, adapter, options)
        self.changed = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.writing, self.pinging = asyncio.Lock(), asyncio.Lock()

    def wake(self) -> None:
        """Something has changed, for whoever is in wait_for."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def wait_for(self, condition: Callable[[], Any], timeout: float | None = None) -> bool:
        """Until it holds; False: not within the timeout."""
        deadline = Deadline(timeout)
        while not condition():
            if deadline.over():
                return False
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.changed.wait(), deadline.left())
        return True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # ---- questions ----

    def begin_dial(self, link: Link, before: Link | None, question: Question) -> None:
        link.task = self._spawn(self._dial(link, before, question))

    def begin_ping(self, link: Link, question: Question) -> None:
        self._spawn(self._ping(link, question))

    def begin_close(self, link: Link, question: Question) -> None:
        self._spawn(self._close(link, question))

    async def ping(self, timeout: float | None) -> float:
        async with _held(self.pinging, timeout, "ping"):
            begun = time.monotonic()
            await _within(self.adapter.ping(timeout), timeout, "ping")
            return time.monotonic() - begun

    async def _dial(self, link: Link, before: Link | None, question: Question) -> None:
        dialed = opened = False
        try:
            if before is not None and not await self.wait_for(lambda: not before.users, question.timeout):
                raise TimeoutError("dial: the connection before this one is still in use")
            if link.state is not LinkState.DIALING:
                raise CanceledError("dial: given up")
            dialed = True
            dial = self.adapter.dial(question.text, question.offer, question.timeout)
            response = await _within(dial, question.timeout, "dial")
            opened = True
            self.dialed(link, response)
        except BaseException as failure:
            if opened or (dialed and link.state is LinkState.ABANDONED):
                with contextlib.suppress(Exception, asyncio.CancelledError):
                    await _within(self.adapter.close(1001, "", ABANDON_S), ABANDON_S, "close")
            link.gone = True
            self.leave(link)
            self.answer(link, question, "dial", failure)
            return
        if not self.report(question.token, response=response):
            self.begin_close(link, Question())
        try:
            await self._feed(link)
        finally:
            link.reading = False
            self.leave(link)

    async def _feed(self, link: Link) -> None:
        """Reads the connection as long as it lives and there is room."""
        while True:
            link.reading = False
            await self.wait_for(
                lambda: link.state is not LinkState.OPEN or (link.failure is None and not self.full(link))
            )
            if link.state is not LinkState.OPEN:
                return
            link.reading = True
            try:
                self.got(link, await self.adapter.read())
            except asyncio.CancelledError:
                raise
            except BaseException as failure:
                self.failed(link, failure)
                if ends(failure):
                    return
            finally:
                self.wake()

    async def _ping(self, link: Link, question: Question) -> None:
        """While there is no room nobody reads, and no pong could be seen: then the connection is taken to be alive."""
        failed: BaseException | None = None
        if link.reading:
            try:
                await self.ping(question.timeout)
            except BaseException as failure:
                failed = failure if link.reading else None
        self.answer(link, question, "ping", failed)

    async def _close(self, link: Link, question: Question) -> None:
        dialing, open_still = self.closes(link)
        failed: BaseException | None = None
        if dialing:
            link.task.cancel()
        if open_still:
            failed = await self._shut(link, question.code, question.text, question.timeout)
        self.leave(link)
        self.answer(link, question, "close", failed)

    async def _shut(self, link: Link, code: int, reason: str, timeout: float) -> BaseException | None:
        """Closes the connection, and waits until nobody reads it."""
        failed: BaseException | None = None
        try:
            await _within(self.adapter.close(code, reason, timeout), timeout, "close")
        except BaseException as failure:
            failed = failure
        self.shut(link, code, reason)
        if not await self.wait_for(lambda: link.users <= 1, ABANDON_S):
            link.task.cancel()
            await self.wait_for(lambda: link.users <= 1, ABANDON_S)
        return failed

    # ---- a session ----

    def accept(self, session: Any, accepted: bool) -> None:
        super().accept(session, accepted)
        if accepted:
            self._spawn(self._read(session))

    def callback_failed(self, session: Any) -> None:
        self._spawn(self._close_for_callback(session))

    async def _close_for_callback(self, session: Any) -> None:
        with contextlib.suppress(Exception):
            await session.close(1011, "callback failed")

    async def _read(self, session: AdapterSession) -> None:
        """Makes the callbacks."""
        link, engine = session._link, self.engine
        for turn in itertools.count(1):
            await self.wait_for(lambda: self.may_take(link) or self.readers_leave(link))
            if not self.may_take(link):
                return
            messages = link.take(engine._most)
            self.wake()
            inside = [engine]
            _inside.set(inside)
            try:
                await engine._take(session, messages)
            finally:
                inside.clear()
                link.callbacks -= 1
                self.settle(link)
            if turn % TURN == 0:
                await asyncio.sleep(0)

    # ---- the end of a run ----

    async def join(self) -> None:
        """Until nothing of it runs."""
        mine = asyncio.current_task()
        rest = {task for task in self.tasks if task is not mine}
        if rest:
            await asyncio.wait(rest, timeout=JOIN_S)

    # ---- what users ask ----

    async def send(self, data: Message | Buffer, timeout: float | None) -> None:
        """On the session that is open, or the next one."""
        self.here("write")
        message, deadline = outgoing(data), Deadline(timeout)
        self.engine._home.here()
        if not await self.wait_for(self.open_link, timeout):
            raise TimeoutError(f"write: no session was open within {timeout} s")
        link = self.open_link()
        assert link is not None
        await self.write(link, message, deadline.left())

    async def write(self, link: Link, message: Message, timeout: float | None) -> None:
        self.usable(link, "write")
        deadline = Deadline(timeout)
        async with _held(self.writing, timeout, "write"):
            left = deadline.left()
            await _within(self.adapter.write(message, left), left, "write")
        self.sent(message)


@contextlib.asynccontextmanager
async def _held(lock: asyncio.Lock, timeout: float | None, what: str) -> AsyncIterator[None]:
    await _within(lock.acquire(), timeout, f"{what}: the one before")
    try:
        yield
    finally:
        lock.release()


class AdapterSession(HostSession, Session):
    """A Session whose connection is an adapter's."""

    _host: Host

    async def send(self, data: Message | Buffer, timeout: float | None = None) -> None:
        await self._host.write(self._link, outgoing(data), timeout)

    def send_nowait(self, data: Message | Buffer) -> None:
        raise UnsupportedError("send_nowait: an adapter's write has to be awaited; use send()")

    async def send_many(self, messages: Iterable[Message | Buffer], timeout: float | None = None) -> None:
        deadline = Deadline(timeout)
        for message in messages:
            await self._host.write(self._link, outgoing(message), deadline.left())

    async def ping(self, timeout: float | None = None) -> float:
        self._host.usable(self._link, "ping")
        self._rtt = await self._host.ping(timeout)
        return self._rtt

    async def read(self, timeout: float | None = None) -> Message:
        host, link = self._host, self._link
        self._may_read(host.engine in _inside.get())
        came: list[Message] = []

        def one() -> bool:
            if (message := link.read()) is not None:
                came.append(message)
            return bool(came)

        if not await host.wait_for(one, timeout):
            raise TimeoutError(f"read: no message within {timeout} s")
        host.wake()
        host.settle(link)
        return shown(came[0], self._raw)

    async def close(self, code: int = 1000, reason: str = "", timeout: float | None = None) -> None:
        self._closing(code, reason)
        limit = self._host.close_timeout if timeout is None else timeout
        await _within(self._host.adapter.close(code, reason, limit), limit, "close")
