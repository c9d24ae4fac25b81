"""What callbacks are given: the session, the server's answer, how a connection ended, an attempt."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _batch
from ._abi import Initiator, MessageType, Timer
from ._core import ffi, lib
from ._native import Deadline, address, call, encoded, in_slices, sized, text, wait
from .errors import error_of, take_error

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

    from ._core import CData

__all__ = ["Attempt", "Close", "Message", "Response", "Session"]

Message = str | bytes

CONNECTION_WRITE = address(ffi.addressof(lib, "wsc_connection_write"))
ENGINE_WRITE = address(ffi.addressof(lib, "wsc_engine_write"))


class Headers(Mapping[str, str]):
    """Headers of an answer, by name without regard to case; of several with one name the first. `all(name)` has each."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = tuple(pairs)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        for value in self.all(name):
            return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key for key, _ in self.pairs))

    def __len__(self) -> int:
        return len({key for key, _ in self.pairs})

    def __repr__(self) -> str:
        return f"Headers({list(self.pairs)!r})"


class Response(NamedTuple):
    """The server's answer to the upgrade, also a refusal. body: of a refusal, at most its first 64 KiB."""

    status: int
    reason: str
    headers: Headers
    subprotocol: str
    body: bytes

    @classmethod
    def of(cls, response: CData) -> Response | None:
        """A copy of a borrowed wsc_response; None for NULL."""
        if not response:
            return None
        pairs: list[tuple[str, str]] = []
        name, value = ffi.new("char **"), ffi.new("char **")
        while lib.wsc_response_header_at(response, len(pairs), name, value):
            pairs.append((text(name[0]), text(value[0])))
        length = ffi.new("size_t *")
        body = lib.wsc_response_body(response, length)
        return cls(
            lib.wsc_response_status(response),
            text(lib.wsc_response_reason(response)),
            Headers(pairs),
            text(lib.wsc_response_subprotocol(response)),
            ffi.buffer(body, length[0])[:] if body else b"",
        )


class Close(NamedTuple):
    """How a connection ended. code: what it stands for (1006: a dead link) · code_sent, code_received: 0 when there was no such frame ·
    os_error: of a dead link · timer: which one ended it · unsent_bytes: accepted for sending and lost with the link."""

    initiator: Initiator
    code: int
    reason: str
    code_sent: int
    code_received: int
    os_error: int
    timer: Timer
    unsent_bytes: int

    @classmethod
    def of(cls, close: CData) -> Close | None:
        if not close:
            return None
        return cls(
            Initiator(close.initiator),
            close.code,
            text(close.reason),
            close.code_sent,
            close.code_received,
            close.os_error,
            Timer(close.timer),
            close.unsent_bytes,
        )


def shown(message: Message, raw: bool) -> Message:
    """As the user wants it."""
    return message.encode() if raw and isinstance(message, str) else message


def payload_of(data: Message | Buffer) -> tuple[int, bytes]:
    if isinstance(data, str):
        return lib.WSC_TEXT, data.encode()
    if isinstance(data, bytes):
        return lib.WSC_BINARY, data
    if isinstance(data, (bytearray, memoryview)):
        return lib.WSC_BINARY, bytes(data)
    raise TypeError(f"a message is str (text) or bytes (binary), not {type(data).__name__}")


def no_room(failed: tuple[int, int], timeout: float | None) -> None:
    """Why a message could not be sent at once (status, address of the error) is that it must wait for room; raises what else went wrong."""
    status, error = failed[0], ffi.new("wsc_error **", ffi.cast("wsc_error *", failed[1]))
    if status not in (lib.WSC_ERR_QUEUE_FULL, lib.WSC_ERR_TIMEOUT, lib.WSC_ERR_CANCELED) or timeout == 0:
        raise take_error(status, error)
    lib.wsc_error_unref(error[0])


def send_waiting(begin: Callable[..., int], target: CData, data: Message | Buffer, timeout: float | None) -> None:
    """Sends one message for which there was no room; in slices, so that a signal gets through."""
    kind, payload = payload_of(data)
    wait(begin, target, Deadline(timeout).context(), kind, payload, len(payload))


class ConnectionBase:
    """What sessions and connections without an engine share, of threads and of asyncio."""

    __slots__ = ("_at", "_connection", "_raw", "_send", "received_ns")

    def __init__(self, connection: CData, raw: bool) -> None:
        self._connection = connection
        self._at = address(connection)
        self._send = _batch.sender(CONNECTION_WRITE, self._at)
        self._raw = raw
        self.received_ns = 0

    def _send_from(self, messages: list[Any], start: int, timeout: float | None) -> int:
        """Sends what there is room for, from messages[start] on; -> how many of all have been sent."""
        sent, *failed = _batch.send_many(self._at, messages, start)
        if sent < len(messages):
            no_room((failed[0], failed[1]), timeout)
        return sent

    def _taken(self, message: CData) -> Message:
        """What a wsc_message holds, which is freed."""
        try:
            self.received_ns = message.received_ns
            payload: bytes = ffi.buffer(message.data, message.length)[:]
            return payload.decode() if message.type == MessageType.TEXT and not self._raw else payload
        finally:
            lib.wsc_message_free(message)

    @property
    def response(self) -> Response | None:
        """The answer to the upgrade."""
        return Response.of(lib.wsc_connection_response(self._connection))

    @property
    def subprotocol(self) -> str:
        """What was agreed on; "" when nothing was."""
        return text(lib.wsc_response_subprotocol(lib.wsc_connection_response(self._connection)))

    @property
    def closed(self) -> Close | None:
        """How it ended; None while it has not."""
        out = sized("wsc_close")
        return Close.of(out) if lib.wsc_connection_closed(self._connection, out) else None

    @property
    def rtt(self) -> float | None:
        """Seconds of the last ping's round trip; None before the first pong."""
        ns = lib.wsc_connection_last_rtt_ns(self._connection)
        return None if ns < 0 else ns / 1e9

    @contextlib.contextmanager
    def corked(self) -> Iterator[Self]:
        """`with session.corked():` what is sent meanwhile, by any thread, leaves together at the end."""
        lib.wsc_connection_cork(self._connection)
        try:
            yield self
        finally:
            call(lib.wsc_connection_uncork, self._connection)


