"""The callbacks of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._abi import StopReason
    from .session import Attempt, Close, Message, Response, Session

__all__ = ["Client"]


class Client:
    """Override what you need; each does nothing by itself.

    They run on threads of the engine (asyncio: on the event loop, and each may be `async def`, awaited before the next is called). on_message runs
    reader_count times at once at most, everything else alone, and nothing of a session comes before its on_open or after its on_close. An
    exception is logged under `wscengine`, and then as `callback_errors` of the engine says."""

    _decorated: Client | None = None  # of which this one tells a tracer

    def on_open(self, session: Session, response: Response | None, restarting: bool) -> Any:
        """A session is open: subscribe here. Nothing else is processed until it returns; it may send, ping and read. An exception refuses the
        session: the start fails with it, or the attempt counts as failed."""

    def on_message(self, session: Session, message: Message) -> Any:
        """One whole message: str for text (bytes with raw_text), bytes for binary. Without this, and without on_messages, iterate over
        the engine."""

    def on_messages(self, session: Session, messages: list[Message]) -> Any:
        """Instead of on_message: all that came together, in order."""

    def on_read_error(self, session: Session, error: BaseException) -> Any:
        """A read of a custom adapter failed, and it is no close. Never with the built-in one."""

    def on_close(self, session: Session, close: Close | None) -> Any:
        """The session is over. close: how the peer or the network ended it; None: exit, restart or stop; then the connection is still open, and
        what is returned, a code or (code, reason), is sent (1001 without)."""

    def on_close_error(self, session: Session, error: BaseException) -> Any:
        """The close handshake failed."""

    def on_restart_error(self, engine: Any, error: BaseException, retry: int, last: bool) -> Any:
        """An attempt to reconnect failed, after retry others in a row. last: the engine gives up."""

    def before_attempt(self, engine: Any, attempt: Attempt) -> Any:
        """Just before each attempt to connect: may change URL, headers, delay (a fresh token). False: give up."""

    def on_stopped(self, engine: Any, reason: StopReason, error: BaseException | None) -> Any:
        """The run has ended; no callback follows."""


def overrides(client: Client, name: str) -> bool:
    return getattr(type(client), name, None) is not getattr(Client, name) or name in getattr(client, "__dict__", ())
