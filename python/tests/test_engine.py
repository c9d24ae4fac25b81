"""wscengine.Engine against a real server: what the conformance suite does not ask, since only Python has it."""

import gc
import logging
import math
import ssl
import threading
import time

import pytest
import wscengine
from conftest import PATIENCE, drain, no_more_than, resident, until


class Recorder(wscengine.Client):
    def __init__(self):
        self.messages, self.calls = [], []

    def on_message(self, session, message):
        self.messages.append(message)

    def on_close(self, session, close):
        self.calls.append(("close", close))

    def on_stopped(self, engine, reason, error):
        self.calls.append(("stopped", reason))


# ---- options ----


def test_wrong_names_and_types_raise_all_at_once():
    with pytest.raises(TypeError) as raised:
        wscengine.Engine("ws://host/", ping_intervall=3, max_attempts="x", headers="Name: value")
    said = str(raised.value)
    assert "no option 'ping_intervall'" in said and "max_attempts is a number, not 'x'" in said and "headers" in said


def test_wrong_values_raise_all_at_once_by_their_python_names():
    with pytest.raises(wscengine.InvalidError) as raised:
        wscengine.Engine("ws://host/", ping_interval=-3, max_attempts=-1)
    assert "ping_interval is -3000 ms" in str(raised.value) and "max_attempts is -1" in str(raised.value)
    with pytest.raises(wscengine.InvalidError, match="scheme"):
        wscengine.Engine("http://host/")


def test_only_a_time_of_zero_is_no_limit(server):
    with pytest.raises(wscengine.InvalidError, match="ping_interval is -1 ms"):
        wscengine.Engine("ws://host/", ping_interval=-0.0001)
    with wscengine.Engine(server(drain).url, Recorder(), data_idle_timeout=0.0001) as engine:
        until(lambda: engine.stats.reconnects_by_timeout)


def test_none_is_an_options_default(server):
    with wscengine.Engine(server(drain).url, Recorder(), reader_count=None, log_level=None, ping_interval=None):
        pass


def test_a_nul_in_what_the_library_is_told_raises(server):
    class Changer(wscengine.Client):
        def before_attempt(self, engine, attempt):
            for change in (
                lambda: attempt.set_url("ws://host/\0x"),
                lambda: attempt.add_header("X-Key", "a\0b"),
                lambda: attempt.add_subprotocol("v\0"),
            ):
                with pytest.raises(wscengine.InvalidError, match="NUL"):
                    change()

    for make in (wscengine.Engine, wscengine.Connection):
        with pytest.raises(wscengine.InvalidError, match="NUL"):
            make("ws://host/feed\0?token=x")
    with wscengine.Engine(server(drain).url, Changer()) as engine, pytest.raises(wscengine.InvalidError, match="NUL"):
        engine.session.close(1000, "bye\0")


@pytest.mark.parametrize("endless", [math.inf, threading.TIMEOUT_MAX, 1e300])
def test_a_timeout_without_end_is_none(server, endless):
    engine = wscengine.Engine(server().url, Recorder())
    engine.start(endless)
    assert engine.ping(endless) > 0
    assert engine.request('{"id": 1}', 1, endless)
    with engine.paused(endless):
        pass
    for use in (lambda: engine.ping(math.nan), lambda: engine.request("x", bool, math.nan)):
        with pytest.raises(wscengine.InvalidError, match="nan"):
            use()
    engine.stop(endless)


def test_every_option_is_described():
    described = wscengine.options.describe()
    assert (
        "ping_interval=20.0: " in described and "reader_count=1: " in described and "auto_reconnect=True: " in described
    )


def test_headers_and_cookies_may_be_dicts(server):
    seen = []

    def script(connection):
        seen.append((connection.request.headers["X-Key"], connection.request.headers["Cookie"]))

    echo = server(script)
    options = {"headers": {"X-Key": "value"}, "cookies": {"a": "b"}, "auto_reconnect": False}
    with wscengine.Engine(echo.url, Recorder(), **options):
        until(lambda: seen)
    assert seen == [("value", "a=b")]


