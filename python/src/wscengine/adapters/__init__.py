"""Connections of your own under an engine: a test double, another library, another transport.

    class Mine(wscengine.adapters.Adapter):
        def dial(self, url, offer, timeout): ...
        def read(self): ...

    engine = wscengine.Engine("ws://feed.example/", client, adapter=Mine())

An Adapter serves wscengine.Engine, an AsyncAdapter wscengine.aio.Engine. All else is as with the built-in connection: reconnects, keepalive (by ping),
back-pressure, deadlines, counters. The way to the server and everything about it (TLS, proxies, compression, socket options) are the adapter's.

wscengine.adapters.websockets has one of each kind on the `websockets` library."""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..session import Message, Response

__all__ = ["Adapter", "AsyncAdapter", "Offer"]


@dataclasses.dataclass(frozen=True)
class Offer:
    """What a dial offers the server: headers as (name, value), and subprotocols, in order; those of the options and of before_attempt."""

    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()


class _Common:
    traced = False  # tells OpenTelemetry of its verbs itself
    _owner: Any = None  # the engine that has it, from a start to the end of the run


class Adapter(_Common, abc.ABC):
    """One object, dialed again for each session; one connection at a time.

    dial, read, write, ping and close each come one at a time, but may run at once, on threads of their own: read on the one that has dialed.
    They may block, and must end at their timeout (seconds) or at abort(). One that does not holds back nobody but this adapter: the engine keeps
    its deadlines, and the next dial waits for it (connect_timeout at most).

    What they raise is the session's or the attempt's error, and arrives in callbacks and start() as it is. A read that raises
    ClosedError(reason, close_code=…) says that the peer has closed (1006, or no code: the link is lost), another wscengine.Error with a close code
    that the adapter has closed by itself, a ConnectionError or EOFError that the link is lost: then the connection is gone. Any other exception of
    read is on_read_error's, and it is asked again; the 16th in a row without a message is a 1006."""

    @abc.abstractmethod
    def dial(self, url: str, offer: Offer, timeout: float) -> Response | None:
        """Connects, until the handshake is done. url: with its password. -> the server's answer, or None. A refusal:
        HandshakeError(reason, response=…), which counts as with the built-in connection (Retry-After, give_up_on)."""

    @abc.abstractmethod
    def read(self) -> Message:
        """The next message, str or bytes, when there is one. Called again as long as the connection lives."""

    @abc.abstractmethod
    def write(self, message: Message, timeout: float | None) -> None:
        """Sends one whole message, str as text."""

    @abc.abstractmethod
    def ping(self, timeout: float | None) -> None:
        """Until the pong has come; read runs meanwhile."""

    @abc.abstractmethod
    def close(self, code: int, reason: str, timeout: float) -> None:
        """Sends the close message and waits for the peer's. Afterwards, whatever it raised, the connection is gone: read and write that run
        have failed, and dial works again."""

    def abort(self) -> None:
        """The engine has given the connection up: what runs now should fail soon. Any thread, beside any verb, must not block. Nothing by itself."""

    @property
    def underlying(self) -> Any:
        """What session.underlying gives."""
        return None


class AsyncAdapter(_Common, abc.ABC):
    """The same for wscengine.aio.Engine: its verbs run as tasks on the event loop. One that the engine gives up, or that does not end at its
    timeout, is cancelled: there is no abort. See Adapter."""

    @abc.abstractmethod
    async def dial(self, url: str, offer: Offer, timeout: float) -> Response | None: ...

    @abc.abstractmethod
    async def read(self) -> Message: ...

    @abc.abstractmethod
    async def write(self, message: Message, timeout: float | None) -> None: ...

    @abc.abstractmethod
    async def ping(self, timeout: float | None) -> None: ...

    @abc.abstractmethod
    async def close(self, code: int, reason: str, timeout: float) -> None: ...

    @property
    def underlying(self) -> Any:
        return None
