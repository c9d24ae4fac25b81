"""The other side of wsc and of the examples: servers by the third-party `websockets` package, and running programs."""
import contextlib
import os
import pathlib
import queue
import signal
import socket
import ssl
import subprocess
import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

PATIENCE = 20  # seconds until something that must happen counts as never happening


def build_dir():
    path = os.environ.get("WSC_BUILD_DIR")
    assert path, "WSC_BUILD_DIR names the build that is tested (ci/test sets it)"
    return pathlib.Path(path).resolve()


def free_port():
    """A port that nobody listens on: its number is free, for the moment that a test needs."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Session:
    """One connection as the server saw it."""

    def __init__(self, connection):
        self.connection, self.request = connection, connection.request
        self.got = queue.Queue()
        self.ended = threading.Event()

    def send(self, message):
        self.connection.send(message)

    def read_on(self):
        """Keeps what comes in `got`, until the connection ends."""
        for message in self.connection:
            self.got.put(message)

    def take(self, count):
        return [self.got.get(timeout=PATIENCE) for _ in range(count)]

    @property
    def close(self):
        """(code, reason) of the close frame that the client sent, None when none came."""
        assert self.ended.wait(PATIENCE), "the session did not end"
        received = self.connection.protocol.close_rcvd
        return received and (received.code, received.reason)


def reads(session):
    """A server that only listens."""
    session.read_on()


class Server:
    """Runs `script(session)` for each connection, each in a thread of its own."""

    def __init__(self, script, port=0, tls=None, compression=None, **options):
        self.script, self.all, self.queue = script, [], queue.Queue()
        self.server = serve(self._serve, "127.0.0.1", port, ssl=tls, compression=compression, **options)
        self.port = self.server.socket.getsockname()[1]
        self.url = f"ws{'s' if tls else ''}://127.0.0.1:{self.port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def _serve(self, connection):
        session = Session(connection)
        self.all.append(session)
        self.queue.put(session)
        try:
            self.script(session)
        except ConnectionClosed:
            pass
        finally:
            connection.close()
            session.ended.set()

    def session(self):
        """The next one that was opened."""
        return self.queue.get(timeout=PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        for session in self.all:
            with contextlib.suppress(OSError):  # close alone would be heard by nobody while a thread still reads from it
                session.connection.socket.shutdown(socket.SHUT_RDWR)
            session.connection.socket.close()
        self.thread.join(PATIENCE)


class Program:
    """A running program whose output is collected."""

    def __init__(self, *command, collect=True, **options):
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        self.process = subprocess.Popen([str(c) for c in command], **options)
        self.lines, self.err = queue.Queue(), []
        self.threads = []
        if collect and self.process.stdout:
            self._collect(self.process.stdout, self.lines.put)
        if self.process.stderr:
            self._collect(self.process.stderr, self.err.append)

    def _collect(self, stream, keep):
        def follow():
            for line in stream:
                keep(line)
        self.threads.append(threading.Thread(target=follow, daemon=True))
        self.threads[-1].start()

    def line(self):
        return self.lines.get(timeout=PATIENCE).decode().rstrip("\n")

    def type(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def end_input(self):
        self.process.stdin.close()

    def interrupt(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def status(self):
        status = self.process.wait(PATIENCE)
        for thread in self.threads:
            thread.join(PATIENCE)
        return status

    @property
    def errors(self):
        return b"".join(self.err).decode()

    def wait_for_error(self, text):
        until = time.monotonic() + PATIENCE
        while text not in self.errors:
            assert time.monotonic() < until, f"{text!r} is not in {self.errors!r}"
            time.sleep(0.01)

    def rest(self):
        """What was printed and not yet asked for; only after status()."""
        lines = []
        while not self.lines.empty():
            lines.append(self.lines.get())
        return b"".join(lines)

    def resident_bytes(self):
        pages = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                try:
                    stream.close()
                except OSError:
                    pass


class Certificates:
    """An authority of our own and what it has signed, each valid for a day."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = folder / "ca.pem"
        self._openssl("req", "-x509", *self._new_key("ca"), "-days", 1, "-subj", "/CN=wsc test CA", "-out", self.ca,
                      "-addext", "keyUsage=critical,keyCertSign")
        self.server = self._sign("server", "DNS:localhost,IP:127.0.0.1")
        self.elsewhere = self._sign("elsewhere", "DNS:elsewhere.example")
        self.client = self._sign("client", "DNS:client.example")

    def _openssl(self, *words):
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def _new_key(self, name):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self.folder / f"{name}.key")

    def _sign(self, name, alternatives):
        request, extensions, signed = (self.folder / f"{name}.{end}" for end in ("csr", "ext", "pem"))
        extensions.write_text(f"subjectAltName={alternatives}\n")
        self._openssl("req", *self._new_key(name), "-subj", f"/CN={name}", "-out", request)
        self._openssl("x509", "-req", "-days", 1, "-in", request, "-CA", self.ca, "-CAkey", self.folder / "ca.key",
                      "-CAcreateserial", "-extfile", extensions, "-out", signed)
        return signed

    def key_of(self, certificate):
        return certificate.with_suffix(".key")

    def tls(self, certificate, ask_client=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, self.key_of(certificate))
        if ask_client:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context