# ---- messages ----


@pytest.mark.parametrize("count", [1, 3000])
def test_text_is_str_and_binary_is_bytes(server, count):
    sent = [m for i in range(count) for m in (f"text ä {i}", b"\x00\xff%d" % i, "", b"")]
    client = Recorder()
    with wscengine.Engine(server().url, client) as engine:
        engine.send_many(sent)
        until(lambda: len(client.messages) == len(sent))
    assert client.messages == sent


def test_raw_text_is_bytes(server):
    client = Recorder()
    with wscengine.Engine(server().url, client, raw_text=True) as engine:
        engine.send("ä")
        until(lambda: client.messages)
    assert client.messages == ["ä".encode()]


def test_bulk_gives_what_came_together_in_order(server):
    class Bulk(wscengine.Client):
        def __init__(self):
            self.lists = []

        def on_messages(self, session, messages):
            self.lists.append(messages)

    client, sent = Bulk(), [str(i) for i in range(5000)]
    with wscengine.Engine(server().url, client) as engine:
        engine.send_many(sent)
        until(lambda: sum(map(len, client.lists)) == len(sent))
    assert [m for messages in client.lists for m in messages] == sent
    assert len(client.lists) < len(sent)


def test_memoryviews_outlive_the_engine_and_are_read_only(server):
    client, sent = Recorder(), [b"%d" % i * 50 for i in range(300)]
    engine = wscengine.Engine(server().url, client, memoryviews=True)
    with engine:
        engine.send_many(sent)
        until(lambda: len(client.messages) == len(sent))
    del engine
    gc.collect()
    assert [bytes(view) for view in client.messages] == sent
    assert client.messages[0].readonly
    client.messages.clear()


@pytest.mark.parametrize("kind", ["bulk", "iteration"])
def test_memoryviews_are_also_what_lists_and_iteration_give(server, kind):
    class Bulk(wscengine.Client):
        def on_messages(self, session, messages):
            seen.extend(messages)

    sent, seen = [str(i) for i in range(5000)], []
    with wscengine.Engine(server().url, Bulk() if kind == "bulk" else None, memoryviews=True) as engine:
        engine.send_many(sent)
        if kind == "iteration":
            seen += [view for _, view in zip(sent, engine, strict=False)]
        until(lambda: len(seen) == len(sent))
    assert [bytes(view).decode() for view in seen] == sent and isinstance(seen[0], memoryview)
    seen.clear()


@pytest.mark.parametrize("kind", ["bulk", "iteration"])
@pytest.mark.parametrize("views", [False, True])
def test_several_readers_keep_together_what_came_together(server, kind, views):
    class Bulk(wscengine.Client):
        def on_messages(self, session, messages):
            calls.append([int(bytes(message)) for message in messages])

    def flood(connection):
        connection.recv()
        connection.socket.sendall(b"".join(b"\x82\x04%04d" % i for i in range(3000)))
        drain(connection)

    calls, options = [], {"reader_count": 3, "memoryviews": views}
    with wscengine.Engine(server(flood).url, Bulk() if kind == "bulk" else None, **options) as engine:
        engine.send("go")
        if kind == "iteration":
            calls.append([int(bytes(message)) for _, message in zip(range(3000), engine, strict=False)])
        until(lambda: sum(map(len, calls)) == 3000)
    assert all(call == list(range(call[0], call[0] + len(call))) for call in calls)
    assert len(calls) < 1000


@pytest.mark.parametrize("views", [False, True])
@pytest.mark.parametrize("size", [10, 1000])
def test_a_read_inside_a_callback_takes_the_next_message(server, views, size):
    sent = [b"%04d" % i + b"x" * (size - 4) for i in range(30)]
    got = []

    class Reader(wscengine.Client):
        def on_message(self, session, message):
            until(lambda: engine.stats.messages_received == len(sent))  # so that it stands in the middle of a batch
            got.append(message)
            if len(got) % 5 == 3:
                got.append(session.read(PATIENCE))

    with wscengine.Engine(server().url, Reader(), memoryviews=views) as engine:
        engine.send_many(sent)
        until(lambda: len(got) == len(sent))
    assert [bytes(m) for m in got] == sent


