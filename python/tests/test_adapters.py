"""Adapters in Python. That all of the lifecycle holds over them is the conformance suite's (driver_python.py --adapter); here is what only an adapter can
do wrong, and what only Python has."""

import asyncio
import contextlib
import gc
import queue
import re
import socket
import threading
from http import HTTPStatus

import pytest
import wscengine
from conftest import PATIENCE, drain, until
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from websockets.utils import accept_key
from wscengine import adapters, aio, otel
from wscengine.adapters.websockets import AsyncWebsocketsAdapter, WebsocketsAdapter


class Pipe(adapters.Adapter):
    """The test is the server: it puts messages, and exceptions for read to raise."""

    def __init__(self):
        self.incoming, self.sent, self.dials, self.closes = queue.Queue(), [], [], []
        self.open, self.on_dial, self.on_ping = False, None, None

    def dial(self, url, offer, timeout):
        self.dials.append((url, offer, timeout))
        if self.on_dial:
            self.on_dial()
        self.incoming = queue.Queue()
        self.open = True
        return wscengine.Response(
            101, "Switching Protocols", wscengine.session.Headers([("X-From", "pipe")]), "v2", b""
        )

    def read(self):
        came = self.incoming.get()
        if isinstance(came, BaseException):
            raise came
        return came

    def write(self, message, timeout):
        self.sent.append(message)

    def ping(self, timeout):
        if self.on_ping:
            self.on_ping()

    def close(self, code, reason, timeout):
        self.open = False
        self.closes.append((code, reason))
        self.incoming.put(wscengine.ClosedError(reason, close_code=code))


class Recorder(wscengine.Client):
    def __init__(self):
        self.got, self.calls = [], []

    def on_open(self, session, response, restarting):
        self.calls.append(("open", restarting))

    def on_message(self, session, message):
        self.got.append(message)

    def on_read_error(self, session, error):
        self.calls.append(("read_error", error))

    def on_close(self, session, close):
        self.calls.append(("close", close))

    def on_restart_error(self, engine, error, retry, last):
        self.calls.append(("restart_error", error))

    def of(self, kind):
        return [what for name, what in self.calls if name == kind]


def engine_on(pipe, client, **options):
    return wscengine.Engine("ws://me:secret@pipe/", client, adapter=pipe, stable_after=0, **options)


# ---- what it is given, and what it gives ----


def test_a_dial_is_offered_headers_and_the_answer_is_the_sessions():
    pipe, client = Pipe(), Recorder()
    with engine_on(pipe, client, headers={"X-Key": "value"}, subprotocols=["v1", "v2"], connect_timeout=7) as engine:
        [(url, offer, timeout)] = pipe.dials
        assert (url, timeout) == ("ws://me:secret@pipe/", 7)
        assert offer == adapters.Offer((("X-Key", "value"),), ("v1", "v2"))
        session = engine.session
        assert session.response.headers["x-from"] == "pipe" and session.subprotocol == "v2"
        assert session.closed is None and session.underlying is None
        session.send("text")
        engine.send(b"binary")
        session.send_many(["a", bytearray(b"b")])
        with session.corked():
            session.send(memoryview(b"c"))
        assert pipe.sent == ["text", b"binary", "a", b"b", b"c"]
        assert session.ping() >= 0 and session.rtt >= 0
        stats = engine.stats
        assert (stats.messages_sent, stats.bytes_sent) == (5, 13)
    assert pipe.closes == [(1001, "Going Away")] and session.closed.code == 1001
    for use in (lambda: session.send("x"), session.ping, lambda: engine.send("x")):
        with pytest.raises(wscengine.ClosedError):
            use()