class SessionBase(ConnectionBase):
    """What sessions of threads and of asyncio share."""

    __slots__ = ("_c", "epoch", "id")

    def __init__(self, session: CData, raw: bool) -> None:
        self._c = ffi.gc(lib.wsc_session_ref(session), lib.wsc_session_unref)
        super().__init__(lib.wsc_session_connection(session), raw)
        self.id: str = text(lib.wsc_session_id(session))
        self.epoch: int = lib.wsc_session_epoch(session)

    def __repr__(self) -> str:
        return f"<Session {self.epoch} {self.id}>"

    def restart(self) -> None:
        """Ends this session, when the running callbacks have returned, and connects anew. A newer session is not touched."""
        lib.wsc_session_restart(self._c)

    def exit(self) -> None:
        """Ends the run, when the running callbacks have returned."""
        lib.wsc_session_exit(self._c)


class Verbs(ConnectionBase):
    """What threads do with one."""

    __slots__ = ()

    def send(self, data: Message | Buffer, timeout: float | None = None) -> None:
        """Sends one whole message: str as text, bytes as binary. Waits for room up to timeout seconds (None: without a limit).

        Raises ClosedError, TimeoutError; with timeout 0 QueueFullError."""
        failed = self._send(data)
        if failed is not None:
            no_room(failed, timeout)
            send_waiting(lib.wsc_connection_write_begin, self._connection, data, timeout)

    def send_many(self, messages: Iterable[Message | Buffer], timeout: float | None = None) -> None:
        """Sends them in order, in as few writes to the socket as they fit. Waits as send() does, timeout seconds for all of them. What was
        sent before an error stays sent."""
        held, deadline, sent = list(messages), Deadline(timeout), 0
        while (sent := self._send_from(held, sent, timeout)) < len(held):
            send_waiting(lib.wsc_connection_write_begin, self._connection, held[sent], deadline.left())
            sent += 1

    def ping(self, timeout: float | None = None) -> float:
        """-> seconds until its pong. Raises ClosedError, TimeoutError."""
        op = wait(lib.wsc_connection_ping_begin, self._connection, Deadline(timeout).context())
        return float(lib.wsc_op_rtt_ns(op) / 1e9)

    def read(self, timeout: float | None = None) -> Message:
        """The next message; of a session only inside a callback or while the engine is paused. Raises ClosedError, TimeoutError, StateError."""
        out = sized("wsc_message")

        def attempt(context: CData, error: CData) -> int:
            return int(lib.wsc_connection_read(self._connection, context, out, error))

        try:
            in_slices(attempt, timeout, "read")
            return self._taken(out)
        finally:
            lib.wsc_message_free(out)

    def close(self, code: int = 1000, reason: str = "", timeout: float | None = None) -> None:
        """Closes it with a close frame and waits for the peer's. An engine reconnects afterwards; exit() ends its run."""
        wait(
            lib.wsc_connection_close_begin,
            self._connection,
            Deadline(timeout).context(),
            code,
            encoded(reason, "reason"),
        )


class Session(Verbs, SessionBase):
    """One connection of an engine, from on_open to on_close. Any thread may use it; when it is over its sends raise ClosedError.

    id: a UUID · epoch: 1, 2, 3 … of an engine, across its runs · received_ns: when the message of this on_message, or the last that was read, came
    from the socket (Unix time, ns)."""

    __slots__ = ()


class Attempt:
    """One attempt to connect, inside before_attempt. What is changed holds for the rest of the run."""

    __slots__ = ("_c",)

    def __init__(self, attempt: CData) -> None:
        self._c = attempt

    @property
    def number(self) -> int:
        """Failed attempts in a row so far."""
        return int(lib.wsc_attempt_number(self._c))

    @property
    def last_error(self) -> BaseException | None:
        """Why the one before failed."""
        return error_of(lib.wsc_attempt_last_error(self._c))

    @property
    def url(self) -> str:
        """Where to, without its password."""
        return text(lib.wsc_attempt_url(self._c))

    def set_url(self, url: str) -> None:
        call(lib.wsc_attempt_set_url, self._c, encoded(url, "url"))

    def add_header(self, name: str, value: str) -> None:
        call(lib.wsc_attempt_add_header, self._c, encoded(f"{name}: {value}", "header"))

    def clear_headers(self) -> None:
        lib.wsc_attempt_clear_headers(self._c)

    def add_subprotocol(self, name: str) -> None:
        call(lib.wsc_attempt_add_subprotocol, self._c, encoded(name, "subprotocol"))

    def clear_subprotocols(self) -> None:
        lib.wsc_attempt_clear_subprotocols(self._c)

    def set_delay(self, seconds: float) -> None:
        """Waits so long and asks again."""
        lib.wsc_attempt_set_delay_ms(self._c, round(seconds * 1000))

    def set_retry_delay(self, seconds: float) -> None:
        """The delay if this attempt fails, instead of the table's."""
        lib.wsc_attempt_set_retry_delay_ms(self._c, round(seconds * 1000))

    def reset(self) -> None:
        """Forgets the failures so far."""
        lib.wsc_attempt_reset(self._c)
