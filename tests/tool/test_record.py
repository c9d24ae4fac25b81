"""wsc --record and --replay: what was recorded comes again, in its order, with its pauses or without."""
import os
import resource
import socket
import time
from pathlib import Path

import pytest
from peer import Program, Server, build_dir, free_port

TEXTS = ["first", "", "two\nlines", "ä€😀", "x" * 70000]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two sessions: texts, a binary and a close; then a lost connection after a pause."""
    file = tmp_path_factory.mktemp("recorded") / "feed.rec"

    def script(session):
        if len(server.all) == 1:
            session.got.put(session.connection.recv())
            for text in TEXTS:
                session.send(text)
            session.send(b"\x00\xff\n")
            session.connection.close(1012, "restarting")
            return
        session.send("again")
        time.sleep(0.4)
        session.send("later")
        session.connection.socket.close()

    with Server(script, subprotocols=["v2"]) as server:
        words = ["--record", file, "--subprotocol", "v2", "--count", len(TEXTS) + 3, server.url]
        with Program(build_dir() / "bin" / "wsc", *words) as program:
            program.type(b"subscribe\n")
            assert program.status() == 0, program.errors
    return file.read_bytes()


@pytest.fixture
def recording(recorded, tmp_path):
    file = tmp_path / "feed.rec"
    file.write_bytes(recorded)
    return file


def printed(wsc, url, count, *words):
    program = wsc("--count", count, "--subprotocol", "v2", *words, url)
    assert program.status() == 0, program.errors
    return program.rest()


WHOLE = "".join(t + "\n" for t in TEXTS).encode() + b"AP8K\nagain\nlater\n"


def test_what_was_recorded_comes_again_as_often_as_asked(wsc, recording):
    server = wsc("--replay", recording, "--speed", 0)
    url = server.line()
    for _ in range(2):
        assert printed(wsc, url, len(TEXTS) + 3) == WHOLE
    assert b"sent-text " in recording.read_bytes()
    server.interrupt()
    assert server.status() == 130


def test_closes_and_subprotocols_come_again_too(wsc, recording):
    server = wsc("--replay", recording, "--speed", 0)
    program = wsc("--no-reconnect", "--json", "--subprotocol", "v2", server.line())
    assert program.status() == 1
    out = program.rest().decode()
    assert '"subprotocol":"v2"' in out
    assert '"code":1012,"reason":"restarting","initiator":"peer"' in out
    server.interrupt()


def test_its_own_timing_or_faster(wsc, recording):
    """The pause of 0.4 s in the second session: there at speed 1, a tenth of it at 10."""
    took = {}
    for speed in 1, 10:
        server = wsc("--replay", recording, "--speed", speed, "--port", free_port())
        url = server.line()
        printed(wsc, url, len(TEXTS) + 1)
        began = time.monotonic()
        printed(wsc, url, 2)
        took[speed] = time.monotonic() - began
        server.interrupt()
        server.status()
    assert took[1] >= 0.4 and took[10] < took[1]


def test_a_recording_that_was_cut_is_played_up_to_there(wsc, recording):
    whole = recording.read_bytes()
    recording.write_bytes(whole[: whole.index(b"x" * 100) + 50])
    server = wsc("--replay", recording, "--speed", 0)
    assert printed(wsc, server.line(), len(TEXTS) - 1) == "".join(t + "\n" for t in TEXTS[:-1]).encode()
    assert "cut off at byte" in server.errors
    server.interrupt()
    assert server.status() == 130


@pytest.mark.parametrize("old, new, complaint", [
    (b"wsc-record 1", b"wsc-record 2", "not a recording of wsc"),
    (b" 5\nfirst", b" 4\nfirst", "does not end where its length says"),
    (b" 5\nfirst", b" five\nfirst", "length is no number"),
    (b"\ntext ", b"\ntetx ", "no record begins here"),
    (b"close 1", b"close x1", "time is no number"),
    (b" 1012 ", b" 12 ", "close code is not 1000 to 4999"),
    ("ä".encode(), b"\xc3\x28", "not UTF-8"),
    (b"open ", b"lost ", "before the first"),
])
def test_an_edited_recording_is_refused_with_its_byte(wsc, recording, old, new, complaint):
    whole = recording.read_bytes()
    assert old in whole
    recording.write_bytes(whole.replace(old, new, 1))
    program = wsc("--replay", recording)
    assert program.status() == 1
    assert complaint in program.errors
    assert "byte " in program.errors or "not a recording" in program.errors


def test_files_that_cannot_be(wsc, tmp_path):
    assert wsc("--replay", tmp_path / "missing").status() == 1
    (tmp_path / "empty").write_bytes(b"")
    program = wsc("--replay", tmp_path / "empty")
    assert program.status() == 1 and "not a recording" in program.errors
    program = wsc("--record", tmp_path, "ws://127.0.0.1:1/")
    assert program.status() == 1 and "Is a directory" in program.errors
    with Server(lambda session: session.send("x")) as server:
        program = wsc("--record", "/dev/full", "--count", 1, server.url)
        assert program.status() == 1 and "No space left" in program.errors
    assert wsc("--replay", "a", "ws://b/").status() == 2


def test_a_recording_that_may_not_grow_ends_and_the_feed_goes_on(wsc, tmp_path):
    def script(session):
        for text in TEXTS:
            session.send(text)
        session.read_on()

    with Server(script) as server:
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # noqa: E731
        program = wsc("--record", tmp_path / "feed.rec", "--count", len(TEXTS), server.url, preexec_fn=limit)
        assert program.status() == 0, program.errors
        assert program.rest() == "".join(t + "\n" for t in TEXTS).encode()
        assert "File too large: it ends here" in program.errors


def written(tmp_path, *records):
    file = tmp_path / "written.rec"
    file.write_bytes(b"wsc-record 1\n" + b"".join(r + b"\n" for r in records))
    return file


def test_nothing_is_missing_before_a_loss_however_slow_the_client(wsc, tmp_path):
    """More than the kernel's buffers hold, so that much of it still stands there when the connection is lost."""
    message = b"text 1 1000000\n" + b"x" * 1000000
    file = written(tmp_path, b"open 1", *[message] * 20, b"lost 1")
    server = wsc("--replay", file, "--speed", 0)
    program = wsc("--no-reconnect", "--json", server.line(), collect=False)
    time.sleep(0.5)  # the server may run ahead of a client that is not read from; passes without it, too
    out = program.process.stdout.read()
    assert out.count(b"x" * 1000000) == 20
    assert b'"code":1006' in out
    server.interrupt()
    assert server.status() == 130