def test_what_is_sent_is_judged_before_the_adapter_sees_it():
    pipe = Pipe()
    with engine_on(pipe, Recorder()) as engine:
        for bad, kind in ((3, TypeError), ("\ud800", UnicodeEncodeError), (None, TypeError)):
            with pytest.raises(kind):
                engine.send(bad)
        for code, reason in ((999, ""), (1005, ""), (1015, ""), (5000, ""), (1000, "x" * 124)):
            with pytest.raises(wscengine.InvalidError):
                engine.session.close(code, reason)
        with pytest.raises(wscengine.StateError, match="callback"):
            engine.session.read()
    assert pipe.sent == []


def test_messages_come_as_the_engine_was_asked_for_them():
    for keywords, wanted in (
        ({}, ["tü", b"b"]),
        ({"raw_text": True}, ["tü".encode(), b"b"]),
        ({"memoryviews": True}, [memoryview("tü".encode()), memoryview(b"b")]),
    ):
        pipe, client = Pipe(), Recorder()
        with engine_on(pipe, client, **keywords) as engine:
            pipe.incoming.put("tü")
            pipe.incoming.put(b"b")
            until(lambda client=client: len(client.got) == 2)
            assert engine.stats.messages_received == 2 and engine.stats.bytes_received == 4
        assert client.got == wanted and [type(m) for m in client.got] == [type(m) for m in wanted]


def test_bulk_iteration_and_requests():
    lists = []

    class Bulk(wscengine.Client):
        def on_messages(self, session, messages):
            lists.append(messages)

    pipe = Pipe()
    with engine_on(pipe, Bulk()) as engine:
        for n in range(100):
            pipe.incoming.put(str(n))
        until(lambda: sum(map(len, lists)) == 100)
        assert [m for one in lists for m in one] == [str(n) for n in range(100)]
        pipe.incoming.put("other")
        pipe.incoming.put("reply")
        assert engine.request("ask", lambda m: m == "reply", timeout=5) == "reply"
    pipe, got = Pipe(), []
    with engine_on(pipe, None) as engine:
        for n in range(10_000):  # more than iteration keeps ready
            pipe.incoming.put(n.to_bytes(2, "big"))
        for message in engine:
            got.append(int.from_bytes(message, "big"))
            if len(got) == 10_000:
                engine.exit()
    assert got == list(range(10_000))


def test_pausing_takes_messages_to_read():
    pipe, client = Pipe(), Recorder()
    with engine_on(pipe, client, ping_interval=0) as engine:
        with engine.paused():
            pipe.incoming.put("for the reader")
            assert engine.session.read(timeout=5) == "for the reader"
            with pytest.raises(wscengine.TimeoutError):
                engine.session.read(timeout=0.01)
            pipe.incoming.put("for the callback")
            until(lambda: engine.stats.queued_messages == 1)
            assert client.got == []
        until(lambda: client.got == ["for the callback"])


def test_a_slow_callback_holds_back_no_other_reader_and_no_ping():
    hold, pinged = threading.Event(), []

    class Slow(Recorder):
        def on_message(self, session, message):
            if message == "slow":
                hold.wait(PATIENCE)
            super().on_message(session, message)

    pipe, client = Pipe(), Slow()
    pipe.on_ping = lambda: pinged.append(1)
    with engine_on(pipe, client, reader_count=2, ping_interval=0.02) as engine:
        pipe.incoming.put("slow")
        pipe.incoming.put("fast")
        until(lambda: client.got == ["fast"] and len(pinged) >= 2)
        assert engine.state == wscengine.State.OPEN
        hold.set()


# ---- what can go wrong in it ----


def test_how_reads_end_a_session():
    for raised, code, by in (
        (wscengine.ClosedError("restarting", close_code=1012), 1012, wscengine.Initiator.PEER),
        (wscengine.ClosedError("gone"), 1006, wscengine.Initiator.NETWORK),
        (ConnectionResetError("reset"), 1006, wscengine.Initiator.NETWORK),
        (EOFError(), 1006, wscengine.Initiator.NETWORK),
        (wscengine.ProtocolError("masked", close_code=1002), 1002, wscengine.Initiator.LOCAL),
    ):
        pipe, client = Pipe(), Recorder()
        with engine_on(pipe, client):
            pipe.incoming.put("before")
            pipe.incoming.put(raised)
            until(lambda client=client: ("open", True) in client.calls)
        close = client.of("close")[0]
        assert (close.code, close.initiator) == (code, by), raised
        assert client.got == ["before"]
        assert len(pipe.dials) == 2


