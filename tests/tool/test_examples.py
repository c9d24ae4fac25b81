"""The examples do what their first comments say, against servers of the third-party `websockets` package."""
import json
import pathlib
import signal
import socket

import pytest
from peer import Server

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "core" / "examples"


@pytest.mark.parametrize("name, limit", [("echo_client", 60), ("request_response", 60), ("request_pause", 60), ("feed", 40),
                                          ("fresh_token", 70), ("many", 90), ("own_adapter", 105), ("tracer", 90)])
def test_an_example_fits_on_a_screen(name, limit):
    assert len((EXAMPLES / f"{name}.c").read_text().splitlines()) < limit


def echoes(session):
    for message in session.connection:
        session.send(message)


def test_the_echo_client_prints_the_echo_and_closes(run):
    with Server(echoes) as server:
        program = run("echo_client", server.url, "hello é")
        assert program.status() == 0, program.errors
        assert program.rest().decode() == "hello é\n"
        assert server.session().close == (1000, "bye")


def test_responses_find_their_requests_in_any_order_and_after_a_loss(run):
    count = 50

    def script(session):
        if len(server.all) == 1:  # answers some and goes away
            ids = [json.loads(session.connection.recv())["id"] for _ in range(count)]
            assert ids == list(range(count))
            for i in reversed(ids[:20]):
                session.send(json.dumps({"id": i, "square": i * i}))
            session.connection.close(1012)
            return
        session.send("not an answer")
        for message in session.connection:
            i = json.loads(message)["id"]
            session.got.put(i)
            session.send(json.dumps({"id": i, "square": i * i}))
    with Server(script) as server:
        program = run("request_response", server.url, count)
        assert program.status() == 0, program.errors
        lines = program.rest().decode().splitlines()
        assert sorted(int(line.split(":")[0]) for line in lines) == list(range(count))
        for line in lines:
            number, answer = line.split(": ", 1)
            assert json.loads(answer) == {"id": int(number), "square": int(number) ** 2}
        assert server.all[1].take(count - 20) == list(range(20, count))


def test_a_paused_engine_lets_us_ask_and_hands_on_what_came_between(run):
    def script(session):
        for i in range(5):
            session.send(f"headline {i}")
        question = session.connection.recv()
        for i in range(5, 10):
            session.send(f"headline {i}")
        session.send(f"answer to {question}")
        session.read_on()
    with Server(script) as server:
        program = run("request_pause", server.url, "what?")
        assert program.status() == 0, program.errors
        lines = program.rest().decode().splitlines()
        expected = [f"news: headline {i}" for i in range(10)] + ["answer to what?"]
        assert sorted(lines) == sorted(expected)
        # A pause is granted while a callback runs: what that one had taken before may be printed at any time.
        assert any([line for line in lines if line != late] == [line for line in expected if line != late]
                   for late in expected), lines


def test_the_readme_program_goes_on_after_a_loss(run):
    def script(session):
        session.send(session.connection.recv())
        session.send(f"price {len(server.all)}")
        if len(server.all) == 1:
            session.connection.close(1012, "service restart")
        session.read_on()
    with Server(script) as server:
        program = run("feed", server.url)
        hello = '{"subscribe": "prices"}'
        assert [program.line() for _ in range(4)] == [hello, "price 1", hello, "price 2"]
        program.interrupt(signal.SIGTERM)
        program.status()
        assert program.errors == "connected\nlost: 1012 service restart\nconnected again\n"


def feed(session, first, count):
    for n in range(first, first + count):
        session.send(json.dumps({"seq": n, "price": n / 7}))


def subscribed(session):
    return json.loads(session.connection.recv())["from"]


def summary_of(program):
    return json.loads(program.rest().splitlines()[-1])


def test_the_demo_client_goes_on_from_the_last_number(run):
    def script(session):
        feed(session, subscribed(session), 100)
        if len(server.all) < 3:
            session.connection.close(1012, 'with "quotes"')
        session.read_on()
    with Server(script) as server:
        program = run("demo_feed", server.url, "--count", 300)
        assert program.status() == 0, program.errors
        s = summary_of(program)
        assert (s["messages"], s["sessions"], s["gaps"], s["duplicates"]) == (300, 3, 0, 0)
        assert [r["cause"] for r in s["reconnects"]] == ['closed: 1012 with "quotes"'] * 2
        assert all(0 <= r["delay_ms"] < 10_000 for r in s["reconnects"])
        assert server.all[2].close == (1000, "done")


