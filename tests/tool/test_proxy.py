"""wsc by real proxies: Debian's tinyproxy and microsocks, and one over TLS of our own."""
import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
from peer import PATIENCE, Server, free_port


def sends(session):
    session.send("hello")
    session.read_on()


@contextlib.contextmanager
def running(*command, port):
    """A server program, once it listens on its port."""
    assert shutil.which(command[0]), f"{command[0]} is missing: ci/setup installs it"
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + PATIENCE
        while True:
            assert program.poll() is None and time.monotonic() < until, f"{command[0]} does not listen"
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.02)
        yield port
    finally:
        program.terminate()
        program.wait()


def microsocks(*words):
    port = free_port()
    return running("microsocks", "-i", "127.0.0.1", "-p", str(port), *words, port=port)


def tinyproxy(folder, *lines):
    port = free_port()
    config = folder / "tinyproxy.conf"
    config.write_text("\n".join([f"Port {port}", "Listen 127.0.0.1", "Timeout 60", "LogLevel Error",
                                 f'LogFile "{folder}/tinyproxy.log"', *lines]) + "\n")
    return running("tinyproxy", "-d", "-c", str(config), port=port)


class TlsProxy(threading.Thread):
    """An HTTPS proxy: CONNECT inside TLS."""

    def __init__(self, context):
        super().__init__(daemon=True)
        self.context, self.ready, self.targets = context, threading.Event(), []
        self.start()
        assert self.ready.wait(PATIENCE)

    def run(self):
        self.loop = asyncio.new_event_loop()
        server = self.loop.run_until_complete(self.listen())
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        self.loop.run_forever()

    async def listen(self):
        return await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.context)

    async def serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        target = head.split()[1].decode()
        self.targets.append(target)
        host, port = target.rsplit(":", 1)
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(self.pipe(reader, back), self.pipe(there, writer))

    async def pipe(self, reader, writer):
        with contextlib.suppress(OSError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


def hello(program):
    assert program.status() == 0, program.errors
    assert program.rest() == b"hello\n"


@pytest.mark.parametrize("secure", [False, True])
def test_tinyproxy(wsc, certificates, tmp_path, secure):
    with Server(sends, tls=certificates.tls(certificates.server) if secure else None) as server, tinyproxy(tmp_path) as port:
        hello(wsc("--count", 1, "--ca", certificates.ca, "--proxy", f"http://127.0.0.1:{port}", server.url))


def test_tinyproxy_wants_a_password(wsc, tmp_path):
    with Server(sends) as server, tinyproxy(tmp_path, "BasicAuth user secret") as port:
        hello(wsc("--count", 1, "--proxy", f"http://user:secret@127.0.0.1:{port}", server.url))
        for who in ("", "user:wrong@"):
            program = wsc("--no-reconnect", "--proxy", f"http://{who}127.0.0.1:{port}", server.url)
            assert program.status() == 1
            assert "the proxy wants" in program.errors and "wrong" not in program.errors


def test_tinyproxy_refuses_the_port(wsc, tmp_path):
    with Server(sends) as server, tinyproxy(tmp_path, "ConnectPort 1") as port:
        program = wsc("--no-reconnect", "--proxy", f"http://127.0.0.1:{port}", server.url)
        assert program.status() == 1
        assert f"refused CONNECT to 127.0.0.1:{server.port}: 403" in program.errors


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_microsocks(wsc, scheme):
    with Server(sends) as server:
        with microsocks() as port:
            hello(wsc("--count", 1, "--proxy", f"{scheme}://127.0.0.1:{port}", server.url.replace("127.0.0.1", "localhost")))
            program = wsc("--no-reconnect", "--proxy", f"{scheme}://127.0.0.1:{port}", f"ws://127.0.0.1:{free_port()}/")
            assert program.status() == 1 and "connection refused" in program.errors
        with microsocks("-u", "user", "-P", "secret") as port:
            hello(wsc("--count", 1, "--proxy", f"{scheme}://user:secret@127.0.0.1:{port}", server.url))
            program = wsc("--no-reconnect", "--proxy", f"{scheme}://127.0.0.1:{port}", server.url)
            assert program.status() == 1 and "none of our ways" in program.errors


@pytest.mark.parametrize("secure", [False, True])
def test_a_proxy_reached_by_tls(wsc, certificates, secure):
    context = certificates.tls(certificates.server)
    big = "x" * 3_000_000

    def script(session):
        session.send(session.connection.recv())
        session.read_on()

    with Server(script, tls=context if secure else None, max_size=None) as server:
        proxy = TlsProxy(context)
        program = wsc("--count", 1, "--ca", certificates.ca, "--proxy", f"https://localhost:{proxy.port}", server.url)
        program.type(big.encode())
        program.end_input()
        assert program.status() == 0, program.errors
        assert program.rest() == big.encode() + b"\n"
        assert proxy.targets == [f"127.0.0.1:{server.port}"]
        program = wsc("--no-reconnect", "--proxy", f"https://localhost:{proxy.port}", server.url)
        assert program.status() == 1
        assert f"proxy https://localhost:{proxy.port}" in program.errors and "certificate" in program.errors


def test_the_environment_and_none(wsc, tmp_path):
    """127.0.0.1 is always reached directly; a name of this machine's own is not known to be one."""
    name = socket.gethostname()
    try:
        addresses = {a[4][0] for a in socket.getaddrinfo(name, 0)}
    except OSError:
        addresses = set()
    dead = f"http://127.0.0.1:{free_port()}"
    with Server(sends) as server:
        environment = {**os.environ, "http_proxy": dead, "no_proxy": ""}
        hello(wsc("--count", 1, server.url, env=environment))
        if not any(a.startswith("127.") for a in addresses):
            pytest.skip(f"{name} is no name of a loopback address here")
        url = server.url.replace("127.0.0.1", name)
        program = wsc("--no-reconnect", url, env=environment)
        assert program.status() == 1 and f"proxy {dead}" in program.errors
        hello(wsc("--count", 1, "--proxy", "none", url, env=environment))
        hello(wsc("--count", 1, url, env={**environment, "NO_PROXY": name}))