def test_other_exceptions_of_a_read_are_on_read_errors_and_sixteen_in_a_row_end_the_session():
    pipe, client = Pipe(), Recorder()
    odd = KeyError("odd")
    with engine_on(pipe, client):
        pipe.incoming.put(odd)
        pipe.incoming.put("goes on")
        until(lambda: client.got == ["goes on"])
        assert client.of("read_error")[0].__cause__ is odd
        for _ in range(16):
            pipe.incoming.put(ValueError("again"))
        until(lambda: ("open", True) in client.calls)
    assert client.of("close")[0].code == 1006


def test_garbage_is_an_error_that_names_it():
    pipe, client = Pipe(), Recorder()
    with engine_on(pipe, client):
        pipe.incoming.put(17)
        until(lambda: client.of("read_error"))
        assert "int, not str or bytes" in str(client.of("read_error")[0])
    pipe = Pipe()
    pipe.dial = lambda url, offer, timeout: "open!"
    with pytest.raises(wscengine.StartError, match="str, not a Response or None"):
        engine_on(pipe, client).start()
    assert pipe.closes == [(1001, "")]  # it had opened a connection all the same


@pytest.mark.parametrize("headers", [{"a": "b"}, wscengine.session.Headers([("a", "\ud800")]), None])
def test_an_answer_filled_with_garbage_is_an_error_and_the_next_dial_works(headers):
    class Filler(Pipe):
        def dial(self, url, offer, timeout):
            super().dial(url, offer, timeout)
            return wscengine.Response(101, "", headers, "", b"") if len(self.dials) == 1 else None

    pipe = Filler()
    engine = engine_on(pipe, Recorder(), connect_timeout=3)
    with pytest.raises(wscengine.StartError) as raised:
        engine.start()
    assert isinstance(raised.value.__cause__, (AttributeError, UnicodeEncodeError)) and not pipe.open
    raised.value.__cause__.__traceback__ = None
    with engine:
        assert pipe.open


def test_a_refusal_filled_with_garbage_is_that_refusal():
    refusal = wscengine.HandshakeError("no", response=wscengine.Response(401, "", {}, "", b""))

    def refuse():
        raise refusal

    pipe = Pipe()
    pipe.on_dial = refuse
    with pytest.raises(wscengine.StartError) as raised:
        engine_on(pipe, Recorder(), connect_timeout=3).start()
    assert raised.value.__cause__ is refusal
    refusal.__traceback__ = None


@pytest.mark.parametrize("code", ["gone", 2**40, -1])
def test_a_close_code_that_is_none_is_a_lost_link(code):
    pipe, client = Pipe(), Recorder()
    with engine_on(pipe, client):
        pipe.incoming.put(wscengine.ClosedError("bye", close_code=code))
        until(lambda: client.of("close"))
    assert client.of("close")[0].code == 1006


def test_an_abort_that_raises_holds_nothing_up(caplog):
    class Raiser(Pipe):
        def abort(self):
            raise ValueError("abort")

    pipe, client = Raiser(), Recorder()
    with engine_on(pipe, client, stop_timeout=5):
        pass
    assert not pipe.open
    assert any(r.exc_info and str(r.exc_info[1]) == "abort" for r in caplog.records)
    caplog.clear()