def test_what_is_no_message_is_refused(server):
    with wscengine.Engine(server().url, Recorder()) as engine:
        for wrong in (None, 3, ["x"], object()):
            with pytest.raises(TypeError, match="str"):
                engine.send(wrong)
            with pytest.raises(TypeError):
                engine.send_many(["good", wrong])
        with pytest.raises(UnicodeEncodeError):
            engine.send("\ud800")
        with pytest.raises(UnicodeEncodeError):
            engine.send_many(["good", "\ud800"])
        assert engine.stats.messages_sent == 0
        engine.send(bytearray(b"x"))
        engine.send(memoryview(b"x"))
        engine.send_many([bytearray(b"x"), memoryview(b"xyz")[::2]])
        engine.send_many([])
        assert (engine.stats.messages_sent, engine.stats.bytes_sent) == (4, 5)
    for send in (lambda: engine.send("x"), lambda: engine.send_many(["x"])):
        with pytest.raises(wscengine.ClosedError):
            send()


def test_send_many_waits_for_room_and_keeps_the_order(server):
    """From two threads at once, into a queue that holds a few of them."""
    client, count = Recorder(), 3000
    with wscengine.Engine(server().url, client, send_queue_bytes=1 << 12) as engine:
        parts = [[f"{part} {i} {'x' * (i % 300)}" for i in range(count)] for part in range(2)]
        threads = [threading.Thread(target=engine.send_many, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: len(client.messages) == 2 * count)
    assert [[m for m in client.messages if m.startswith(f"{part} ")] for part in range(2)] == parts


def test_send_many_obeys_its_timeout(server):
    deaf = threading.Event()
    full = server(lambda _: deaf.wait(PATIENCE), close_timeout=0.1)
    with wscengine.Engine(full.url, send_queue_bytes=1 << 16, close_timeout=0.1) as engine:
        began = time.monotonic()
        with pytest.raises(wscengine.TimeoutError):
            engine.send_many([b"x" * 50_000] * 1000, timeout=0.3)
        assert 0.25 < time.monotonic() - began < PATIENCE
        with pytest.raises(wscengine.QueueFullError):
            engine.send_many([b"x" * 50_000] * 1000, timeout=0)
        deaf.set()


def test_a_hundred_megabytes(server):
    client = Recorder()
    echo = server(max_size=None)
    with wscengine.Engine(echo.url, client, max_message_bytes=2**28, send_queue_bytes=2**28) as engine:
        engine.send(b"x" * 100_000_000)
        until(lambda: client.messages)
    assert len(client.messages[0]) == 100_000_000
    client.messages.clear()
    echo.got.clear()


# ---- iteration, requests, pauses ----


def test_iteration_goes_on_across_reconnects_and_ends_with_the_run(server):
    def script(connection):
        connection.send(f"session {len(feed.paths)}")
        connection.close(1012)

    feed, seen = server(script), []
    engine = wscengine.Engine(feed.url, stable_after=0)
    engine.start()
    for message in engine:
        seen.append(message)
        if len(seen) == 3:
            engine.exit()
    assert seen == ["session 1", "session 2", "session 3"]


def test_iteration_raises_when_the_engine_gave_up(server):
    feed = server(lambda connection: connection.send("last"))
    engine = wscengine.Engine(feed.url, auto_reconnect=False)
    engine.start()
    seen = []
    with pytest.raises(wscengine.ClosedError):
        for message in engine:
            seen.append(message)
    assert seen == ["last"]


def test_iteration_and_callbacks_do_not_share(server):
    with wscengine.Engine(server().url, Recorder()) as engine, pytest.raises(TypeError, match="on_message"):
        next(iter(engine))


def test_who_does_not_iterate_loses_nothing(server):
    """Far more than the buffer of the iteration holds: the rest waits in the core."""
    sent = [str(i) for i in range(20_000)]
    with wscengine.Engine(server().url) as engine:
        engine.send_many(sent)
        seen = []
        for message in engine:
            seen.append(message)
            if len(seen) == len(sent):
                break
    assert seen == sent


def test_request_finds_its_reply_and_on_message_the_rest(server):
    def script(connection):
        for message in connection:
            connection.send("news")
            connection.send(f"reply to {message}")

    client = Recorder()
    with wscengine.Engine(server(script).url, client) as engine:
        replies = [engine.request(str(i), lambda m, i=i: m == f"reply to {i}", timeout=PATIENCE) for i in range(50)]
        assert replies == [f"reply to {i}" for i in range(50)]
        with pytest.raises(wscengine.TimeoutError, match="no matching reply"):
            engine.request("x", lambda m: False, timeout=0.1)
    assert client.messages == ["news"] * 51 + ["reply to x"]


def test_a_reply_is_found_by_its_id(server):
    def script(connection):
        asked = connection.recv()
        for answer in ("[1]", "no JSON", b"\xff", '{"id": "7"}', '{"id": 7, "result": true}'):
            connection.send(answer)
        connection.recv()
        connection.send(b'{"id": "b", "of": 8}')
        assert asked == '{"id": 7}'
        drain(connection)

    client = Recorder()
    with wscengine.Engine(server(script).url, client) as engine:
        assert engine.request('{"id": 7}', 7, timeout=5) == '{"id": 7, "result": true}'
        assert engine.request('{"id": "b"}', "b", timeout=5) == b'{"id": "b", "of": 8}'
        assert client.messages == ["[1]", "no JSON", b"\xff", '{"id": "7"}']


def test_a_reply_is_found_by_its_id_among_memoryviews_and_what_no_parser_takes(server):
    client = Recorder()
    with wscengine.Engine(server().url, client, memoryviews=True) as engine:
        engine.send("[" * 100_000)
        assert bytes(engine.request('{"id": 7}', 7, timeout=PATIENCE)) == b'{"id": 7}'
        until(lambda: client.messages)
        client.messages.clear()


def test_a_reply_that_came_before_the_close_is_the_reply(server):
    """Also where callbacks are slow, and the end is known before the reply is delivered."""

    class Slow(Recorder):
        def on_message(self, session, message):
            until(lambda: session.closed)
            time.sleep(0.3)  # more than the time between two looks of request()
            super().on_message(session, message)

    def script(connection):
        connection.recv()
        connection.send("news")
        connection.send('{"id": 1}')
        connection.close()

    client = Slow()
    with wscengine.Engine(server(script).url, client) as engine:
        assert engine.request("go", 1, timeout=PATIENCE) == '{"id": 1}'
    with wscengine.Engine(server(lambda connection: connection.recv()).url) as engine:
        with pytest.raises(wscengine.ClosedError, match="has ended"):
            engine.request("go", 1, timeout=PATIENCE)
    assert client.messages == ["news"]


@pytest.mark.parametrize("kind", ["each", "bulk", "iteration"])
def test_a_match_that_raises_costs_no_message(server, kind, caplog):
    class Bulk(wscengine.Client):
        def on_messages(self, session, messages):
            seen.extend(messages)

    def script(connection):
        connection.recv()
        for message in ("1", b"no str", "2", "ok", "3"):
            connection.send(message)
        drain(connection)

    client = {"each": Recorder(), "bulk": Bulk(), "iteration": None}[kind]
    seen = getattr(client, "messages", [])
    with wscengine.Engine(server(script).url, client) as engine:
        assert engine.request("go", lambda message: message.startswith("ok"), timeout=PATIENCE) == "ok"
        if kind == "iteration":
            seen += [message for _, message in zip(range(4), engine, strict=False)]
        until(lambda: len(seen) == 4)
    assert seen == ["1", b"no str", "2", "3"]
    assert any(r.exc_info and r.exc_info[0] is TypeError for r in caplog.records)
    caplog.clear()


def test_request_in_a_callback_is_refused(server):
    class Asker(Recorder):
        def on_message(self, session, message):
            try:
                self.engine.request("x", bool)
            except wscengine.InCallbackError as error:
                self.messages.append(error)

    client = Asker()
    with wscengine.Engine(server().url, client) as client.engine:
        client.engine.send("go")
        until(lambda: client.messages)
    del client.engine


def test_a_pause_reads_by_itself(server):
    client = Recorder()
    with wscengine.Engine(server().url, client) as engine:
        with engine.paused(), engine.paused():
            engine.send("one")
            engine.send(b"two")
            assert engine.session.read(PATIENCE) == "one"
            assert engine.session.read(PATIENCE) == b"two"
            with pytest.raises(wscengine.TimeoutError):
                engine.session.read(0.05)
        engine.send("three")
        until(lambda: client.messages)
        assert client.messages == ["three"]
        with pytest.raises(wscengine.StateError):
            engine.session.read(0)


def test_corked_messages_leave_together(server):
    echo, client = server(), Recorder()
    with wscengine.Engine(echo.url, client) as engine:
        with engine.session.corked() as session:
            for i in range(10):
                session.send(str(i))
        until(lambda: len(client.messages) == 10)


# ---- errors ----


class Mine(Exception):
    pass


def test_what_on_open_raised_is_the_cause_of_the_start_error(server):
    mine = Mine("no")

    class Refuser(wscengine.Client):
        def on_open(self, session, response, restarting):
            raise mine

    engine = wscengine.Engine(server().url, Refuser())
    with pytest.raises(wscengine.StartError) as raised:
        engine.start()
    assert raised.value.__cause__ is mine
    assert engine.state == wscengine.State.STOPPED
    mine.__traceback__ = None


def test_causes_of_starts_keep_their_class():
    with pytest.raises(wscengine.StartError) as raised:
        wscengine.Engine("ws://127.0.0.1:1/").start()
    assert isinstance(raised.value.__cause__, (wscengine.NetworkError, ConnectionError))
    assert raised.value.__cause__.os_error


@pytest.mark.parametrize("policy", ["continue", "close", "stop"])
def test_an_exception_in_a_callback_is_logged_and_follows_the_policy(server, caplog, policy):
    class Raiser(Recorder):
        def on_message(self, session, message):
            super().on_message(session, message)
            if message == "bad":
                raise Mine(message)

    codes = []

    def script(connection):
        connection.send("bad")
        connection.send("good")
        drain(connection)
        codes.append(connection.protocol.close_rcvd.code)

    client = Raiser()
    engine = wscengine.Engine(server(script).url, client, callback_errors=policy, stable_after=0)
    engine.start()
    if policy == "stop":
        with pytest.raises(Mine):
            engine.wait(PATIENCE)
        assert "good" not in client.messages
    else:
        until(lambda: "good" in client.messages and (policy == "continue" or codes))
        assert codes == [] if policy == "continue" else codes[0] == 1011
        engine.stop()
    records = [r for r in caplog.records if r.exc_info and r.exc_info[0] is Mine]
    assert records and records[0].name == "wscengine" and records[0].levelno == logging.ERROR
    engine._interrupt = None
    caplog.clear()


@pytest.mark.parametrize("level", [logging.ERROR, logging.DEBUG])
def test_a_log_handler_that_raises_holds_nothing_up(server, level, capsys):
    class Raiser(Recorder):
        def on_message(self, session, message):
            super().on_message(session, message)
            raise Mine

    class Handler(logging.Handler):
        def emit(self, record):
            raise ValueError("the handler")

    log, handler, client = logging.getLogger("wscengine"), Handler(), Raiser()
    log.addHandler(handler)
    log.setLevel(level)
    log.propagate = False
    try:
        with wscengine.Engine(server().url, client, stop_timeout=PATIENCE) as engine:
            engine.send_many(["1", "2", "3"])
            until(lambda: client.messages == ["1", "2", "3"])
    finally:
        log.propagate = True
        log.setLevel(logging.NOTSET)
        log.removeHandler(handler)
    assert "the handler" in capsys.readouterr().err


def test_the_library_logs_under_its_own_logger(server, caplog):
    caplog.set_level(logging.INFO, "wscengine")
    echo = server()
    with wscengine.Engine(echo.url, Recorder()):
        pass
    assert any("is open" in r.getMessage() and r.name.startswith("wscengine.") for r in caplog.records)


def test_verbs_in_wrong_states_say_so(server):
    engine = wscengine.Engine(server().url, Recorder())
    with pytest.raises(wscengine.StateError):
        engine.stop()
    with pytest.raises(wscengine.ClosedError):
        engine.ping()
    with engine:
        with pytest.raises(wscengine.StateError, match="running already"):
            engine.start()
        assert engine.is_started() and engine.state == wscengine.State.OPEN
        with pytest.raises(wscengine.TimeoutError):
            engine.wait(0.05)
    assert engine.wait() == wscengine.StopReason.BY_STOP
    assert not engine.is_started()


def test_close_details_and_answers(server):
    codes = []

    def script(connection):
        drain(connection)
        codes.append((connection.protocol.close_rcvd.code, connection.protocol.close_rcvd.reason))

    class Closer(Recorder):
        def on_close(self, session, close):
            super().on_close(session, close)
            return 4001, "enough"

    client = Closer()
    with wscengine.Engine(server(script).url, client):
        pass
    until(lambda: codes)
    assert codes == [(4001, "enough")]
    assert client.calls == [("close", None), ("stopped", wscengine.StopReason.BY_STOP)]


class Speechless(Exception):
    def __str__(self):
        raise Mine("not even that")


def test_an_exception_that_cannot_say_what_it_is_arrives_all_the_same(server):
    class Refuser(wscengine.Client):
        def on_open(self, session, response, restarting):
            raise Speechless

    with pytest.raises(wscengine.StartError, match="Speechless") as raised:
        wscengine.Engine(server().url, Refuser()).start()
    assert isinstance(raised.value.__cause__, Speechless)
    raised.value.__cause__.__traceback__ = None


@pytest.mark.parametrize("answer", ["bye", (4001,), (4001, "cut\0off"), (4001, None), (4001, "\ud800"), 2**40, {}])
def test_what_is_no_answer_of_on_close_is_logged_and_holds_nothing_up(server, caplog, answer):
    codes = []

    def script(connection):
        drain(connection)
        codes.append(connection.protocol.close_rcvd.code)

    class Closer(Recorder):
        def on_close(self, session, close):
            return answer

    with wscengine.Engine(server(script).url, Closer()):
        pass
    until(lambda: codes)
    assert codes == [1001]
    assert any(r.getMessage() == "a callback raised" for r in caplog.records)
    caplog.clear()


# ---- TLS ----


def test_tls_with_a_ca_of_ones_own(server, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    echo, client = server(ssl=context), Recorder()
    with wscengine.Engine(echo.url, client, ca_file=certificate[0]) as engine:
        engine.send("by TLS")
        until(lambda: client.messages)
    with pytest.raises(wscengine.StartError) as raised:
        wscengine.Engine(echo.url).start()
    assert isinstance(raised.value.__cause__, wscengine.TlsError)
    assert "signed by itself" in str(raised.value)


# ---- readers, cycles, run ----


def test_readers_run_at_once_and_a_slow_one_holds_nobody_back(server):
    slow, seen = threading.Event(), []

    class Slow(wscengine.Client):
        def on_message(self, session, message):
            if message == "slow":
                slow.wait(PATIENCE)
            seen.append(message)

    with wscengine.Engine(server().url, Slow(), reader_count=3) as engine:
        engine.send_many(["slow", *map(str, range(100))])
        until(lambda: len(seen) == 100)
        slow.set()
        until(lambda: len(seen) == 101)
    assert seen[-1] == "slow"


def test_of_starts_at_once_one_starts(server):
    """And the threads of the others are not there: a stop waits for those of its run."""
    engine, together = wscengine.Engine(server(drain).url, Recorder()), threading.Barrier(4)

    def start(ended):
        together.wait()
        try:
            engine.start()
        except wscengine.StateError:
            ended.append(False)
        else:
            ended.append(True)

    for _ in range(20):
        ended = []
        threads = [threading.Thread(target=start, args=(ended,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(ended) == [False, False, False, True]
        assert sum(thread.name.startswith("wscengine-") for thread in threading.enumerate()) == 2
        engine.stop()


def test_a_start_right_behind_a_stop_keeps_its_threads(server, monkeypatch):
    """A stop that learns of its end only when the next run is on leaves that one alone."""
    engine, stopped, started = wscengine.Engine(server().url, Recorder()), threading.Event(), threading.Event()
    wait = wscengine.engine.wait

    def late(begin, *arguments, **keywords):
        op = wait(begin, *arguments, **keywords)
        if threading.current_thread() is not threading.main_thread():
            stopped.set()
            started.wait(PATIENCE)
        return op

    monkeypatch.setattr(wscengine.engine, "wait", late)
    engine.start()
    stopper = threading.Thread(target=engine.stop)
    stopper.start()
    assert stopped.wait(PATIENCE)
    engine.start()
    started.set()
    stopper.join()
    engine.send("x")
    until(lambda: engine.client.messages)
    engine.stop()


def test_an_interrupt_right_behind_a_start_leaves_no_run(server, monkeypatch):
    engine, wait = wscengine.Engine(server().url, Recorder()), wscengine.engine.wait

    def interrupted(*arguments, **keywords):
        wait(*arguments, **keywords)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(wscengine.engine, "wait", interrupted)
        engine.start()
    until(lambda: engine.state == wscengine.State.STOPPED)


def test_a_start_without_threads_leaves_none(server, monkeypatch):
    engine, start = wscengine.Engine(server().url, Recorder()), threading.Thread.start

    def second_fails(thread):
        if thread.name == "wscengine-1":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", second_fails)
        with pytest.raises(RuntimeError, match="new thread"):
            engine.start()
    until(lambda: not any(thread.name.startswith("wscengine-") for thread in threading.enumerate()))
    with engine:
        engine.send("x")
        until(lambda: engine.client.messages)


def test_a_thousand_runs_leave_nothing(server):
    echo, client = server(drain), Recorder()
    engine = wscengine.Engine(echo.url, client)

    def run(times):
        for _ in range(times):
            with engine:
                engine.send("x")

    run(200)  # what stays of the first ones is no leak
    before = resident()
    run(1000)
    assert no_more_than(before)
    for _ in range(100):
        wscengine.Engine(echo.url, client)
    assert threading.active_count() < 100


@pytest.mark.parametrize("memoryviews", [False, True])
def test_a_callback_that_raises_gets_each_message_once_from_many_readers(server, memoryviews):
    seen, count = [], 3000

    class Raiser(wscengine.Client):
        def on_message(self, session, message):
            seen.append(bytes(message).decode() if memoryviews else message)
            raise Mine

    logging.getLogger("wscengine").disabled = True
    with wscengine.Engine(server().url, Raiser(), reader_count=4, memoryviews=memoryviews) as engine:
        engine.send_many([str(i) for i in range(count)])
        until(lambda: "last" in seen or len(seen) >= count)
        engine.request("last", lambda message: bytes(message) == b"last" if memoryviews else message == "last")
    logging.getLogger("wscengine").disabled = False
    assert sorted(seen, key=int) == [str(i) for i in range(count)]


def test_run_is_one_call(server):
    seen = []

    def on_message(session, message):
        seen.append(message)
        session.exit()

    def on_open(session, response, restarting):
        session.send("hello")

    assert wscengine.run(server().url, on_message=on_message, on_open=on_open) == wscengine.StopReason.BY_EXIT
    assert seen == ["hello"]
    with pytest.raises(TypeError):
        wscengine.run("ws://host/", on_message=on_message, on_messsage=on_message)