def test_the_demo_client_sees_what_a_server_does_wrong(run):
    def script(session):
        first = subscribed(session)
        feed(session, first, 10)
        feed(session, first + 12, 10)  # two are missing
        feed(session, first + 19, 10)  # three come again
        session.read_on()
    with Server(script) as server:
        program = run("demo_feed", server.url, "--count", 30)
        assert program.status() == 1
        s = summary_of(program)
        assert (s["messages"], s["gaps"], s["duplicates"]) == (30, 2, 3)


def test_the_demo_client_ends_on_ctrl_c_with_its_summary(run):
    def script(session):
        feed(session, subscribed(session), 10)
        session.read_on()
    with Server(script) as server:
        program = run("demo_feed", server.url, "--count", 1000, "--ping-interval", 0.1, "--ping-timeout", 5)
        while "10 messages" not in program.line():
            pass
        program.interrupt()
        assert program.status() == 1
        s = summary_of(program)
        assert s["messages"] == 10 and s["rtt_ms"] > 0


def test_each_attempt_has_a_fresh_token(run, tmp_path):
    """The command fails once in between: the attempt is put off, not made without a token."""
    count = tmp_path / "count"
    count.write_text("0")
    command = f"n=$(cat {count}); echo $((n + 1)) > {count}; [ $n != 1 ] && echo token$n"

    def script(session):
        session.send("hello")
        session.connection.close(1012)

    with Server(script) as server:
        program = run("fresh_token", server.url, command)
        assert [program.line() for _ in range(2)] == ["hello", "hello"]
        seen = [server.session().request.headers["Authorization"] for _ in range(2)]
        assert seen == ["Bearer token0", "Bearer token2"]
        program.wait_for_error("no token")


def test_many_connections_in_one_process(run):
    with Server(lambda session: session.read_on()) as server:
        program = run("many", 200, server.url)
        while not program.line().startswith("200 open, 0 messages, "):
            pass
        threads = len(list(pathlib.Path(f"/proc/{program.process.pid}/task").iterdir()))
        assert threads <= 5, threads  # its own one beside the library's
        program.end_input()
        assert program.status() == 0, program.errors
        assert program.rest().decode().splitlines()[-1] == "0 open"
        for session in server.all:
            assert session.close == (1001, "Going Away")


def test_an_adapter_of_ones_own_drives_the_engine(run, tmp_path):
    path = tmp_path / "packets"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(20)
        program = run("own_adapter", path, "hello")
        for word in ("one", "two", "bye"):  # each time the connection is lost, but for the last
            with listener.accept()[0] as link:
                link.settimeout(20)
                assert link.recv(100) == b"hello"
                link.send(word.encode())
                assert program.line() == word
                if word == "bye":
                    assert link.recv(100) == b""  # the close slot
        assert program.status() == 0, program.errors


def test_an_adapter_of_ones_own_says_where_it_could_not_connect(run, tmp_path):
    program = run("own_adapter", tmp_path / "nobody", "hello")
    assert program.status() == 1
    assert "nobody" in program.errors


def test_the_tracer_tells_of_a_run(run):
    with Server(echoes) as server:
        program = run("tracer", server.url, "hello")
        assert program.status() == 0, program.errors
        assert program.rest().decode() == "hello\n"
        spans = {line.split()[0]: line for line in program.errors.splitlines()}
        assert f"url.full={server.url}" in spans["websocket.dial"]
        assert "in wscengine.callback.on_open" in spans["websocket.write"]
        assert "[websocket.message.received] websocket.message.size=5" in spans["websocket.read"]
        assert "in wscengine.background.run" in spans["wscengine.callback.on_message"]
        assert {"wscengine.start", "wscengine.callback.on_close", "websocket.close"} <= set(spans)
        assert all(" ok" in line for line in spans.values())


def test_the_tracer_tells_of_a_start_that_fails(run):
    program = run("tracer", "ws://127.0.0.1:1/", "hello")
    assert program.status() == 1
    assert any(line.startswith("wscengine.start") and "refused" in line for line in program.errors.splitlines())
