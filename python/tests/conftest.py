"""A real server (`websockets`), and what must be back where it was after each test: threads and file descriptors."""

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
import time

import pytest
import uvloop
import wscengine
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

PATIENCE = 20
# ASan's search for leaks fails now and then where threads are just ending, as they are at the end of many a child: this process, and
# programs with all_ends, are searched.
SEARCHED = dict(os.environ)
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def drain(connection):
    """Reads until it is closed, whatever the code."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            connection.recv()


class Server:
    """Plays script(connection) for each connection; echoes without one. Says what arrived."""

    def __init__(self, script=None, **options):
        self.script, self.got, self.paths = script, [], []
        self.server = serve(self.handle, "127.0.0.1", 0, **options)
        self.port = self.server.socket.getsockname()[1]
        scheme = "wss" if options.get("ssl") else "ws"
        self.url = f"{scheme}://127.0.0.1:{self.port}/"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def handle(self, connection):
        self.paths.append(connection.request.path)
        if self.script:
            self.script(connection)
            return
        for message in connection:
            self.got.append(message)
            connection.send(message)

    def close(self):
        self.server.shutdown()
        self.thread.join()
        os.close(self.server.shutdown_watcher)  # websockets leaves its pipe open
        os.close(self.server.shutdown_notifier)


@pytest.fixture
def server():
    made = []

    def start(script=None, **options):
        made.append(Server(script, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


def counts():
    gc.collect()
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


def resident():
    """Bytes of memory."""
    with open("/proc/self/statm") as fields:
        return int(fields.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def no_more_than(before):
    """Whether memory has not grown. Not to be told under ASan, which keeps what is freed and looks for leaks itself."""
    return resident() - before < 1_000_000 or "libasan" in os.environ.get("LD_PRELOAD", "")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(certificate, key) of 127.0.0.1, signed by itself."""
    folder = tmp_path_factory.mktemp("certificate")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test".split()
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(["openssl", *words, *names, *files], check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(autouse=True, scope="session")
def warm():
    """The first engine of a process makes what stays, and so do uvloop's first loop and its pool of threads."""

    async def look_up():
        await asyncio.get_running_loop().getaddrinfo("localhost", 0)

    uvloop.run(look_up())
    with pytest.raises(wscengine.StartError):
        wscengine.Engine("ws://127.0.0.1:1/").start()


@pytest.fixture(autouse=True)
def nothing_is_left(warm):
    before = counts()
    yield
    end = time.monotonic() + PATIENCE
    while counts() > before and time.monotonic() < end:
        time.sleep(0.02)
    after = counts()
    assert after[0] <= before[0] and after[1] <= before[1], f"(threads, fds) were {before} and are {after}"


@pytest.fixture
def program():
    """Runs Python source in a process of its own: program(source, *arguments) -> Popen. all_ends: no thread is left at its end."""
    made = []

    def start(source, *arguments, all_ends=False):
        process = subprocess.Popen(
            [sys.executable, "-c", source, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=SEARCHED if all_ends else None,
        )
        made.append(process)
        return process

    yield start
    for process in made:
        process.kill()
        process.communicate()
