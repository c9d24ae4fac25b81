"""wsc at a shell: lines in, messages out, and what becomes of it when servers and networks do what they do."""
import array
import base64
import fcntl
import json
import shutil
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest
from peer import PATIENCE, Server, free_port, reads
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory


def sends(*messages):
    """Sends these, then reads."""
    def script(session):
        for message in messages:
            session.send(message)
        session.read_on()
    return script


def closes(code, reason=""):
    return lambda session: session.connection.close(code, reason)


# ---- messages out


def test_prints_messages_in_order_and_ends_after_count(wsc):
    texts = [f"message {i} é\u2028" for i in range(3000)]
    with Server(sends(*texts)) as server:
        program = wsc("--count", 2500, server.url)
        assert program.status() == 0
        assert program.rest().decode() == "".join(t + "\n" for t in texts[:2500])
        assert server.session().close == (1000, "")
        assert program.errors == ""


def test_prints_text_as_it_is_and_binary_as_base64_lines(wsc):
    with Server(sends("two\nlines", b"\x00\xff\n", b"", "", b"four")) as server:
        program = wsc("--count", 5, server.url)
        assert program.status() == 0
        assert program.rest() == b"two\nlines\nAP8K\n\n\nZm91cg==\n"


def test_binary_option_prints_bytes_raw(wsc):
    with Server(sends(b"\x00\xff\n", "text", b"end")) as server:
        program = wsc("--binary", "--count", 3, server.url)
        assert program.status() == 0
        assert program.rest() == b"\x00\xff\ntext\nend"


def test_a_message_larger_than_every_buffer_arrives_whole(wsc):
    big = "0123456789abcdef" * 500_000
    with Server(sends(big, "after")) as server:
        program = wsc("--count", 2, server.url)
        assert program.status() == 0
        assert program.rest().decode() == big + "\nafter\n"


@pytest.mark.parametrize("bits", [9, 15])
def test_compresses_with_a_server_that_does(wsc, bits):
    rows = [f'{{"symbol":"AAPL","sequence":{i},"price":{170 + i / 7:.2f}}}' for i in range(500)]

    def script(session):
        for _ in rows:
            session.got.put(session.connection.recv())
        for row in rows:
            session.send(row)
        session.read_on()

    factory = ServerPerMessageDeflateFactory(server_max_window_bits=bits, client_max_window_bits=bits)
    with Server(script, extensions=[factory]) as server:
        program = wsc("--compress", "--stats", "--count", len(rows), server.url)
        program.type("\n".join(rows).encode())
        program.end_input()
        assert program.status() == 0
        assert program.rest().decode().splitlines() == rows
        session = server.session()
        assert session.take(len(rows)) == rows
        assert "compressed: received " in program.errors
        (extension,) = session.connection.protocol.extensions
        assert extension.remote_max_window_bits == bits


# ---- lines in


def test_sends_lines_as_text_and_closes_at_the_end_of_input(wsc):
    with Server(reads) as server:
        program = wsc("--exit-on-eof", server.url)
        program.type("first\n\nthird é\nlast, without a line end".encode())
        program.end_input()
        assert program.status() == 0
        session = server.session()
        assert session.close == (1000, "")
        assert session.take(4) == ["first", "", "third é", "last, without a line end"]
        assert session.got.empty()


def test_no_line_is_lost_when_input_ends(wsc):
    lines = [f"{i} " + "x" * (i % 300) for i in range(50_000)]
    with Server(reads) as server:
        program = wsc("--exit-on-eof", server.url)
        program.type("".join(line + "\n" for line in lines).encode())
        program.end_input()
        assert program.status() == 0
        session = server.session()
        assert session.close == (1000, "")
        assert session.take(len(lines)) == lines


def test_binary_option_sends_lines_as_binary(wsc):
    with Server(reads) as server:
        program = wsc("--binary", "--exit-on-eof", server.url)
        program.type(b"\xff\xfe\n\nend\n")
        program.end_input()
        assert program.status() == 0
        assert server.session().take(3) == [b"\xff\xfe", b"", b"end"]


@pytest.mark.parametrize("bad", [b"\xff", b"ok \xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe0\x80\x80"])
def test_a_line_that_is_not_utf8_is_refused_by_name(wsc, bad):
    with Server(reads) as server:
        program = wsc("--exit-on-eof", server.url)
        program.type(b"good\n" + bad + b"\nalso good\n")
        program.end_input()
        assert program.status() == 0
        assert "wsc: line 2 of standard input" in program.errors and "not UTF-8" in program.errors
        assert len(program.errors.splitlines()) == 1
        session = server.session()
        assert session.close == (1000, "")
        assert session.take(2) == ["good", "also good"]
        assert session.got.empty()


