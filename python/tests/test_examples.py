"""The examples do what they say, each in a process of its own, against real servers. feed.py is what ci/demo runs."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import PATIENCE, drain, until

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def example():
    made = []

    def start(name, *arguments):
        command = [sys.executable, "-u", EXAMPLES / f"{name}.py", *map(str, arguments)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        made.append(subprocess.Popen(command, text=True, **pipes))
        return made[-1]

    yield start
    for process in made:
        process.kill()
        process.communicate()


def said(process, status=0):
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, err
    return out.splitlines()


@pytest.mark.parametrize("name, limit", [("echo_client", 35), ("request_response", 40), ("many", 40), ("service", 55)])
def test_an_example_fits_on_a_screen(name, limit):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < limit


def test_the_echo_client_prints_the_echo_and_closes(server, example):
    closes = []

    def script(connection):
        connection.send(connection.recv())
        drain(connection)
        closes.append((connection.close_code, connection.close_reason))

    assert said(example("echo_client", server(script).url, "hello é")) == ["hello é"]
    until(lambda: closes)
    assert closes == [(1000, "bye")]


def test_responses_find_their_requests_in_any_order_and_after_a_loss(server, example):
    asked = []

    def script(connection):
        asked.append([])
        connection.send("not an answer")
        for message in connection:
            asked[-1].append(json.loads(message)["id"])
            if len(asked) == 1 and len(asked[0]) == 30:
                for n in reversed(asked[0][:20]):
                    connection.send(json.dumps({"id": n, "square": n * n}))
                connection.close(1012)
                return
            if len(asked) > 1:
                n = asked[-1][-1]
                connection.send(json.dumps({"id": n, "square": n * n}))

    answers = said(example("request_response", server(script).url, 30))
    assert [json.loads(answer) for answer in answers] == [{"id": n, "square": n * n} for n in range(30)]
    assert sorted(asked[1]) == sorted(asked[0][20:])


def test_hundreds_of_connections_on_one_loop(server, example):
    count = 200  # the server is Python's, with a thread for each
    process = example("many", count, server().url)
    while not (line := process.stdout.readline()).startswith(f"{count} open"):
        assert line
    children = Path(f"/proc/{process.pid}/task")
    threads = {(task / "comm").read_text().strip() for task in children.iterdir()}
    assert len(list(children.iterdir())) <= 4, threads
    said(process)  # its input has ended


def test_a_service_holds_a_feed_and_outlives_its_losses(server, example):
    sent = []

    def script(connection):
        assert connection.recv() == "subscribe"
        sent.append(f"price {len(sent)}")
        connection.send(sent[-1])
        if len(sent) == 1:
            connection.close(1012)
        drain(connection)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = example("service", port, server(script).url)

    def get(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
                return answer.read().decode()
        except (urllib.error.HTTPError, ConnectionError, urllib.error.URLError):
            assert process.poll() is None, process.stderr.read()
            return ""

    until(lambda: get("/price") == "price 1")
    assert json.loads(get("/health")) == {"state": "OPEN", "reconnects": 1}
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) in (0, 130, -signal.SIGINT)
