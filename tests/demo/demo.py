"""wscengine's main job, on a real feed, against a server that does everything servers do.

A server (the third-party `websockets` package, over TLS with a certificate made for this run) streams price rows
(stocks.csv and ohlc.json of the vega_datasets package, repeated) as JSON with increasing numbers. The client subscribes
in OnOpen and, after each reconnect, from the last number it saw. Meanwhile

  1. the server closes with 1012 (service restart)
  2. the server is killed (SIGKILL), is away for 6 s and is started again
  3. the server goes away (1001), then accepts and closes at once (1013) three times
  4. there is no news for 3 s, which is no fault: keepalive (2 s here, as is its timeout) asks and is answered
  5. after a session of more than 10 s, which sets the delays back, the server falls silent (SIGSTOP) until keepalive
     finds out; then it goes on (SIGCONT)

Each client (in C, in Python, in Go) has a server of its own, all at the same time. At the end there is a table for each. Exit
status 0 only when no message was missed, none came twice, and each of the faults above was seen by each client. It takes
about a minute.
"""
import argparse
import functools
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
STARTED = time.monotonic()
DOWN_S = 6.0            # how long the killed server stays away: longer than one reconnect delay, so an attempt fails
STABLE_S = 10.5         # stable_after is 10 s
PING_S = 2
QUIET_S = PING_S + 1.0   # no news for so long: one ping, one pong
SILENT_S = 2 * PING_S + 1.5
SLOW, FAST = 200, 8000  # rows a second: while faults happen; at the end


class Failed(Exception):
    pass


def tell(text, who="demo"):
    print(f"{time.monotonic() - STARTED:6.1f} s  {who:<13}  {text}", flush=True)


class Child:
    """A child process whose output lines are read by a thread; its events can be waited for."""

    def __init__(self, name, command, **options):
        self.name, self.lines = name, queue.Queue()
        self.process = subprocess.Popen([str(c) for c in command], text=True, stdout=subprocess.PIPE, **options)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


class Server(Child):
    def __init__(self, folder, port, side):
        self.who = f"{side} server"
        super().__init__("server", [sys.executable, HERE / "server.py", "--port", port, "--rate", SLOW,
                                    "--cert", folder / "server.pem", "--key", folder / "server.key"], stdin=subprocess.PIPE)
        self.port = self.wait("listening", 20)["port"]

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def wait(self, event, seconds):
        limit = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0, limit - time.monotonic()))
            except queue.Empty:
                raise Failed(f"the server did not report {event!r} within {seconds:g} s") from None
            if line is None:
                raise Failed(f"the server ended (status {self.process.wait()}) before it reported {event!r}")
            got = json.loads(line)
            details = ", ".join(f"{k} {v}" for k, v in got.items() if k != "event")
            tell(f"{got['event']}: {details}" if details else got["event"], self.who)
            if got["event"] == event:
                return got


class Client(Child):
    """Prints the client's lines as they come and keeps the last one, the summary."""

    def __init__(self, command, side):
        super().__init__("client", command)
        self.who = f"{side} client"
        self.summary, self.ended = None, threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        last = ""
        while (line := self.lines.get()) is not None:
            if line.startswith("{"):
                last = line
            else:
                tell(line, self.who)
        try:
            self.summary = json.loads(last)
        except ValueError:
            pass
        self.ended.set()


def make_certificates(folder):
    """A certificate authority of our own and a server certificate of it, for localhost, valid for a day."""
    def openssl(*words):
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"openssl {words[0]}: {done.stderr}")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-days", 1, "-subj", "/CN=wscengine demo CA", "-keyout", folder / "ca.key", "-out", folder / "ca.pem",
            "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", *key, "-subj", "/CN=localhost", "-keyout", folder / "server.key", "-out", folder / "server.csr")
    (folder / "server.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-days", 1, "-in", folder / "server.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key",
            "-CAcreateserial", "-extfile", folder / "server.ext", "-out", folder / "server.pem")