def test_the_end_of_input_does_not_end_receiving(wsc):
    def script(session):
        assert session.connection.recv() == "go"
        time.sleep(0.2)
        session.send("still there")
        session.read_on()
    with Server(script) as server:
        program = wsc("--count", 1, server.url)
        program.type(b"go\n")
        program.end_input()
        assert program.status() == 0
        assert program.rest() == b"still there\n"


def test_lines_wait_for_a_server_that_is_not_there_yet(wsc):
    port = free_port()
    program = wsc("--exit-on-eof", f"ws://127.0.0.1:{port}/")
    program.type(b"early\nbird\n")
    program.end_input()
    program.wait_for_error(str(port))
    with Server(reads, port=port) as server:
        assert program.status() == 0
        assert server.session().take(2) == ["early", "bird"]


def test_lines_wait_between_sessions(wsc):
    def script(session):
        if len(server.all) == 1:
            session.connection.close(1012, "restart")
        else:
            session.read_on()
    with Server(script) as server:
        program = wsc("--exit-on-eof", server.url)
        assert server.session().ended.wait(PATIENCE)
        program.type(b"one\ntwo\n")
        program.end_input()
        assert program.status() == 0
        assert server.session().take(2) == ["one", "two"]


def test_exit_on_eof_without_a_line_still_makes_the_connection(wsc):
    with Server(reads) as server:
        program = wsc("--exit-on-eof", server.url)
        program.end_input()
        assert program.status() == 0
        assert server.session().close == (1000, "")


# ---- reconnecting, ending


def test_reconnects_after_a_close_and_says_so(wsc):
    def script(session):
        session.send(f"session {len(server.all)}")
        if len(server.all) == 1:
            session.connection.close(1012, "service restart")
        session.read_on()
    with Server(script) as server:
        program = wsc("--count", 2, server.url)
        assert program.status() == 0
        assert program.rest() == b"session 1\nsession 2\n"
        assert "1012 service restart" in program.errors


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_closes_with_1001(wsc, number, status):
    with Server(sends("hello")) as server:
        program = wsc(server.url)
        assert program.line() == "hello"
        program.interrupt(number)
        assert program.status() == status
        assert server.session().close[0] == 1001
        assert program.errors == ""


def test_ctrl_c_ends_an_attempt_and_a_backoff_at_once(wsc):
    port = free_port()
    program = wsc(f"ws://127.0.0.1:{port}/")
    program.wait_for_error(str(port))
    began = time.monotonic()
    program.interrupt()
    assert program.status() == 130
    assert time.monotonic() - began < 3
    with socket.create_server(("127.0.0.1", 0)) as silent:
        program = wsc(f"ws://127.0.0.1:{silent.getsockname()[1]}/")
        peer, _ = silent.accept()
        with peer:
            assert peer.recv(4) == b"GET "
            began = time.monotonic()
            program.interrupt()
            assert program.status() == 130
            assert time.monotonic() - began < 3


def upgrade(peer):
    """The server's half of the upgrade on a plain socket, and nothing after it."""
    import hashlib
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(4096)
    key = [h.split(b":")[1].strip() for h in request.split(b"\r\n") if h.lower().startswith(b"sec-websocket-key")][0]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")


def test_lines_lost_with_a_session_make_the_exit_code_1_however_well_it_goes_on(wsc):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        program = wsc("--exit-on-eof", "--socket-send-bytes", 4096, f"ws://127.0.0.1:{server.getsockname()[1]}/")
        first, _ = server.accept()
        with first:
            upgrade(first)
            program.type((b"x" * 999 + b"\n") * 60)  # more than the sockets hold, less than is queued
            while array.array("i", fcntl.ioctl(program.process.stdin, termios.FIONREAD, b"\0" * 4))[0] > 0:
                time.sleep(0.001)
            first.sendall(b"\x81\x02go")
            assert program.line() == "go"  # a turn of the loop later: all lines were accepted
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        second, _ = server.accept()
        with second:
            upgrade(second)
            program.end_input()
            assert second.recv(1) == b"\x88"
            second.sendall(b"\x88\x02\x03\xe8")
            assert program.status() == 1
        assert "accepted for sending were lost" in program.errors


def test_a_second_ctrl_c_does_not_wait_for_the_server(wsc):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        program = wsc("--json", f"ws://127.0.0.1:{silent.getsockname()[1]}/")
        peer, _ = silent.accept()
        with peer:
            upgrade(peer)
            assert json.loads(program.line())["event"] == "open"
            program.interrupt()
            assert peer.recv(1)[0] == 0x88  # the close frame is there, and never answered
            program.interrupt()
            assert program.status() == 130


