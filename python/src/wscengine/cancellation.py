"""Giving up a wait from another thread."""

from __future__ import annotations

import threading

from ._core import ffi, lib

__all__ = ["Cancellation"]


class Cancellation:
    """Ends what threads wait for. Inside `with cancellation:` every wait of that thread (start, stop, wait, send, ping, read, paused …; the innermost
    cancellation counts) obeys it: once any thread has called cancel(), waits raise CanceledError, those under way and all to come. What ends so
    leaves engine and connection as a timeout does; a send that finds room is sent. Any number of threads may be inside at once. On an event
    loop cancel the task instead."""

    def __init__(self) -> None:
        made = ffi.new("wsc_cancel **")
        if lib.wsc_cancel_new(made) < 0:
            raise MemoryError
        self._c = ffi.gc(made[0], lib.wsc_cancel_free)

    def cancel(self) -> None:
        """For good. Any thread, never blocks."""
        lib.wsc_cancel_fire(self._c)

    @property
    def canceled(self) -> bool:
        """Whether cancel() has been called."""
        return bool(lib.wsc_cancel_fired(self._c))

    def __enter__(self) -> Cancellation:
        _here.entered.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _here.entered.pop()


class _Here(threading.local):
    """What this thread has entered."""

    def __init__(self) -> None:
        self.entered: list[Cancellation] = []


_here = _Here()


def obeyed() -> Cancellation | None:
    """The innermost cancellation of this thread."""
    return _here.entered[-1] if _here.entered else None
