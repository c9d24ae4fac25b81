"""Adapters on the `websockets` library (`pip install wscengine[websockets]`): the working example, and a way to keep what only that library has.

    engine = wscengine.Engine(url, client, adapter=WebsocketsAdapter(compression=None))

Keyword arguments are those of the library's connect(); what the engine's options say of TLS, proxies and compression is not used. Keepalive is the
engine's; the library's own is off."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import websockets.asyncio.client
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.frames import Opcode
from websockets.protocol import State

from .._abi import OPTIONS_BY_KEYWORD
from .._base import without_password
from ..errors import ClosedError, HandshakeError, ProtocolError, StateError, TimeoutError
from ..session import Headers, Message, Response
from . import Adapter, AsyncAdapter, Offer

__all__ = ["AsyncWebsocketsAdapter", "WebsocketsAdapter"]


END_S = 1.0  # how long a server that has closed may keep the socket open
_Conn = TypeVar("_Conn")
_MAX_MESSAGE_BYTES = OPTIONS_BY_KEYWORD["max_message_bytes"].default


def _response(answer: Any) -> Response:
    headers = Headers(answer.headers.raw_items())
    subprotocol = headers.get("Sec-WebSocket-Protocol", "")
    return Response(answer.status_code, answer.reason_phrase, headers, subprotocol, answer.body or b"")


def _keywords(given: dict[str, Any], offer: Offer, timeout: float) -> dict[str, Any]:
    """Those of connect() for one dial."""
    return {
        "max_size": _MAX_MESSAGE_BYTES,
        "close_timeout": END_S,
        **given,
        "additional_headers": list(offer.headers),
        "subprotocols": list(offer.subprotocols) or None,
        "open_timeout": timeout,
        "ping_interval": None,
    }


class _Maker:
    """Makes the library's connections, and knows the last one also while it is dialing, or when that has failed."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make
        self.last: Any = None

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        self.last = self.make(*arguments, **keywords)
        return self.last


@contextlib.contextmanager
def _errors(maker: _Maker | None = None, url: str = "") -> Iterator[None]:
    """The library's exceptions become those that the engine knows. maker and url: of a dial."""
    where = without_password(url)
    try:
        yield
    except InvalidStatus as refused:
        raise HandshakeError(f"{where}: {refused}", response=_response(refused.response)) from refused
    except InvalidHandshake as malformed:
        answer = getattr(maker and maker.last, "response", None)
        raise HandshakeError(f"{where}: {malformed}", response=answer and _response(answer)) from malformed
    except ConnectionClosed as closed:
        if closed.rcvd is not None and (closed.rcvd_then_sent or closed.sent is None):
            raise ClosedError(closed.rcvd.reason, close_code=closed.rcvd.code) from closed
        if closed.sent is not None and closed.sent.code not in (1000, 1001):
            raise ProtocolError(closed.sent.reason, close_code=closed.sent.code) from closed
        raise ClosedError(str(closed), close_code=1006) from closed


def _open(conn: _Conn | None) -> _Conn:
    if conn is None:
        raise ClosedError("no connection is open")
    return conn


def _dialable(conn: object) -> None:
    if conn is not None:
        raise StateError("dial: a connection is open already")


def _answered(conn: websockets.sync.client.ClientConnection | websockets.asyncio.client.ClientConnection) -> None:
    """After a close: whether the peer has answered it."""
    if conn.protocol.close_rcvd is None:
        raise TimeoutError("close: the peer sent no close message")


class WebsocketsAdapter(Adapter):
    """For wscengine.Engine, on websockets.sync."""

    def __init__(self, **connect: Any) -> None:
        self._connect = connect
        self._maker = _Maker(connect.pop("create_connection", None) or websockets.sync.client.ClientConnection)
        self._conn: websockets.sync.client.ClientConnection | None = None

    def dial(self, url: str, offer: Offer, timeout: float) -> Response:
        _dialable(self._conn)
        keywords = _keywords(self._connect, offer, timeout)
        self._maker.last = None
        with _errors(self._maker, url):
            conn = websockets.sync.client.connect(url, create_connection=self._maker, **keywords)  # type: ignore[arg-type]
        self._conn = conn
        return _response(conn.response)

    def read(self) -> Message:
        conn = _open(self._conn)
        try:
            with _errors():
                return conn.recv()
        except ConnectionError:  # it is gone
            self._conn = None
            raise

    def write(self, message: Message, timeout: float | None) -> None:
        with _errors():
            _open(self._conn).send(message)

    def ping(self, timeout: float | None) -> None:
        conn = _open(self._conn)
        with _errors():
            pong = conn.ping(ack_on_close=True)
        if not pong.wait(timeout):
            raise TimeoutError(f"ping: no pong within {timeout} s")
        if conn.state is not State.OPEN:
            raise ClosedError("ping: the connection ended before the pong")

    def close(self, code: int, reason: str, timeout: float) -> None:
        conn, self._conn = _open(self._conn), None
        conn.close_timeout = timeout
        cut = threading.Timer(
            timeout, self.abort
        )  # a send to a peer that takes nothing has the library's lock, and close() would wait for it
        cut.daemon = True
        with contextlib.suppress(RuntimeError):  # there is no thread to be had at the end of the interpreter
            cut.start()
        try:
            conn.close(code, reason)
        finally:
            cut.cancel()
        _answered(conn)

    def abort(self) -> None:
        conn = self._maker.last
        if conn is not None:
            with contextlib.suppress(OSError):
                conn.socket.shutdown(socket.SHUT_RDWR)

    @property
    def underlying(self) -> Any:
        return self._conn


class _Connection(websockets.asyncio.client.ClientConnection):
    """Does not wait for ever for a server that has closed to end TCP: the library would."""

    def process_event(self, event: Any) -> None:
        super().process_event(event)
        if getattr(event, "opcode", None) is Opcode.CLOSE:
            self.loop.call_later(self.close_timeout or 0, self.transport.abort)


class AsyncWebsocketsAdapter(AsyncAdapter):
    """For wscengine.aio.Engine, on websockets.asyncio."""

    def __init__(self, **connect: Any) -> None:
        self._connect = connect
        self._maker = _Maker(connect.pop("create_connection", None) or _Connection)
        self._conn: websockets.asyncio.client.ClientConnection | None = None

    async def dial(self, url: str, offer: Offer, timeout: float) -> Response:
        _dialable(self._conn)
        keywords = _keywords(self._connect, offer, timeout)
        self._maker.last = None
        with _errors(self._maker, url):
            conn = await websockets.asyncio.client.connect(url, create_connection=self._maker, **keywords)  # type: ignore[arg-type]
        self._conn = conn
        return _response(conn.response)

    async def read(self) -> Message:
        conn = _open(self._conn)
        try:
            with _errors():
                return await conn.recv()
        except ConnectionError:  # it is gone
            self._conn = None
            raise

    async def write(self, message: Message, timeout: float | None) -> None:
        with _errors():
            await _open(self._conn).send(message)

    async def ping(self, timeout: float | None) -> None:
        with _errors():
            await (await _open(self._conn).ping())

    async def close(self, code: int, reason: str, timeout: float) -> None:
        conn, self._conn = _open(self._conn), None
        conn.close_timeout = timeout
        try:
            await conn.close(code, reason)
        except asyncio.CancelledError:
            conn.transport.abort()
            raise
        _answered(conn)

    @property
    def underlying(self) -> Any:
        return self._conn
