"""Exceptions. Each status of the C library has its class (STATUSES in _abi); all derive from Error.

The chain of causes crosses the border: `__cause__` is the next link, and where it began in a callback of yours it is the very exception
that you raised."""

from __future__ import annotations

import builtins
import itertools
import weakref
from typing import TYPE_CHECKING

from ._abi import STATUSES, Status
from ._core import ffi, lib

if TYPE_CHECKING:
    from ._core import CData
    from .session import Response

__all__ = [
    "CanceledError",
    "ClosedError",
    "Error",
    "ForkedError",
    "HandshakeError",
    "HostError",
    "InCallbackError",
    "InvalidError",
    "NetworkError",
    "ProtocolError",
    "ProxyAuthError",
    "ProxyError",
    "QueueFullError",
    "ResolveError",
    "StartError",
    "StateError",
    "TimeoutError",
    "TlsError",
    "TooBigError",
    "UnsupportedError",
]


class Error(Exception):
    """What went wrong, in words that name the host, the step, the option, the limit.

    status: of the C library · close_code: of the close it stands for, or 0 · os_error: of the system, or 0 · http_status: of a refused upgrade, or
    0 · response: of a refused upgrade, or None. Adapters raise some themselves, and say close_code or response."""

    status = Status.OK
    close_code = 0
    os_error = 0
    http_status = 0
    response: Response | None = None

    def __init__(self, *args: object, close_code: int = 0, response: Response | None = None) -> None:
        super().__init__(*args)
        if close_code:
            self.close_code = close_code
        if response is not None:
            self.response, self.http_status = response, response.status


class InvalidError(Error, ValueError):
    """An argument or option is not legal; nothing was started. The text has every violation, a line each."""


class StateError(Error, RuntimeError):
    """Not possible now: started already, not started, not paused …"""


class InCallbackError(Error, RuntimeError):
    """Not possible inside a callback, which would wait for itself."""


class UnsupportedError(Error, NotImplementedError):
    """This engine, or this build, cannot do it."""


class TimeoutError(Error, builtins.TimeoutError):
    """A time limit was reached."""


class CanceledError(Error):
    """It was given up before it was done, by a stop for instance."""


class ClosedError(Error, ConnectionError):
    """The connection is closed; close_code says how."""


class NetworkError(Error, ConnectionError):
    """The system refused a socket call; os_error says why."""


class ResolveError(Error, ConnectionError):
    """A host name could not be looked up."""


class TlsError(Error, ConnectionError):
    """TLS failed: the certificate, the versions, the files."""


class HandshakeError(Error, ConnectionError):
    """The server refused the upgrade, or answered what is none; response is its answer."""


class ProtocolError(Error, ConnectionError):
    """The peer broke the protocol."""


class TooBigError(Error, ValueError):
    """A message or header is above its limit."""


class QueueFullError(Error):
    """No room to send within the time limit."""


class HostError(Error):
    """A callback or adapter of yours failed; __cause__ is its exception."""


class ForkedError(Error, RuntimeError):
    """The engine belongs to the parent process."""


class ProxyError(Error, ConnectionError):
    """The proxy refused or failed."""


class ProxyAuthError(ProxyError):
    """The proxy wants a user and a password (407)."""


class StartError(Error):
    """A start failed; __cause__ says why: what on_open raised, a TimeoutError, a NetworkError …"""


_classes = {name: kind for name, kind in globals().items() if isinstance(kind, type) and issubclass(kind, Error)}
_by_status: dict[int, type[Exception]] = {
    number: _classes.get(name, MemoryError) for number, (name, _) in STATUSES.items() if name
}
for _number, _kind in _by_status.items():
    if issubclass(_kind, Error):
        _kind.status = Status(_number)


def said_by(failure: BaseException) -> str:
    """What an exception says; one of a user's may fail even at that."""
    try:
        return str(failure)
    except Exception as worse:
        return f"(its __str__ raised {type(worse).__name__})"


def described(failure: BaseException) -> str:
    return f"{type(failure).__name__}: {said_by(failure)}"


class Kept:
    """An exception on its way through the library, which knows it by a number, for as long as somebody keeps this: whatever the library still
    holds then, it cannot dangle."""

    def __init__(self, failure: BaseException) -> None:
        self.failure = failure
        self.number = next(_numbers)
        _kept[self.number] = self


_numbers = itertools.count(1)
_kept: weakref.WeakValueDictionary[int, Kept] = weakref.WeakValueDictionary()


def class_of(status: int) -> type[Error]:
    """The class of a status; Error where it has none of its own."""
    found = _by_status.get(status, Error)
    return found if issubclass(found, Error) else Error


def error_of(error: CData) -> BaseException | None:
    """The exception for a borrowed wsc_error and its causes; None for NULL."""
    if not error:
        return None
    host = lib.wsc_error_host(error)
    cause = lib.wsc_error_cause(error)
    raised = _kept.get(int(ffi.cast("uintptr_t", host))) if host and not cause else None
    if raised is not None:
        return raised.failure
    status = lib.wsc_error_status(error)
    made = _by_status.get(status, Error)(ffi.string(lib.wsc_error_message(error)).decode("utf-8", "replace"))
    if isinstance(made, Error):
        from .session import Response

        made.status = Status(status)
        made.close_code = lib.wsc_error_close_code(error)
        made.os_error = lib.wsc_error_os_error(error)
        made.http_status = lib.wsc_error_http_status(error)
        made.response = Response.of(lib.wsc_error_response(error))
    made.__cause__ = error_of(cause)
    return made


def take_error(status: int, error: CData) -> BaseException:
    """The exception for a failed call, whose error (a wsc_error **, perhaps of NULL) it takes over."""
    try:
        made = error_of(error[0])
    finally:
        lib.wsc_error_unref(error[0])
        error[0] = ffi.NULL
    if made is None:
        made = _by_status.get(status, Error)(ffi.string(lib.wsc_status_text(status)).decode())
        if isinstance(made, Error):
            made.status = Status(status)
    return made
