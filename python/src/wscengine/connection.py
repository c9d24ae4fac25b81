"""A connection without an engine."""

from __future__ import annotations

import contextlib
import functools
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from ._abi import OPTIONS_BY_KEYWORD
from ._core import ffi, lib
from ._native import NULL, Deadline, Loop, call, encoded, wait
from .errors import Error
from .options import make_options
from .session import Response, Verbs

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._abi import ConnectionOptions
    from ._core import CData

__all__ = ["Connection"]


def _unref(loop: Loop | None, connection: CData) -> None:
    lib.wsc_connection_unref(connection)
    if loop is not None:
        loop.leave()


def made_connection(loop: Loop | None, url: str, options: dict[str, Any]) -> CData:
    """A wsc_connection, not yet dialed, on a loop (None: the library's own)."""
    if not isinstance(url, str):
        raise TypeError(f"url is a str, not {type(url).__name__}")
    engines = [o for o in map(OPTIONS_BY_KEYWORD.get, options) if o is not None and o.scope != "CONNECTION"]
    if engines:
        raise TypeError("\n".join(f"{o.keyword} is an option of engines" for o in engines))
    made = ffi.new("wsc_connection **")
    call(lib.wsc_connection_new, loop.c if loop else NULL, encoded(url, "url"), make_options(options), made)
    if loop is not None:
        loop.use()
    return ffi.gc(made[0], functools.partial(_unref, loop))


class Connection(Verbs):
    """One WebSocket connection without an engine: it calls nobody back and does not reconnect; messages are read one by one.

    Connection(url, *, raw_text=False, **options)

        with wscengine.Connection("wss://feed.example/") as connection:
            connection.send("hello")
            print(connection.read(timeout=5))

    url: ws:// or wss:// · raw_text: text as bytes, not str · options: those of wscengine.options.describe() that are about a connection; times are
    seconds. Wrong ones raise InvalidError or TypeError at once; nothing is opened before connect().

    Any thread may use it, also several at once; waits can be interrupted by Ctrl-C within 0.1 s. Pings are answered whether or not somebody
    reads; what nobody reads fills receive_queue_bytes, and then slows the server down. The with statement connects, and closes with 1000, or 1011
    after an exception. One that is forgotten closes its socket. received_ns: when the last message that was read came from the socket (Unix time,
    ns)."""

    __slots__ = ()

    def __init__(self, url: str, *, raw_text: bool = False, **options: Unpack[ConnectionOptions]) -> None:
        super().__init__(made_connection(None, url, dict(options)), raw_text)

    def connect(self, timeout: float | None = None) -> Response:
        """Until the server has accepted; one that has ended may connect again. timeout: seconds, beside connect_timeout.

        -> the server's answer. Raises TimeoutError, ResolveError, NetworkError, TlsError, ProxyError, HandshakeError (with the answer that refused),
        StateError when it is connected already."""
        wait(lib.wsc_connection_dial_begin, self._connection, Deadline(timeout).context())
        return cast(Response, self.response)

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(Error):
            self.close(1000 if kind is None else 1011)