def test_what_a_dial_raises_arrives_as_it_is():
    pipe, raised = Pipe(), PermissionError(13, "no")

    def fails():
        raise raised

    pipe.on_dial = fails
    with pytest.raises(wscengine.StartError) as start:
        engine_on(pipe, None).start()
    failure = start.value.__cause__
    assert isinstance(failure, wscengine.NetworkError) and failure.__cause__ is raised and failure.os_error == 13
    assert "secret" not in str(start.value) and "ws://me:***@pipe/: dial: PermissionError" in str(start.value)


@pytest.mark.parametrize("status", [401, 503])
def test_a_refusal_counts_as_with_the_built_in_connection(status):
    answer = wscengine.Response(status, "No", wscengine.session.Headers([("Retry-After", "7")]), "", b"")
    pipe, last = Pipe(), []

    def refuses():
        raise wscengine.HandshakeError("busy", response=answer)

    pipe.on_dial = refuses
    with pytest.raises(wscengine.StartError) as start:
        engine_on(pipe, None).start()
    assert start.value.http_status == status and start.value.response.headers["retry-after"] == "7"

    class Client(wscengine.Client):
        def before_attempt(self, engine, attempt):
            last.append(attempt.last_error)

    engine = engine_on(pipe, Client(), give_up_on=wscengine.GiveUp.REFUSED, retry_first_start=True)
    with pytest.raises(wscengine.StartError) as failed:
        engine.start(timeout=0.3)
    gave_up = failed.value.http_status == 401
    assert gave_up == (status == 401) and (gave_up or isinstance(failed.value.__cause__, TimeoutError))


def test_one_that_is_stuck_holds_back_nobody_but_itself():
    stuck = threading.Event()
    pipe = Pipe()
    pipe.on_dial = lambda: stuck.wait(PATIENCE)
    engine = engine_on(pipe, None, connect_timeout=PATIENCE, close_timeout=0.2)
    with pytest.raises(wscengine.StartError):
        engine.start(timeout=0.05)
    with pytest.raises(wscengine.StartError):
        engine.start(timeout=0.05)  # the next dial waits for the one before
    assert len(pipe.dials) == 1
    stuck.set()
    until(lambda: pipe.closes == [(1001, "")])  # nobody wanted it any more
    engine.start(timeout=PATIENCE)
    reading = threading.Event()
    pipe.close = lambda code, reason, timeout: reading.set()  # and its read goes on
    engine.stop()
    assert reading.is_set()
    pipe.incoming.put("late")  # lets the reader go


def test_a_session_may_be_kept_longer_than_its_engine():
    with engine_on(Pipe(), Recorder()) as engine:
        session = engine.session
    del engine
    gc.collect()
    assert session.rtt is None and session.closed.code == 1001
    with pytest.raises(wscengine.StateError):
        session.read(timeout=0)


@pytest.mark.parametrize("refused", ["close", "ping", "dial"])
def test_without_a_thread_to_have_nothing_hangs(monkeypatch, refused):
    def start(thread):
        if thread.name == f"wscengine-{refused}":
            seen.append(refused)
            raise RuntimeError("can't create new thread at interpreter shutdown")
        real(thread)

    seen, real, pipe = [], threading.Thread.start, Pipe()
    with engine_on(pipe, Recorder(), ping_interval=0.01, stop_timeout=5) as engine:
        monkeypatch.setattr(threading.Thread, "start", start)
        if refused == "dial":
            engine.restart()
            until(lambda: engine.stats.failed_attempts)
            monkeypatch.undo()
            until(lambda: engine.session)
        elif refused == "ping":
            until(lambda: engine.stats.rtt_last)
    assert seen and not pipe.open and pipe.closes[-1][0] == 1001


def test_a_start_without_threads_for_callbacks_fails(monkeypatch):
    def start(thread):
        if thread.name == "wscengine-reader-1":
            raise RuntimeError("can't start new thread")
        real(thread)

    real, pipe, client = threading.Thread.start, Pipe(), Recorder()
    engine = engine_on(pipe, client, reader_count=2, stop_timeout=5)
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(wscengine.StartError, match="can't start new thread"):
        engine.start(timeout=5)
    monkeypatch.undo()
    with engine:
        pipe.incoming.put("x")
        until(lambda: client.got == ["x"])


