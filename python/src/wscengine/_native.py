"""Calls of the C library as Python has them: statuses become exceptions, waits can be interrupted, times are seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _batch
from ._core import ffi, lib
from .cancellation import Cancellation, obeyed
from .errors import CanceledError, InvalidError, TimeoutError, take_error

if TYPE_CHECKING:
    from ._core import CData

NULL = ffi.NULL
FOREVER_S = 1e9  # what is longer is no limit: math.inf, threading.TIMEOUT_MAX; the library counts in 63 bits of ns
SLICE_S = 0.1  # how long a signal (Ctrl-C) may have to wait for a blocking call

_batch.bind(
    *(
        int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
        for name in (
            "wsc_event_take",
            "wsc_event_done",
            "wsc_connection_write",
            "wsc_connection_cork",
            "wsc_connection_uncork",
        )
    )
)


def sized(kind: str, **fields: Any) -> CData:
    """A struct of the library with its struct_size."""
    return ffi.new(f"{kind} *", {"struct_size": ffi.sizeof(kind), **fields})


def address(pointer: CData) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def text(pointer: CData) -> str:
    """A C string; "" for NULL."""
    return ffi.string(pointer).decode("utf-8", "replace") if pointer else ""


def encoded(said: str, what: str) -> bytes:
    """A str for the library, for which it would end at a NUL."""
    if "\0" in said:
        raise InvalidError(f"{what} has a NUL character: {said!r}")
    return said.encode()


def check(status: int, error: CData) -> int:
    """Raises when a call failed; error is its wsc_error **."""
    if status >= 0:
        if error[0]:
            lib.wsc_error_unref(error[0])
            error[0] = NULL
        return status
    raise take_error(status, error)


def call(function: Callable[..., int], *arguments: Any) -> int:
    """A function whose last parameter is a wsc_error **."""
    error = ffi.new("wsc_error **")
    return check(function(*arguments, error), error)


class Loop:
    """A wsc_loop. It is freed after the engines and connections on it and after this object, in whatever order a garbage collection ends them:
    one that collects a cycle knows none."""

    def __init__(self) -> None:
        made = ffi.new("wsc_loop **")
        call(lib.wsc_loop_new, NULL, made)
        self.c = made[0]
        self.lock = threading.RLock()  # a collection may come at any time, also within
        self.users = 1

    def use(self) -> None:
        with self.lock:
            self.users += 1

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            last = self.users == 0
        if last:
            lib.wsc_loop_free(self.c)

    __del__ = leave


class Deadline:
    """A time limit in seconds (None: none) that is spent in slices."""

    def __init__(self, timeout: float | None) -> None:
        if timeout != timeout:
            raise InvalidError("a timeout is a number of seconds, not nan")
        self.timeout = timeout
        self.until = None if timeout is None or timeout > FOREVER_S else time.monotonic() + timeout

    def left(self) -> float | None:
        return None if self.until is None else max(0.0, self.until - time.monotonic())

    def slice_ns(self) -> int:
        left = self.left()
        return int((SLICE_S if left is None else min(SLICE_S, left)) * 1e9)

    def over(self) -> bool:
        return self.until is not None and time.monotonic() >= self.until

    def context(self) -> CData:
        """A wsc_context with this limit, or NULL."""
        left = self.left()
        if left is None:
            return NULL
        return sized("wsc_context", deadline_ns=lib.wsc_now_ns() + int(left * 1e9))


_kept: list[Cancellation] = []  # that operations which nobody waits for any more may still look at


def obeying(context: CData) -> CData:
    """A wsc_context, or NULL, with this thread's cancellation in it."""
    cancellation = obeyed()
    if cancellation is not None:
        context = context or sized("wsc_context")
        context.cancel = cancellation._c
    return context


def check_canceled(what: str) -> None:
    """For waits of Python's own, between slices."""
    cancellation = obeyed()
    if cancellation is not None and cancellation.canceled:
        raise CanceledError(f"{what}: canceled")


def wait(
    begin: Callable[..., int],
    target: CData,
    context: CData,
    *arguments: Any,
    aside: Callable[[], bool] | None = None,
) -> CData:
    """Begins an operation and waits for it, in slices between which signals are handled. An exception that comes meanwhile cancels
    it. aside: spends a slice, or says that it cannot; without it the library does, which lends this thread to the protocol, and then each message that
    it finds is handed over to another one. -> the operation, which has ended well."""
    made, error = ffi.new("wsc_op **"), ffi.new("wsc_error **")
    check(begin(target, obeying(context), *arguments, int(aside is not None), made, error), error)
    op = ffi.gc(made[0], lib.wsc_op_unref)
    try:
        while lib.wsc_op_pending(op):
            if aside is None or not aside():
                lib.wsc_op_wait(op, int(SLICE_S * 1e9), NULL)
    except BaseException:
        lib.wsc_op_cancel(op)
        lib.wsc_op_wait(op, int(1e9), NULL)  # so that nothing of it goes on behind
        cancellation = obeyed()
        if cancellation is not None and lib.wsc_op_pending(op):
            _kept.append(cancellation)
        raise
    check(lib.wsc_op_status(op, error), error)
    return op


def in_slices(attempt: Callable[[CData, CData], int], timeout: float | None, what: str) -> None:
    """Calls attempt(context, error) with slices of the time until it no longer says that the time is up."""
    deadline, error = Deadline(timeout), ffi.new("wsc_error **")
    try:
        while True:
            context = sized("wsc_context", deadline_ns=lib.wsc_now_ns() + deadline.slice_ns())
            status = attempt(obeying(context), error)
            if status != lib.WSC_ERR_TIMEOUT:
                check(status, error)
                return
            if deadline.over():
                raise TimeoutError(f"{what}: not within {timeout} s")
            lib.wsc_error_unref(error[0])
            error[0] = NULL
    finally:  # an exception such as KeyboardInterrupt comes right after attempt, before anyone has looked at its error
        lib.wsc_error_unref(error[0])
        error[0] = NULL
