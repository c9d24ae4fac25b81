"""Standard input and output of `wsc` when they are full, slow or closed."""

import os
import pathlib
import signal
import threading
import time

import pytest
from peer import PATIENCE, Program, Server, build_dir, reads

def test_a_closed_stdout_ends_it_quietly_while_messages_flow(wsc):
    def script(session):
        while True:
            session.send("x" * 1000)
    with Server(script) as server:
        program = wsc(server.url, collect=False)
        assert program.process.stdout.read(10) == b"x" * 10
        program.process.stdout.close()
        assert program.status() == 0
        assert program.errors == ""


def test_a_closed_stdout_ends_it_quietly_while_nothing_comes(wsc):
    with Server(reads) as server:
        program = wsc(server.url, collect=False)
        session = server.session()
        program.process.stdout.close()
        assert program.status() == 0
        assert session.close is not None
        assert program.errors == ""


def flood(chunk, count):
    """Sends `count` numbered chunks as fast as they are taken, and counts them."""
    sent = [0]

    def script(session):
        for i in range(count):
            session.send(f"{i:08} " + chunk)
            sent[0] += 1
        session.read_on()
    return script, sent


def until_still(value, patience=PATIENCE):
    """Waits until value() has not changed for half a second; the value."""
    end, last, since = time.monotonic() + patience, value(), time.monotonic()
    while time.monotonic() < end:
        time.sleep(0.02)
        if value() != last:
            last, since = value(), time.monotonic()
        elif time.monotonic() - since > 0.5:
            return last
    raise AssertionError("it never came to rest")


def test_a_full_stdout_pipe_pauses_reading_and_nothing_is_lost(wsc):
    count, chunk = 2000, "y" * 65_536  # 128 MiB
    script, sent = flood(chunk, count)
    with Server(script) as server:
        program = wsc("--count", count, "--ping-interval", 0.2, "--ping-timeout", 5, server.url, collect=False)
        stuck = until_still(lambda: sent[0])
        assert 0 < stuck < count
        assert program.resident_bytes() < 64 << 20
        for i in range(count):
            line = program.process.stdout.readline()
            assert line[:9] == b"%08d " % i and len(line) == len(chunk) + 10
        assert program.status() == 0
        assert len(server.all) == 1


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_heard_while_stdout_is_full(wsc, number, status):
    script, sent = flood("z" * 65_536, 2000)
    with Server(script) as server:
        program = wsc(server.url, collect=False)
        until_still(lambda: sent[0])
        began = time.monotonic()
        program.interrupt(number)
        assert program.process.wait(PATIENCE) == status
        assert time.monotonic() - began < 10


def test_a_server_that_does_not_read_pauses_stdin(wsc):
    stop = threading.Event()
    with Server(lambda session: stop.wait(60), max_queue=1) as server:
        program = wsc(server.url)
        written = [0]

        def feed():
            try:
                for _ in range(100):
                    program.type(b"w" * 1_000_000 + b"\n")
                    written[0] += 1
            except (BrokenPipeError, ValueError, OSError):
                pass
        thread = threading.Thread(target=feed, daemon=True)
        thread.start()
        assert 0 < until_still(lambda: written[0]) < 60
        assert program.resident_bytes() < 96 << 20
        program.interrupt()
        assert program.process.wait(PATIENCE) == 130
        stop.set()
        thread.join(PATIENCE)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_a_socket_never_becomes_a_standard_stream(run, closed):
    def script(session):
        session.connection.recv()
    with Server(script) as server:
        with Program("sh", "-c", f'exec "$0" "$1" {closed}', build_dir() / "bin" / "wsc", server.url) as program:
            session = server.session()
            folder = pathlib.Path(f"/proc/{program.process.pid}/fd")
            for fd in ("0", "1", "2"):
                assert not os.readlink(folder / fd).startswith(("socket", "anon_inode")), fd
            assert any(os.readlink(f).startswith("socket") for f in folder.iterdir())
            session.send("to nobody" if ">&-" in closed else "hello")
            if ">&-" in closed:  # the first thing that cannot be written ends it, like a pipe that was closed
                assert program.status() == 0
                assert session.close is not None
            else:
                assert program.line() == "hello"