def test_an_adapter_has_one_engine_at_a_time():
    pipe = Pipe()
    first, second = engine_on(pipe, Recorder()), engine_on(pipe, Recorder())
    with first, pytest.raises(wscengine.StateError, match="another engine has the adapter"):
        second.start()
    with second:
        assert len(pipe.dials) == 2
    with pytest.raises(TypeError, match="AsyncWebsocketsAdapter"):
        wscengine.Engine("ws://host/", adapter=AsyncWebsocketsAdapter())
    with pytest.raises(TypeError, match=r"adapters\.Adapter, not str"):
        wscengine.Engine("ws://host/", adapter="pipe")


def test_a_start_that_was_refused_for_its_timeout_does_not_keep_the_adapter():
    pipe = Pipe()
    with pytest.raises(wscengine.InvalidError):
        engine_on(pipe, Recorder()).start(float("nan"))
    with engine_on(pipe, Recorder()):
        pass


def test_one_that_lacks_a_verb_is_refused_when_it_is_made():
    class Half(adapters.Adapter):
        def dial(self, url, offer, timeout):
            return None

    with pytest.raises(TypeError, match=r"close.*ping.*read"):
        Half()


def test_a_thousand_runs_leave_nothing():
    pipe = Pipe()
    engine = engine_on(pipe, Recorder())
    for _ in range(1000):
        engine.start()
        engine.stop()
    assert len(pipe.dials) == len(pipe.closes) == 1000


# ---- asyncio ----


class AsyncPipe(adapters.AsyncAdapter):
    def __init__(self):
        self.incoming, self.sent, self.cancelled, self.hang = asyncio.Queue(), [], [], ()

    async def _verb(self, name):
        if name in self.hang:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.append(name)
                raise

    async def dial(self, url, offer, timeout):
        await self._verb("dial")
        self.incoming = asyncio.Queue()

    async def read(self):
        came = await self.incoming.get()
        if isinstance(came, BaseException):
            raise came
        return came

    async def write(self, message, timeout):
        await self._verb("write")
        self.sent.append(message)

    async def ping(self, timeout):
        await self._verb("ping")

    async def close(self, code, reason, timeout):
        await self._verb("close")
        self.incoming.put_nowait(wscengine.ClosedError(reason, close_code=code))


async def soon(condition):
    async def poll():
        while not condition():
            await asyncio.sleep(0.002)

    await asyncio.wait_for(poll(), PATIENCE)


def test_async_callbacks_are_awaited_one_after_another():
    class Client(wscengine.Client):
        def __init__(self):
            self.got, self.running = [], 0

        async def on_message(self, session, message):
            self.running += 1
            assert self.running == 1
            await asyncio.sleep(0)
            self.got.append((message, await session.read(timeout=5)))
            self.running -= 1

    async def main():
        pipe, client = AsyncPipe(), Client()
        async with aio.Engine("ws://pipe/", client, adapter=pipe) as engine:
            for n in range(6):
                pipe.incoming.put_nowait(str(n))
            await soon(lambda: len(client.got) == 3)
            await engine.send("x")
            await engine.session.send_many(["y", b"z"])
            assert pipe.sent == ["x", "y", b"z"]
            async with engine.paused():
                pipe.incoming.put_nowait("paused")
                assert await engine.session.read(timeout=5) == "paused"
        assert client.got == [("0", "1"), ("2", "3"), ("4", "5")]

    asyncio.run(main())


