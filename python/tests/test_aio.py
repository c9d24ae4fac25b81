"""wscengine.aio.Engine against a real server, under asyncio and under uvloop."""

import asyncio
import contextlib
import functools
import gc
import os
import ssl
import sys
import threading

import pytest
import uvloop
import wscengine
from aiohttp import WSMsgType, web
from conftest import drain, no_more_than, resident
from wscengine import aio
from wscengine._abi import EventType

PATIENCE = 20


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine to its end; never longer than PATIENCE."""

    def start(coroutine):
        limited = asyncio.wait_for(coroutine, PATIENCE)
        return asyncio.run(limited) if request.param == "asyncio" else uvloop.run(limited)

    return start


class Recorder(wscengine.Client):
    def __init__(self):
        self.messages = []

    def on_message(self, session, message):
        self.messages.append(message)


async def until(condition):
    while not condition():
        await asyncio.sleep(0.002)


def test_plain_callbacks(server, run):
    client, sent = Recorder(), [m for i in range(2000) for m in (f"ä {i}", b"%d" % i)]

    async def main():
        async with aio.Engine(echo.url, client) as engine:
            await engine.send_many(sent)
            await until(lambda: len(client.messages) == len(sent))
            assert await engine.ping() > 0

    echo = server()
    run(main())
    assert client.messages == sent


def test_plain_callbacks_send_without_awaiting(server, run):
    class Client(Recorder):
        def on_open(self, session, response, restarting):
            session.send_nowait("0")

        def on_message(self, session, message):
            super().on_message(session, message)
            if len(self.messages) < 5:
                session.send_nowait(str(len(self.messages)))

    def stuck(connection):
        release.wait(PATIENCE)
        drain(connection)

    client, release = Client(), threading.Event()

    async def main(url, deaf):
        async with aio.Engine(url, client) as engine:
            await until(lambda: len(client.messages) == 5)
            with pytest.raises(TypeError):
                engine.session.send_nowait(5)
        async with aio.Connection(deaf, send_queue_bytes=100_000) as connection:
            with pytest.raises(wscengine.QueueFullError):
                for _ in range(1000):
                    connection.send_nowait(b"x" * 50_000)
            release.set()

    run(main(server().url, server(stuck).url))
    assert client.messages == ["0", "1", "2", "3", "4"]


def test_callbacks_that_are_coroutines_are_awaited_one_after_another(server, run):
    running, seen = [], []

    class Slow(wscengine.Client):
        async def on_open(self, session, response, restarting):
            await session.send("first")
            assert await session.read(PATIENCE) == "first"

        async def on_message(self, session, message):
            running.append(message)
            await asyncio.sleep(0.001)
            assert running == [message]
            running.clear()
            seen.append(message)

        async def on_close(self, session, close):
            await asyncio.sleep(0.001)
            assert running == []
            return 4001, "enough"

    async def main():
        async with aio.Engine(echo.url, Slow()) as engine:
            await engine.send_many([str(i) for i in range(50)])
            await until(lambda: len(seen) == 50)

    echo = server()
    run(main())
    assert seen == [str(i) for i in range(50)]


@pytest.mark.parametrize("kind", ["decorated", "object"])
def test_what_only_looks_like_a_plain_callback_is_awaited(server, run, kind):
    seen = []

    def decorated(function):
        return functools.wraps(function)(lambda *arguments: function(*arguments))

    class Decorated(wscengine.Client):
        @decorated
        async def on_message(self, session, message):
            await asyncio.sleep(0)
            seen.append(message)

    class Object:
        async def __call__(self, session, message):
            await asyncio.sleep(0)
            seen.append(message)

    class Holder(wscengine.Client):
        on_message = Object()

    async def main():
        async with aio.Engine(echo.url, Decorated() if kind == "decorated" else Holder()) as engine:
            await engine.send("x")
            await until(lambda: seen)

    echo = server()
    run(main())


def test_bulk_and_raw_text(server, run):
    lists = []

    class Bulk(wscengine.Client):
        async def on_messages(self, session, messages):
            lists.append(messages)

    async def main():
        async with aio.Engine(echo.url, Bulk(), raw_text=True) as engine:
            await engine.send_many(["ä"] * 3000)
            await until(lambda: sum(map(len, lists)) == 3000)

    echo = server()
    run(main())
    assert {m for messages in lists for m in messages} == {"ä".encode()} and len(lists) < 3000


def test_iteration_across_reconnects(server, run):
    feed, seen = server(lambda c: (c.send(f"session {len(feed.paths)}"), c.close(1012))), []

    async def main():
        engine = aio.Engine(feed.url, stable_after=0)
        await engine.start()
        async for message in engine:
            seen.append(message)
            if len(seen) == 3:
                engine.exit()

    run(main())
    assert seen == ["session 1", "session 2", "session 3"]


def test_iteration_raises_when_the_engine_gave_up(server, run):
    async def main():
        engine = aio.Engine(feed.url, auto_reconnect=False)
        await engine.start()
        return [message async for message in engine]

    feed = server(lambda connection: connection.send("last"))
    with pytest.raises(wscengine.ClosedError):
        run(main())


def test_who_does_not_iterate_loses_nothing(server, run):
    sent = [str(i) for i in range(20_000)]

    async def main():
        seen = []
        async with aio.Engine(echo.url) as engine:
            await engine.send_many(sent)
            async for message in engine:
                seen.append(message)
                if len(seen) == len(sent):
                    return seen

    echo = server()
    assert run(main()) == sent


def test_requests_at_once(server, run):
    def script(connection):
        for message in connection:
            connection.send("news")
            connection.send(f"reply to {message}")

    client = Recorder()

    async def main():
        async with aio.Engine(feed.url, client) as engine:
            asked = [engine.request(str(i), lambda m, i=i: m == f"reply to {i}", PATIENCE) for i in range(20)]
            replies = await asyncio.gather(*asked)
            with pytest.raises(wscengine.TimeoutError):
                await engine.request("x", lambda m: False, 0.05)
            return replies

    feed = server(script)
    assert run(main()) == [f"reply to {i}" for i in range(20)]
    assert client.messages.count("news") == len(client.messages) - 1


def test_many_engines_share_one_loop_and_no_thread(server, run):
    clients = [Recorder() for _ in range(100)]

    async def main():
        before = threading.active_count(), len(os.listdir("/proc/self/task"))
        async with contextlib.AsyncExitStack() as stack:
            engines = [aio.Engine(echo.url, client) for client in clients]
            await asyncio.gather(*(stack.enter_async_context(engine) for engine in engines))
            await asyncio.gather(*(engine.send("x") for engine in engines))
            await until(lambda: all(client.messages == ["x"] for client in clients))
            server_threads = threading.active_count() - before[0]
            assert len(os.listdir("/proc/self/task")) - before[1] - server_threads <= 2

    echo = server()
    run(main())


def test_cancellation_ends_a_start_and_nothing_goes_on(run):
    import socket

    async def main(port):
        engine = aio.Engine(f"ws://127.0.0.1:{port}/")
        task = asyncio.create_task(engine.start())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engine.state == wscengine.State.STOPPED
        with pytest.raises(wscengine.StartError) as raised:
            await engine.start(timeout=0.1)
        assert isinstance(raised.value.__cause__, TimeoutError)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        run(main(silent.getsockname()[1]))


async def cancelled_at_its_end(home, coroutine):
    """A task that is cancelled when what it waits for has just ended well, before its next step."""
    task = asyncio.get_running_loop().create_task(coroutine)
    handle = home.handle

    def handled(ev):
        ended = ev.type == EventType.OP_DONE
        handle(ev)
        if ended:
            del home.handle
            task.cancel()

    home.handle = handled
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_cancellation_right_behind_the_end_loses_no_message(server, run):
    async def main():
        async with aio.Connection(echo.url) as connection:
            await connection.send_many(["1", "2"])
            await cancelled_at_its_end(connection.loop, connection.read())
            assert [await connection.read(), await connection.read()] == ["1", "2"]

    echo = server()
    run(main())


def test_a_cancellation_right_behind_the_end_leaves_no_pause_run_or_connection(server, run):
    client = Recorder()

    async def main():
        engine = aio.Engine(echo.url, client)
        await cancelled_at_its_end(engine._home, engine.start())
        await until(lambda: engine.state == wscengine.State.STOPPED)
        async with engine:
            await cancelled_at_its_end(engine._home, engine.paused().__aenter__())
            await engine.send("x")
            await until(lambda: client.messages)
        connection = aio.Connection(echo.url)
        await cancelled_at_its_end(connection.loop, connection.connect())
        await until(lambda: connection.closed)

    echo = server()
    run(main())


def test_memoryviews_outlive_the_engine_and_await_their_callbacks(server, run):
    kept = []

    class Views(wscengine.Client):
        async def on_message(self, session, message):
            await asyncio.sleep(0)
            kept.append(message)

    async def main(url):
        async with aio.Engine(url, Views(), memoryviews=True) as engine:
            await engine.send_many(["one", b"two", b""])
            while len(kept) < 3:
                await asyncio.sleep(0.002)

    run(main(server().url))
    gc.collect()
    assert [bytes(view) for view in kept] == [b"one", b"two", b""] and all(view.readonly for view in kept)


@pytest.mark.parametrize("kind", ["bulk", "iteration"])
def test_memoryviews_are_also_what_lists_and_iteration_give(server, run, kind):
    class Bulk(wscengine.Client):
        def on_messages(self, session, messages):
            seen.extend(messages)

    sent, seen = [str(i) for i in range(5000)], []

    async def main():
        async with aio.Engine(echo.url, Bulk() if kind == "bulk" else None, memoryviews=True) as engine:
            await engine.send_many(sent)
            if kind == "iteration":
                async for view in engine:
                    seen.append(view)
                    if len(seen) == len(sent):
                        break
            await until(lambda: len(seen) == len(sent))

    echo = server()
    run(main())
    assert [bytes(view).decode() for view in seen] == sent and isinstance(seen[0], memoryview)
    seen.clear()


def test_exceptions_keep_their_identity_and_follow_the_policy(server, run, caplog):
    mine = KeyError("mine")

    class Refuser(wscengine.Client):
        async def on_open(self, session, response, restarting):
            raise mine

    class Raiser(wscengine.Client):
        async def on_message(self, session, message):
            raise mine

    async def main():
        with pytest.raises(wscengine.StartError) as raised:
            await aio.Engine(echo.url, Refuser()).start()
        assert raised.value.__cause__ is mine
        engine = aio.Engine(echo.url, Raiser(), callback_errors="stop")
        await engine.start()
        await engine.send("x")
        with pytest.raises(KeyError):
            await engine.wait()

    echo = server()
    run(main())
    mine.__traceback__ = None
    caplog.clear()


def test_a_reply_that_came_before_the_close_is_the_reply(server, run):
    class Slow(Recorder):
        async def on_message(self, session, message):
            await until(lambda: session.closed)
            await asyncio.sleep(0.3)  # more than the time between two looks of request()
            super().on_message(session, message)

    def script(connection):
        connection.recv()
        connection.send("news")
        connection.send('{"id": 1}')
        connection.close()

    async def main():
        async with aio.Engine(echo.url, client) as engine:
            assert await engine.request("go", 1, timeout=PATIENCE) == '{"id": 1}'

    echo, client = server(script), Slow()
    run(main())
    assert client.messages == ["news"]


def test_verbs_inside_callbacks(server, run):
    said = []

    class Client(wscengine.Client):
        async def on_message(self, session, message):
            for verb in (self.engine.start, self.engine.wait, lambda: self.engine.request("x", bool)):
                with contextlib.suppress(wscengine.InCallbackError):
                    await verb()
                    said.append(verb)
            await self.engine.stop()

    async def main():
        client = Client()
        client.engine = aio.Engine(echo.url, client)
        await client.engine.start()
        await client.engine.send("x")
        assert await client.engine.wait() == wscengine.StopReason.BY_EXIT
        del client.engine

    echo = server()
    run(main())
    assert said == []


@pytest.mark.parametrize("awaited", [False, True])
def test_a_task_that_outlives_the_callback_that_made_it_is_not_inside_it(server, run, awaited):
    class Client(wscengine.Client):
        def on_open(self, session, response, restarting):
            if not awaited:
                self.task = asyncio.create_task(self.work())

        async def on_message(self, session, message):
            await asyncio.sleep(0)
            self.task = asyncio.create_task(self.work())

        async def work(self):
            await asyncio.sleep(0)
            assert await self.engine.request('{"id": 1}', 1, timeout=PATIENCE)
            await self.engine.stop()
            return self.engine.state, await self.engine.wait()

    async def main():
        client, client.task = Client(), None
        client.engine = aio.Engine(echo.url, client)
        await client.engine.start()
        if awaited:
            await client.engine.send("go")
        await until(lambda: client.task)
        assert await client.task == (wscengine.State.STOPPED, wscengine.StopReason.BY_STOP)
        del client.engine, client.task

    echo = server()
    run(main())


def test_a_callback_that_never_returns_does_not_stop_keepalive(server, run, caplog):
    pongs = []

    class Stuck(wscengine.Client):
        async def on_message(self, session, message):
            await asyncio.Event().wait()

    def script(connection):
        connection.send("x")
        for _ in range(3):
            pongs.append(connection.ping().wait(PATIENCE))
        connection.recv()

    async def main():
        engine = aio.Engine(feed.url, Stuck(), callback_grace=0.1, auto_reconnect=False)
        await engine.start()
        await until(lambda: len(pongs) == 3)
        with contextlib.suppress(wscengine.TimeoutError):
            await engine.stop(0.5)
        for task in list(engine._tasks):
            task.cancel()
        await engine.stop()

    feed = server(script)
    run(main())
    assert pongs == [True] * 3
    caplog.clear()  # its records hold tracebacks, which hold the engine


def test_a_callback_that_raises_cancelled_error_has_failed_and_the_next_is_called(server, run, caplog):
    class Client(Recorder):
        async def on_message(self, session, message):
            super().on_message(session, message)
            raise asyncio.CancelledError

    async def main(client):
        async with aio.Engine(echo.url, client) as engine:
            await engine.send_many(["1", "2"])
            await until(lambda: len(client.messages) == 2)

    echo = server()
    run(main(Client()))
    assert any(r.exc_info and r.exc_info[0] is asyncio.CancelledError for r in caplog.records)
    caplog.clear()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a task cannot say that it was cancelled")
def test_the_end_of_the_event_loop_waits_for_no_further_callback(server, run, caplog):
    """All tasks are cancelled then, once."""

    class Client(Recorder):
        async def on_message(self, session, message):
            super().on_message(session, message)
            await asyncio.sleep(3600)

    async def main(client):
        engine = aio.Engine(echo.url, client)
        await engine.start()
        await engine.send_many(["1", "2", "3"])
        await until(lambda: client.messages)
        (callback,) = engine._tasks
        callback.cancel()
        await asyncio.wait([callback], timeout=5)
        await until(lambda: callback.done() and engine.state == wscengine.State.STOPPED)

    echo, client = server(), Client()
    run(main(client))
    assert client.messages == ["1"]
    assert not [r for r in caplog.records if r.exc_info]


def test_pings_are_answered_while_the_event_loop_is_blocked(server, run):
    import time

    pongs = []

    def script(connection):
        connection.recv()
        pongs.extend(connection.ping().wait(PATIENCE) for _ in range(2))

    async def main():
        async with aio.Engine(feed.url, Recorder(), auto_reconnect=False) as engine:
            await engine.send("go")
            end = time.monotonic() + PATIENCE
            while len(pongs) < 2 and time.monotonic() < end:
                time.sleep(0.01)  # on purpose: nobody else runs here

    feed = server(script)
    run(main())
    assert pongs == [True] * 2


# ---- runs, loops, servers ----


def test_a_thousand_runs_leave_nothing(server, run):
    async def main(url):
        engine = aio.Engine(url)

        async def runs(times):
            for _ in range(times):
                async with engine:
                    await engine.send("x")

        await runs(200)  # what stays of the first ones is no leak
        before = resident()
        await runs(1000)
        assert no_more_than(before)

    run(main(server(drain).url))


def test_another_event_loop_than_its_own_is_refused(server, run):
    made = []

    async def make(url):
        made.append(aio.Engine(url))
        await made[0].start()
        await made[0].stop()

    async def use(verb):
        with pytest.raises(wscengine.StateError, match="another event loop"):
            await verb()

    run(make(server().url))
    for verb in (made[0].start, made[0].wait):
        run(use(verb))
    made.clear()


def test_what_is_asked_from_another_thread(server, run):
    """Numbers, state, exit and restart are for any thread; what is awaited is for the event loop's own."""

    async def main(url):
        engine = aio.Engine(url)
        await engine.start()
        seen = []

        def elsewhere():
            seen.append((engine.state, engine.stats.sessions))
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            engine.exit()

        await asyncio.to_thread(elsewhere)
        assert await engine.wait() == wscengine.StopReason.BY_EXIT
        assert seen == [(wscengine.State.OPEN, 1)]

    run(main(server().url))


def test_an_aiohttp_server_by_tls(run, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    async def echo(request):
        socket = web.WebSocketResponse(protocols=["v2"])
        await socket.prepare(request)
        async for message in socket:
            await (socket.send_str if message.type == WSMsgType.TEXT else socket.send_bytes)(message.data)
        return socket

    async def main():
        app = web.Application()
        app.router.add_get("/feed", echo)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        url = f"wss://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/feed"
        got, sent = [], ["tü", b"\0" * 100_000, "x" * 70_000]
        async with aio.Engine(url, ca_file=certificate[0], subprotocols=["v1", "v2"], compression=True) as engine:
            assert engine.session.subprotocol == "v2"
            await engine.send_many(sent)
            async for message in engine:
                got.append(message)
                if len(got) == len(sent):
                    engine.exit()
        await runner.cleanup()
        assert got == sent

    run(main())