def test_keepalive_finds_a_silent_server(wsc):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        program = wsc("--no-reconnect", "--ping-interval", 0.2, "--ping-timeout=0.3", "--json",
                      f"ws://127.0.0.1:{silent.getsockname()[1]}/")
        peer, _ = silent.accept()
        with peer:
            upgrade(peer)
            assert program.status() == 1
            events = [json.loads(line) for line in program.rest().splitlines()]
            assert [e["event"] for e in events] == ["open", "close"]
            assert events[1]["code"] == 1006
            assert "keepalive" in program.errors.lower() or "ping" in program.errors.lower()


@pytest.mark.parametrize("code, status", [(1000, 0), (1001, 0), (1011, 1), (4000, 1)])
def test_no_reconnect_ends_with_the_connection(wsc, code, status):
    with Server(closes(code, "because")) as server:
        program = wsc("--no-reconnect", server.url)
        assert program.status() == status
        assert (f"{code} because" in program.errors) == (status == 1)
        assert len(server.all) == 1


def test_no_reconnect_fails_when_nobody_listens_and_names_the_place(wsc):
    port = free_port()
    program = wsc("--no-reconnect", f"ws://127.0.0.1:{port}/")
    assert program.status() == 1
    assert f"127.0.0.1:{port}" in program.errors and "refused" in program.errors.lower()
    assert len(program.errors.splitlines()) == 1, program.errors


def test_a_host_that_does_not_exist_is_named(wsc):
    program = wsc("--no-reconnect", "ws://no-such-host.invalid/")
    assert program.status() == 1
    assert "no-such-host.invalid" in program.errors


def test_a_refused_upgrade_tells_the_status(wsc):
    def refuse(connection, request):
        return connection.respond(403, "not you\n")
    with Server(reads, process_request=refuse) as server:
        program = wsc("--no-reconnect", server.url)
        assert program.status() == 1
        assert "403" in program.errors and str(server.port) in program.errors


def test_timeout_ends_well_without_a_count(wsc):
    with Server(sends("one")) as server:
        program = wsc("--timeout", 0.5, server.url)
        assert program.status() == 0
        assert program.rest() == b"one\n"
        assert server.session().close == (1000, "")


def test_timeout_before_count_is_a_failure(wsc):
    with Server(sends("one")) as server:
        program = wsc("--timeout", 0.5, "--count", 2, server.url)
        assert program.status() == 1
        assert "1 of 2 messages" in program.errors


def test_timeout_before_any_connection_is_a_failure(wsc):
    program = wsc("--timeout", 0.3, f"ws://127.0.0.1:{free_port()}/")
    assert program.status() == 1
    assert "no connection" in program.errors


def test_connect_timeout_limits_a_silent_handshake(wsc):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        program = wsc("--no-reconnect", "--connect-timeout", 0.3, f"ws://127.0.0.1:{silent.getsockname()[1]}/")
        assert program.status() == 1
        assert str(silent.getsockname()[1]) in program.errors


# ---- JSON


def events_of(program):
    return [json.loads(line) for line in program.rest().splitlines()]


def test_json_tells_a_session_from_open_to_close(wsc):
    nasty = 'quote " backslash \\ newline \n tab \t nul \0 bell \x07 del \x7f \u2028 \U0001f600'
    with Server(sends(nasty, b"\x00\x01\xfe"), subprotocols=["b"]) as server:
        before = time.time_ns()
        program = wsc("--json", "--count", 2, "--subprotocol", "a", "--subprotocol", "b", server.url)
        assert program.status() == 0
        opened, text, binary, closed = events_of(program)
        common = {"session": opened["session"], "epoch": 1}
        assert len(opened["session"]) == 36
        assert opened == {"event": "open", **common, "restarting": False, "status": 101, "subprotocol": "b"}
        assert before < text.pop("received_ns") <= binary.pop("received_ns") < time.time_ns()
        assert text == {"event": "message", **common, "type": "text", "data": nasty}
        assert binary == {"event": "message", **common, "type": "binary", "base64": "AAH+"}
        assert closed == {"event": "close", **common, "code": 1000, "reason": "", "initiator": "local"}


def test_json_tells_a_loss_and_failed_attempts(wsc):
    port = free_port()
    with Server(closes(1012, "again \u00e9"), port=port):
        program = wsc("--json", f"ws://127.0.0.1:{port}/")
        opened, closed = json.loads(program.line()), json.loads(program.line())
        assert closed == {"event": "close", "session": opened["session"], "epoch": 1, "code": 1012, "reason": "again \u00e9",
                          "initiator": "peer"}
    while (failed := json.loads(program.line()))["event"] != "restart_error":
        pass
    assert set(failed) == {"event", "retry", "error", "delay_ms", "last"}
    assert failed["retry"] >= 1 and failed["delay_ms"] > 0 and failed["last"] is False
    assert str(port) in failed["error"]
    with Server(reads, port=port):
        while (opened := json.loads(program.line()))["event"] != "open":
            pass
        assert opened["restarting"] is True and opened["epoch"] > 1
        program.interrupt()
        assert program.status() == 130