def test_a_callback_that_raises_cancelled_error_does_not_end_the_reading(caplog):
    class Client(Recorder):
        async def on_message(self, session, message):
            super().on_message(session, message)
            raise asyncio.CancelledError

    async def main():
        pipe, client = AsyncPipe(), Client()
        async with aio.Engine("ws://pipe/", client, adapter=pipe):
            pipe.incoming.put_nowait("1")
            pipe.incoming.put_nowait("2")
            await soon(lambda: client.got == ["1", "2"])

    asyncio.run(main())
    assert any(r.exc_info and r.exc_info[0] is asyncio.CancelledError for r in caplog.records)
    caplog.clear()


def test_a_start_while_the_one_before_is_let_go_of_keeps_its_event_loop():
    class Slow(AsyncPipe):
        async def dial(self, url, offer, timeout):
            try:
                await super().dial(url, offer, timeout)
            except asyncio.CancelledError:
                await asyncio.sleep(0.2)  # cleans up
                raise

    async def main():
        pipe = Slow()
        pipe.hang = ("dial",)
        engine = aio.Engine("ws://pipe/", Recorder(), adapter=pipe)
        first = asyncio.create_task(engine.start())
        await soon(lambda: engine._host.tasks)
        await asyncio.sleep(0)  # it dials
        first.cancel()
        await soon(lambda: engine.state == wscengine.State.STOPPED)
        assert not first.done()
        pipe.hang = ()
        await engine.start()
        with pytest.raises(asyncio.CancelledError):
            await first
        engine.exit()
        await soon(lambda: engine.state == wscengine.State.STOPPED)
        assert not engine._tasks

    asyncio.run(main())


def test_verbs_that_hang_are_cancelled():
    async def main():
        pipe = AsyncPipe()
        engine = aio.Engine("ws://pipe/", adapter=pipe, connect_timeout=0.05, close_timeout=0.05)
        pipe.hang = ("dial",)
        with pytest.raises(wscengine.StartError) as late:
            await engine.start()
        assert isinstance(late.value.__cause__, TimeoutError)
        with pytest.raises(wscengine.StartError):
            await engine.start(timeout=0.01)
        await soon(lambda: pipe.cancelled == ["dial", "dial"])
        pipe.hang = ("write", "ping", "close")
        await engine.start()
        with pytest.raises(wscengine.TimeoutError):
            await engine.send("x", timeout=0.01)
        with pytest.raises(wscengine.TimeoutError):
            await engine.ping(timeout=0.01)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(engine.send("x"), 0.01)
        await engine.stop()
        assert pipe.cancelled == ["dial", "dial", "write", "ping", "write", "close"]

    asyncio.run(main())


def test_iteration_on_asyncio():
    async def main():
        pipe, got = AsyncPipe(), []
        async with aio.Engine("ws://pipe/", adapter=pipe) as engine:
            for n in range(6000):
                pipe.incoming.put_nowait(n.to_bytes(2, "big"))
            async for message in engine:
                got.append(int.from_bytes(message, "big"))
                if len(got) == 6000:
                    engine.exit()
        assert got == list(range(6000))

    asyncio.run(main())


# ---- the adapters on `websockets`, and decorators ----


def test_the_library_below_is_there_for_what_only_it_has(server):
    got = []

    class Client(wscengine.Client):
        def on_message(self, session, message):
            got.append((message, type(session.underlying).__module__))
            session.send("more")

    adapter = WebsocketsAdapter(user_agent_header="mine", max_size=100)
    seen = []

    def script(connection):
        seen.append(connection.request.headers["User-Agent"])
        connection.send("hi")
        connection.recv()
        connection.send("x" * 101)
        drain(connection)

    client = Client()
    closed = []
    client.on_close = lambda session, close: closed.append(close)
    with wscengine.Engine(server(script).url, client, adapter=adapter, auto_reconnect=False):
        until(lambda: closed)
    assert seen == ["mine"] and got == [("hi", "websockets.sync.client")]
    assert closed[0].code == 1009 and closed[0].initiator == wscengine.Initiator.LOCAL