def test_a_subprotocol_is_agreed_only_when_it_was_offered(wsc, tmp_path):
    server = wsc("--replay", written(tmp_path, b"open 1 v2", b"text 1 1\nx"), "--speed", 0)
    program = wsc("--no-reconnect", "--subprotocol", "v2.1", "--count", 1, server.line())
    assert program.status() == 0, program.errors
    server.interrupt()


def test_pings_are_answered_while_a_recording_plays_at_once(wsc, tmp_path):
    file = written(tmp_path, b"open 1", *[b"text 1 1000\n" + b"x" * 1000] * 20000, b"close 1 1000 done")
    server = wsc("--replay", file, "--speed", 0)
    program = wsc("--stats", "--no-reconnect", server.line())
    assert program.status() == 0
    assert "rtt" in program.errors.lower() and "no pong" not in program.errors
    server.interrupt()


def test_all_is_printed_to_its_end_although_the_reader_is_now_slow_and_now_fast(wsc, tmp_path):
    """The last batch waits for room in the pipe; when that comes, nothing more comes from the server. One in twenty hung here."""
    server = wsc("--replay", written(tmp_path, b"open 1", *[b"text 1 1000\n" + b"x" * 1000] * 20000), "--speed", 0)
    url = server.line()
    for _ in range(20):
        program = wsc("--no-reconnect", url)
        program.status()
        assert len(program.rest()) == 20000 * 1001
    server.interrupt()


@pytest.mark.parametrize("words, status", [([], 130), (["--timeout", 1], 0)])
def test_it_ends_also_while_a_client_reads_nothing(wsc, tmp_path, words, status):
    file = written(tmp_path, b"open 1", *[b"text 1 1000000\n" + b"x" * 1000000] * 40)
    server = wsc("--replay", file, "--speed", 0, *words)
    host, port = server.line().removeprefix("ws://").rstrip("/").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert client.recv(4).startswith(b"HTTP")
        if not words:
            server.interrupt()
        assert server.status() == status


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_want_of_fds_is_waited_out(wsc, recording):
    """A client that cannot be accepted stays in the queue: it is served when it can, and nothing spins meanwhile."""
    server = wsc("--replay", recording, "--speed", 0)
    pid, url = server.process.pid, server.line()
    usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, usual[1]))
    program = wsc("--count", len(TEXTS) + 3, "--subprotocol", "v2", "--connect-timeout", 30, url)
    began, before = time.monotonic(), cpu_s(pid)
    time.sleep(1)
    assert cpu_s(pid) - before < 0.2 * (time.monotonic() - began)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
    assert program.status() == 0, program.errors
    assert program.rest() == WHOLE
    server.interrupt()
    assert server.status() == 130


def test_times_and_codes_that_nobody_recorded(wsc, tmp_path):
    far = b"text 9223372036854775807 1\nx"
    server = wsc("--replay", written(tmp_path, b"open 0", b"text 0 1\na", far), "--speed", "0.000001")
    assert printed(wsc, server.line(), 1) == b"a\n"
    server.interrupt()
    assert server.status() == 130
    program = wsc("--replay", written(tmp_path, b"open 1", b"close 1 1006"))
    assert program.status() == 1 and "byte 20: no close frame may carry this code" in program.errors