def orchestrate(folder, count, side, command, children):
    say = functools.partial(tell, who=side)
    server = Server(folder, 0, side)
    children.append(server)
    say(f"server: wss://localhost:{server.port}/, certificate made just now")
    client = Client([*command, f"wss://localhost:{server.port}/feed", "--count", count, "--ca", folder / "ca.pem",
                     "--ping-interval", PING_S, "--ping-timeout", PING_S], side)
    children.append(client)

    def stream(seconds, patience=15):
        """Waits for the client to subscribe, then lets rows flow."""
        server.wait("subscribed", patience)
        if client.ended.wait(seconds):
            raise Failed(f"the client ended too early, with status {client.process.wait()}")

    stream(3)
    say("1: the server closes with 1012")
    server.tell("close 1012 service restart")

    stream(3)
    say(f"2: the server is killed and stays away for {DOWN_S:g} s")
    server.end()
    if client.ended.wait(DOWN_S):
        raise Failed("the client ended while the server was away")
    children.remove(server)
    server = Server(folder, server.port, side)
    children.append(server)

    stream(3)
    say("3: the server goes away, then accepts and closes at once three times")
    server.tell("slam 3")
    for _ in range(3):
        server.wait("slammed", 15)

    stream(STABLE_S - QUIET_S)
    say(f"4: no news for {QUIET_S:g} s, but the server is well")
    server.tell("rate 0")
    if client.ended.wait(QUIET_S):
        raise Failed("the client ended while there was no news")
    server.tell(f"rate {SLOW}")
    if client.ended.wait(1):
        raise Failed("the client ended after a quiet while")

    say(f"5: the server falls silent for {SILENT_S:g} s")
    server.process.send_signal(signal.SIGSTOP)
    if client.ended.wait(SILENT_S):
        raise Failed("the client ended while the server was silent")
    server.process.send_signal(signal.SIGCONT)

    stream(1)
    say("no more faults: the rest at full speed")
    server.tell(f"rate {FAST}")
    if not client.ended.wait(30):
        raise Failed(f"the client has not seen {count} messages 30 s after the last fault")
    status = client.process.wait()
    if client.summary is None:
        raise Failed(f"the client ended with status {status} and no summary")
    return status, client.summary


# What the client must have noticed: name, pattern of the cause, how often.
PLANNED = [
    ("closed with 1012", r"\b1012\b", 1),
    ("killed: link lost", r"\b1006\b(?!.*(keepalive|ping|pong))|reset by peer|end of (stream|file)", 1),
    ("while away: connection refused", r"refused", 1),
    ("gone away", r"\b1001\b", 1),
    # When the close overtakes the subscription, on_open cannot write and refuses the session.
    ("accepted and closed at once", r"\b1013\b|on_open refused", 3),
    ("silent: found by keepalive", r"keepalive|ping|pong", 1),
]


def judge(status, s, count):
    """Every reason why the demo has failed."""
    wrong = []
    causes = [r["cause"] for r in s["reconnects"]]
    for name, pattern, times in PLANNED:
        seen = sum(bool(re.search(pattern, c, re.IGNORECASE)) for c in causes)
        if seen < times:
            wrong.append(f"fault not seen by the client: {name} ({seen} of {times})")
    for key in ("gaps", "duplicates"):
        if s[key] != 0:
            wrong.append(f"{key} {s[key]}")
    if s["messages"] != count:
        wrong.append(f"{s['messages']} messages, not {count}")
    if not s["rtt_ms"] or s["rtt_ms"] <= 0:
        wrong.append("no round-trip time was measured")
    if status != 0:
        wrong.append(f"the client's exit status is {status}")
    return wrong


def table(s):
    """The summary as people read it. Causes are put on one line."""
    causes = [" ".join(r["cause"].split()) for r in s["reconnects"]]
    rtt = f"{s['rtt_ms']:.2f} ms" if s["rtt_ms"] else "-"
    print(f"\nmessages    {s['messages']}\nsessions    {s['sessions']}\nRTT         {rtt}\nreconnects  {len(s['reconnects'])}")
    width = min(90, max(map(len, causes), default=0))
    for n, (cause, r) in enumerate(zip(causes, s["reconnects"]), 1):
        print(f"  {n:2}  {cause:<{width}}  after {r['delay_ms'] / 1000:5.2f} s")
    print(f"gaps {s['gaps']}\nduplicates {s['duplicates']}")


class Side(threading.Thread):
    """One client and the server that is cruel to it, from the first line to the verdict."""

    def __init__(self, name, command, folder, count):
        super().__init__(daemon=True)
        self.side, self.command, self.folder, self.count = name, command, folder, count
        self.children, self.summary, self.wrong = [], None, []

    def run(self):
        try:
            status, self.summary = orchestrate(self.folder, self.count, self.side, self.command, self.children)
            self.wrong = judge(status, self.summary, self.count)
        except Failed as e:
            self.wrong = [str(e)]
        except KeyError as e:
            self.wrong = [f"the client's summary has no {e}"]
        except Exception as e:  # a fault of the demo's own is no pass
            self.wrong = [repr(e)]
        finally:
            self.end()

    def end(self):
        for child in list(self.children):
            child.end()

    def report(self):
        if self.summary:
            print(f"\nclient      {self.side}", end="")
            table(self.summary)
        for line in self.wrong:
            print(f"demo FAILED: {self.side}: {line}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", required=True, nargs="+", action="append", metavar=("NAME", "COMMAND"),
                        help="what a client is called, and how it is started; several are tried at the same time")
    parser.add_argument("--count", type=int, default=20000, help="messages until the client ends (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wscengine-demo-") as name:
        folder = pathlib.Path(name)
        make_certificates(folder)
        sides = [Side(client[0], client[1:], folder, args.count) for client in args.client]
        try:
            for side in sides:
                side.start()
            for side in sides:
                side.join()
        except KeyboardInterrupt:
            return 130
        finally:
            for side in sides:
                side.end()
    for side in sides:
        side.report()
    wrong = [line for side in sides for line in side.wrong]
    if not wrong:
        print(f"demo passed in {time.monotonic() - STARTED:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