def test_a_peer_that_takes_nothing_holds_up_no_reconnect():
    """The library's send has no timeout, and its close waits for it."""
    held = []

    def shake_hands(listener):
        with contextlib.suppress(OSError):
            while True:
                held.append(listener.accept()[0])
                request = b""
                while b"\r\n\r\n" not in request:
                    request += held[-1].recv(4096)
                answer = accept_key(re.search(r"(?i)sec-websocket-key: (\S+)", request.decode())[1])
                lines = (
                    "HTTP/1.1 101 X",
                    "Upgrade: websocket",
                    "Connection: Upgrade",
                    f"Sec-WebSocket-Accept: {answer}",
                )
                held[-1].sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())

    def send(ended):
        with contextlib.suppress(wscengine.ClosedError):
            engine.send(b"x" * 50_000_000)
        ended.append(True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=shake_hands, args=(listener,))
        server.start()
        url, client, ended = f"ws://127.0.0.1:{listener.getsockname()[1]}/", Recorder(), []
        engine = wscengine.Engine(url, client, adapter=WebsocketsAdapter(), close_timeout=0.3, stable_after=0)
        engine.start()
        sender = threading.Thread(target=send, args=(ended,))
        sender.start()
        until(engine._host.writing.locked)
        engine.restart()
        until(lambda: client.of("open") == [False, True])
        sender.join()
        engine.stop()
        listener.shutdown(socket.SHUT_RDWR)
        server.join()
    for connection in held:
        connection.close()
    assert ended


def test_a_server_that_is_none_is_named_without_the_password(server):
    def refuse(connection, request):
        return connection.respond(HTTPStatus.FORBIDDEN, "no")

    url = server(process_request=refuse).url.replace("ws://", "ws://me:secret@")
    with pytest.raises(wscengine.StartError, match=r"ws://me:\*\*\*@127\.0\.0\.1:\d+/: .*403") as refused:
        wscengine.Engine(url, adapter=WebsocketsAdapter()).start()
    assert refused.value.http_status == 403


def test_decorators_tell_of_each_verb_and_callback(server, caplog):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    got = []

    class Client(wscengine.Client):
        def on_message(self, session, message):
            got.append(message)
            if message == "boom":
                raise KeyError("boom")

    url = server().url
    adapter, client = otel.traced_adapter(WebsocketsAdapter(), provider), otel.traced_client(Client(), provider)
    with wscengine.Engine(url, client, adapter=adapter) as engine:
        engine.send("boom")
        engine.ping(timeout=5)
        until(lambda: got == ["boom"])
        assert type(engine.session.underlying).__module__ == "websockets.sync.client"
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {
        "websocket.dial",
        "websocket.write",
        "websocket.read",
        "websocket.ping",
        "websocket.close",
        "wscengine.callback.on_message",
    }
    assert all(span.attributes["url.full"] == url for name, span in spans.items() if name.startswith("websocket."))
    assert spans["wscengine.callback.on_message"].attributes["error.type"] == "ERR_HOST"
    assert spans["websocket.close"].attributes["websocket.close.code"] == 1001
    caplog.clear()  # its traceback holds the engine


def test_an_engine_that_is_traced_leaves_the_spans_to_the_decorators_or_takes_them_over(server):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    otel.instrument(provider)
    try:

        async def main(url):
            got = []

            class Client(wscengine.Client):
                async def on_message(self, session, message):
                    got.append(message)

            adapter = otel.traced_adapter(AsyncWebsocketsAdapter(), provider)
            client = otel.traced_client(Client(), provider)
            async with aio.Engine(url, client, adapter=adapter) as engine:
                await engine.send("x")
                await soon(lambda: got)

        asyncio.run(main(server().url))
    finally:
        otel.uninstrument()
    names = [span.name for span in exporter.get_finished_spans()]
    for once in ("websocket.dial", "websocket.close", "wscengine.callback.on_message", "wscengine.start"):
        assert names.count(once) == 1, names
