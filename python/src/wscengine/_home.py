"""The library's loop of an event loop of asyncio, which watches it by one file descriptor: all engines and connections on it share it."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._abi import EventType
from ._core import ffi, lib
from ._native import NULL, Deadline, Loop, address, check, sized
from .errors import StateError
from .session import Message, payload_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._core import CData
    from .aio import Engine

_FRESH = sized("wsc_event")
_SIZE = ffi.sizeof("wsc_event")
TURN = 32  # events between two looks of the event loop at others
_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, HomeLoop] = weakref.WeakKeyDictionary()


class HomeLoop:
    """The library's loop for one event loop; watched while engines run."""

    def __init__(self, home: asyncio.AbstractEventLoop) -> None:
        self.core = Loop()
        self.c = self.core.c
        self.home = weakref.ref(home)
        self.engines: weakref.WeakValueDictionary[int, Engine] = weakref.WeakValueDictionary()  # by address
        self.running: set[Engine] = set()
        self.waiters: dict[int, asyncio.Future[None]] = {}
        self.tokens = 0
        self.free: list[CData] = []

    def here(self) -> asyncio.AbstractEventLoop:
        """The event loop that runs, which must be this one's."""
        running = asyncio.get_running_loop()
        if running is not self.home():
            raise StateError("it was made on another event loop than the one that runs")
        return running

    def watch(self, engine: Engine) -> None:
        home = self.home()
        if home is not None and not self.running and not self.waiters:
            home.add_reader(lib.wsc_loop_fd(self.c), self.turn)
        self.running.add(engine)

    def rest(self) -> None:
        """Nobody needs it any more, for now."""
        home = self.home()
        if home is not None and not self.running and not self.waiters and not home.is_closed():
            home.remove_reader(lib.wsc_loop_fd(self.c))

    def turn(self) -> None:
        for _ in range(TURN):
            ev = self.free.pop() if self.free else sized("wsc_event")
            if lib.wsc_loop_next(self.c, 0, ev) != 0:
                self.free.append(ev)
                return
            self.handle(ev)

    def give_back(self, ev: CData) -> None:
        ffi.memmove(ev, _FRESH, _SIZE)
        self.free.append(ev)

    def handle(self, ev: CData) -> None:
        if ev.type == EventType.OP_DONE:
            waiter = self.waiters.pop(ev.token, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
            lib.wsc_event_done(ev, NULL)
            self.give_back(ev)
            return
        engine = self.engines[address(ev.engine)]
        if ev.type == EventType.LOG:
            engine._log(ev)
            self.give_back(ev)
        elif engine._host is not None and EventType.DO_DIAL <= ev.type <= EventType.DO_STOP_READING:
            engine._host.asked(ev)
            self.give_back(ev)
        elif ev.type == EventType.BATCH and engine._plain and not engine._requests:
            engine._deliver_now(ev)
            self.give_back(ev)
        else:
            engine._begin(ev)

    async def wait(
        self, begin: Callable[..., int], *arguments: Any, undo: Callable[[CData], object] | None = None
    ) -> CData:
        """Begins an operation and awaits it; the task's cancellation cancels it. undo: what is to be done with the operation when it had ended well
        by then: between its end and the task's next step there are turns of the event loop."""
        made, error = ffi.new("wsc_op **"), ffi.new("wsc_error **")
        self.tokens += 1
        token, home = self.tokens, self.here()
        check(begin(*arguments, token, made, error), error)
        op = ffi.gc(made[0], lib.wsc_op_unref)
        if not self.running and not self.waiters:
            home.add_reader(lib.wsc_loop_fd(self.c), self.turn)
        waiter = self.waiters[token] = home.create_future()
        try:
            await asyncio.shield(waiter)
        except asyncio.CancelledError:
            lib.wsc_op_cancel(op)
            while lib.wsc_op_pending(op):  # so that nothing of it goes on behind
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.001)
            if undo is not None and lib.wsc_op_status(op, NULL) >= 0:
                undo(op)
            raise
        finally:
            self.rest()
        check(lib.wsc_op_status(op, error), error)
        return op

    async def send(
        self, begin: Callable[..., int], target: CData, data: Message | Buffer, timeout: float | None
    ) -> None:
        """One message for which there was no room."""
        kind, payload = payload_of(data)
        await self.wait(begin, target, Deadline(timeout).context(), kind, payload, len(payload))


def home_loop() -> HomeLoop:
    """That of the event loop that runs."""
    home = asyncio.get_running_loop()
    found = _loops.get(home)
    if found is None:
        found = _loops[home] = HomeLoop(home)
    return found
