"""A connection without an engine, and waits that another thread gives up."""

import asyncio
import gc
import socket
import threading
import time

import pytest
import wscengine
from conftest import PATIENCE, drain, until
from wscengine import aio


def two_messages(connection):
    connection.send("one")
    connection.send(b"two")


@pytest.fixture
def silent():
    """The URL of a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"ws://127.0.0.1:{listening.getsockname()[1]}/"


# ---- threads ----


def test_a_connection_reads_sends_pings_and_closes(server):
    echo = server()
    with wscengine.Connection(echo.url) as connection:
        assert connection.response.status == 101 and connection.rtt is None and connection.closed is None
        connection.send("ä")
        connection.send_many([b"x", "y", bytearray(b"z")])
        assert [connection.read(PATIENCE) for _ in range(4)] == ["ä", b"x", "y", b"z"]
        assert abs(connection.received_ns / 1e9 - time.time()) < PATIENCE
        assert connection.ping(PATIENCE) == pytest.approx(connection.rtt)
        with pytest.raises(wscengine.TimeoutError):
            connection.read(0.05)
    assert (connection.closed.initiator, connection.closed.code) == (wscengine.Initiator.LOCAL, 1000)
    for verb in (connection.read, connection.ping, lambda: connection.send("late")):
        with pytest.raises(wscengine.ClosedError):
            verb()
    connection.connect()  # again
    connection.send("again")
    assert connection.read(PATIENCE) == "again"
    with pytest.raises(wscengine.StateError):
        connection.connect()
    connection.close()


def test_a_connection_gives_what_came_before_the_close(server):
    def script(connection):
        two_messages(connection)
        connection.close(4000, "enough")

    with wscengine.Connection(server(script).url, raw_text=True) as connection:
        assert [connection.read(PATIENCE), connection.read(PATIENCE)] == [b"one", b"two"]
        with pytest.raises(wscengine.ClosedError, match="enough") as caught:
            connection.read(PATIENCE)
        assert caught.value.close_code == 4000


def test_a_connection_after_an_exception_closes_with_1011(server):
    codes = []

    def script(connection):
        drain(connection)
        codes.append(connection.close_code)

    with pytest.raises(ZeroDivisionError), wscengine.Connection(server(script).url):
        1 / 0  # noqa: B018
    until(lambda: codes)
    assert codes == [1011]


def test_a_connection_judges_its_arguments_at_once():
    for arguments, kind in (
        ((3,), TypeError),
        (("http://x/",), wscengine.InvalidError),
    ):
        with pytest.raises(kind):
            wscengine.Connection(*arguments)
    with pytest.raises(TypeError, match="reader_count is an option of engines"):
        wscengine.Connection("ws://x/", reader_count=2)
    with pytest.raises(TypeError, match="no option 'colour'"):
        wscengine.Connection("ws://x/", colour="red")
    with pytest.raises(wscengine.StateError):
        wscengine.Connection("ws://x/").send("x")


def test_a_connection_that_fails_says_why(silent):
    with pytest.raises(wscengine.NetworkError):
        wscengine.Connection("ws://127.0.0.1:1/").connect()
    with pytest.raises(wscengine.TimeoutError):
        wscengine.Connection(silent).connect(0.1)


def test_a_forgotten_connection_closes_its_socket(server):
    ended = threading.Event()

    def script(connection):
        drain(connection)
        ended.set()

    connection = wscengine.Connection(server(script).url)
    connection.connect()
    del connection
    gc.collect()
    assert ended.wait(PATIENCE)


# ---- asyncio ----


def test_a_connection_on_an_event_loop(server):
    async def main():
        async with aio.Connection(server().url) as connection:
            await connection.send_many(["ä", b"x"])
            assert [await connection.read(PATIENCE), await connection.read(PATIENCE)] == ["ä", b"x"]
            assert await connection.ping(PATIENCE) == connection.rtt
            reading = asyncio.create_task(connection.read())
            await asyncio.sleep(0.05)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await connection.send("next")
            assert await connection.read(PATIENCE) == "next"
        assert connection.closed.code == 1000
        with pytest.raises(wscengine.ClosedError):
            await connection.read()

    asyncio.run(main())


def test_a_connection_answers_pings_while_nobody_awaits_it(server):
    answered = []

    def script(connection):
        answered.append(connection.ping().wait(PATIENCE))
        drain(connection)

    async def main():
        connection = aio.Connection(peer.url)
        await connection.connect()
        while not answered:
            await asyncio.sleep(0.01)
        await connection.close()

    peer = server(script)
    asyncio.run(main())
    assert answered == [True]


# ---- cancellation ----


def canceled_soon(wait):
    """wait() inside a cancellation that another thread fires: it must end at once with CanceledError, which is given."""
    cancellation = wscengine.Cancellation()
    timer = threading.Timer(0.1, cancellation.cancel)
    timer.start()
    began = time.monotonic()
    with cancellation, pytest.raises(wscengine.Error) as caught:
        wait()
    timer.join()
    assert cancellation.canceled and 0.05 < time.monotonic() - began < PATIENCE
    error = caught.value.__cause__ if isinstance(caught.value, wscengine.StartError) else caught.value
    assert isinstance(error, wscengine.CanceledError), error
    return cancellation


def test_a_cancellation_ends_every_wait_of_its_thread_and_nothing_else(server, silent):
    pinged, deaf = threading.Event(), threading.Event()

    def script(connection):
        deaf.wait(PATIENCE)

    echo = server()
    with wscengine.Engine(echo.url) as engine:
        with engine.paused():
            canceled_soon(engine.session.read)
        canceled_soon(engine.wait)
        canceled_soon(lambda: next(iter(engine)))
        canceled_soon(lambda: engine.request("x", lambda message: False))
        cancellation = wscengine.Cancellation()
        cancellation.cancel()
        with cancellation:
            with pytest.raises(wscengine.CanceledError):
                engine.ping()
            with wscengine.Cancellation():  # the innermost counts
                engine.ping()
            engine.send("there is room")
            other = threading.Thread(target=lambda: (engine.ping(), pinged.set()))
            other.start()
            other.join(PATIENCE)
        assert pinged.is_set() and engine.ping() > 0
    full = server(script, close_timeout=0.1)
    with wscengine.Connection(full.url, send_queue_bytes=1 << 16, close_timeout=0.1) as connection:
        canceled_soon(lambda: connection.send_many([b"x" * 100_000] * 1000))
        deaf.set()
    engine = wscengine.Engine(silent)
    canceled_soon(engine.start)
    assert engine.state == wscengine.State.STOPPED
    canceled_soon(wscengine.Connection(silent).connect)


def test_a_stop_that_is_canceled_goes_on_stopping(server):
    busy = threading.Event()

    class Busy(wscengine.Client):
        def on_message(self, session, message):
            busy.wait(PATIENCE)

    def script(connection):
        two_messages(connection)
        drain(connection)

    engine = wscengine.Engine(server(script).url, Busy())
    engine.start()
    until(lambda: engine.stats.messages_received == 2)
    canceled_soon(engine.stop)
    assert engine.state == wscengine.State.STOPPING
    busy.set()
    engine.stop()
    assert engine.state == wscengine.State.STOPPED