def test_json_errors_are_objects_too(wsc):
    program = wsc("--json", "--no-reconnect", f"ws://127.0.0.1:{free_port()}/")
    assert program.status() == 1
    error, = events_of(program)
    assert set(error) == {"event", "error"} and error["event"] == "error"
    with Server(reads) as server:
        program = wsc("--json", "--exit-on-eof", server.url)
        program.type(b"\xff\n")
        program.end_input()
        assert program.status() == 0
        errors = [e for e in events_of(program) if e["event"] == "error"]
        assert len(errors) == 1 and "line 1 " in errors[0]["error"]


def test_a_servers_words_do_not_reach_the_terminal_raw(wsc):
    with Server(closes(1011, "\x1b[31mred")) as server:
        program = wsc("--no-reconnect", server.url)
        assert program.status() == 1
        assert "\x1b" not in program.errors and "\\x1b[31mred" in program.errors


# ---- TLS, headers


def test_tls_with_our_own_authority(wsc, certificates):
    with Server(sends("secret"), tls=certificates.tls(certificates.server)) as server:
        for trust in (["--ca", certificates.ca], ["--insecure"]):
            program = wsc("--count", 1, *trust, server.url)
            assert program.status() == 0, program.errors
            assert program.rest() == b"secret\n"


def test_an_untrusted_certificate_is_refused_and_named(wsc, certificates):
    with Server(reads, tls=certificates.tls(certificates.server)) as server:
        program = wsc("--no-reconnect", server.url)
        assert program.status() == 1
        assert str(server.port) in program.errors and "certificate" in program.errors.lower()
        assert not server.all


def test_a_certificate_of_another_host_is_refused_and_named(wsc, certificates):
    with Server(reads, tls=certificates.tls(certificates.elsewhere)) as server:
        program = wsc("--no-reconnect", "--ca", certificates.ca, server.url)
        assert program.status() == 1
        assert "127.0.0.1" in program.errors and "certificate" in program.errors.lower()
        assert not server.all


def test_trusts_a_hashed_directory(wsc, certificates, tmp_path):
    shutil.copy(certificates.ca, tmp_path)
    subprocess.run(["openssl", "rehash", tmp_path], check=True)
    with Server(sends("trusted"), tls=certificates.tls(certificates.server)) as server:
        program = wsc("--count", 1, "--ca-dir", tmp_path, server.url)
        assert program.status() == 0, program.errors
        assert program.rest() == b"trusted\n"


def test_names_the_flag_of_a_file_that_is_of_no_use(wsc, certificates):
    def complaint(*words):
        program = wsc(*words, "wss://127.0.0.1:1/")
        assert program.status() == 1
        return program.errors

    key = certificates.key_of(certificates.client)
    assert f"--ca {key}: there is no certificate in it" in complaint("--ca", key)
    assert f"--cert {key}: there is no certificate in it" in complaint("--cert", key)
    assert f"--key {certificates.ca}: there is no private key" in complaint("--cert", certificates.client, "--key", certificates.ca)
    other = certificates.key_of(certificates.server)
    assert "the certificate of --cert" in complaint("--cert", certificates.client, "--key", other)


def test_a_message_over_the_limit_is_refused(wsc):
    with Server(sends("x" * 1000, "x" * 1001)) as server:
        program = wsc("--no-reconnect", "--max-message", 1000, server.url)
        assert program.status() == 1
        assert program.rest() == b"x" * 1000 + b"\n"
        assert "1001" in program.errors and "1000" in program.errors
        assert server.session().close[0] == 1009


def test_a_client_certificate(wsc, certificates):
    with Server(sends("known"), tls=certificates.tls(certificates.server, ask_client=True)) as server:
        program = wsc("--count", 1, "--ca", certificates.ca, "--cert", certificates.client, "--key",
                      certificates.key_of(certificates.client), server.url)
        assert program.status() == 0, program.errors
        assert program.rest() == b"known\n"


def test_headers_reach_the_server(wsc):
    with Server(reads) as server:
        program = wsc("--exit-on-eof", "--header", "X-One: 1", "--header=X-Two: a=b", "--cookie", "c=d", "--origin",
                      "https://example.com", server.url.replace("127.0.0.1", "user:pass@127.0.0.1") + "path?q=1")
        program.end_input()
        assert program.status() == 0
        request = server.session().request
        assert request.path == "/path?q=1"
        assert (request.headers["X-One"], request.headers["X-Two"]) == ("1", "a=b")
        assert (request.headers["Cookie"], request.headers["Origin"]) == ("c=d", "https://example.com")
        assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"user:pass").decode()
