"""The scripted server: one thread plays one script, step by step, and misbehaves byte by byte where the script says so.

It serves one connection at a time: `accept` waits for the next and forgets the last. Every wait is bounded.
Python >= 3.11, standard library only. On its own: python3 server.py SCRIPT_FILE [PORT]"""

import select
import socket
import ssl
import struct
import sys
import threading
import time
import zlib

import frames
from script import Failed, find, mismatch, parse

BOUND = 5.0  # seconds a step may take unless it says `within=`
NAMES = {frames.TEXT: "text", frames.BINARY: "binary", frames.CLOSE: "close", frames.PING: "ping", frames.PONG: "pong"}


class Ended(Exception):
    """The client's side of the connection is over."""


def short(data):
    return repr(data if len(data) <= 60 else data[:60] + b"...")


class Server:
    def __init__(self, script, *, tls=None, signals=None, note=print, slack=1.0, port=0):
        self.steps = parse(script)
        self.tls, self.note, self.slack = tls, note, slack
        self.signals = signals if signals is not None else {}
        self.halted = threading.Event()  # the client's side failed: stop waiting
        self.listener = None
        self.port = port
        self.forget()
        self.listen()

    # ---- sockets ----

    def listen(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]

    def forget(self):
        self.connection = None
        self.buffer = bytearray()
        self.request = {}
        self.dribble = False
        self.auto_pong = True
        self.allowed_bits, self.compressed = 0, False  # of RSV: what the client may set, what its message has
        self.pings = 0
        self.keys = set()
        self.partial, self.flooded = b"", 0
        self.marked = getattr(self, "marked", time.monotonic())

    def drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def close(self):
        self.drop()
        if self.listener:
            self.listener.close()

    def wait_until_ready(self, what, seconds, reading=True):
        """Slices, so that a failed client does not keep us for the whole bound."""
        until = time.monotonic() + seconds
        if reading and isinstance(what, ssl.SSLSocket) and what.pending():
            return True
        while not self.halted.is_set():
            left = until - time.monotonic()
            if left < 0:
                return False
            slice_ = min(left, 0.2)
            ready = select.select([what] if reading else [], [] if reading else [what], [], slice_)
            if ready[0] or ready[1]:
                return True
        raise Failed("halted")

    def receive(self, seconds):
        """More bytes into the buffer. Ended at the end of the stream or a reset."""
        if not self.connection:
            raise Failed("the script has no connection here")
        if not self.wait_until_ready(self.connection, seconds):
            raise TimeoutError
        try:
            data = self.connection.recv(1 << 18)
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as e:
            raise Ended("reset" if "EOF" not in str(e) else "eof") from e
        except OSError as e:
            raise Ended("reset") from e
        if not data:
            raise Ended("eof")
        self.buffer += data

    def send(self, data):
        if not self.connection:
            raise Failed("the script has no connection here")
        try:
            if not self.dribble:
                self.connection.settimeout(BOUND * self.slack)
                self.connection.sendall(data)
            for i in range(len(data)) if self.dribble else ():
                self.connection.send(data[i : i + 1])
                time.sleep(0)
        except OSError as e:
            raise Failed(f"could not send {short(data)}: {e}") from e

    # ---- reading frames and messages ----

    def bound(self, step):
        return step.number("within", BOUND) * self.slack

    def next_frame(self, until):
        while True:
            try:
                first, payload, key = frames.take(self.buffer, self.allowed_bits)
            except frames.Incomplete:
                self.receive(max(0.0, until - time.monotonic()))
                continue
            except AssertionError as e:
                raise Failed(str(e)) from e
            if key in self.keys:
                raise Failed(f"client used the masking key {key.hex()} twice")
            self.keys.add(key)
            fin, opcode = bool(first & 0x80), first & 0x0F
            self.compressed = bool(first & 0x40) if opcode in (frames.TEXT, frames.BINARY) else self.compressed
            self.note(f"got {'' if fin else 'unfinished '}{NAMES.get(opcode, 'continuation')} {short(payload)}")
            return fin, opcode, payload

    def next_message(self, until, wanted=()):
        """A whole message or a control frame; unexpected pings are counted and answered (not with `auto_pong off`)."""
        kind, parts = None, []
        while True:
            fin, opcode, payload = self.next_frame(until)
            if opcode == frames.PING and "ping" not in wanted:
                self.pings += 1
                if self.auto_pong:
                    self.send(frames.frame(frames.PONG, payload))
                continue
            if opcode >= 8:
                return NAMES[opcode], payload, 1
            if (opcode == frames.CONTINUATION) != (kind is not None):
                raise Failed("client sent a continuation without a beginning, or a beginning inside a message")
            kind = kind or NAMES[opcode]
            parts.append(payload)
            if fin:
                whole = b"".join(parts)
                return kind, self.unpack(whole) if self.compressed else whole, len(parts), max(map(len, parts))

    # ---- playing ----

    def play(self):
        self.run(self.steps)

    def run(self, steps):
        for step in steps:
            if self.halted.is_set():
                return
            self.note(f"> {step.line}")
            if step.verb == "repeat":
                for _ in range(int(step.arg(0))):
                    self.run(step.block)
                continue
            method = getattr(self, "do_" + step.verb, None)
            if not method:
                raise Failed(f"unknown server step: {step.line}")
            try:
                method(step)
            except TimeoutError:
                raise Failed(f"nothing came in time for: {step.line}") from None
            except Ended as e:
                raise Failed(f"the client's side ended ({e}) at: {step.line}") from None
            except Failed as e:
                raise Failed(f"{e} (at: {step.line})") from None

    # connections

    def accepted(self):
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_accept(self, step):
        self.drop()
        if not self.wait_until_ready(self.listener, self.bound(step)):
            raise Failed("no connection came")
        self.forget()
        self.connection, _ = self.listener.accept()
        self.accepted()
        if step.get("buffer"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(step.get("buffer")))
        if self.tls and step.get("tls", "on") == "on":
            self.do_start_tls(step)

    def do_start_tls(self, step):
        """start_tls [certificate=NAME] [fails=tls]: from here on the connection is TLS."""
        context = self.tls[step.get("certificate", "server")]
        self.connection.settimeout(self.bound(step))
        try:
            self.connection = context.wrap_socket(self.connection, server_side=True)
        except (OSError, ssl.SSLError) as e:
            if step.get("fails") != "tls":
                raise Failed(f"TLS handshake failed: {e}") from e
            self.connection = None

    def read_head(self, step):
        """The head of an HTTP request -> (method, target, version, headers by lower-case name)."""
        until = time.monotonic() + self.bound(step)
        while b"\r\n\r\n" not in self.buffer:
            self.receive(max(0.0, until - time.monotonic()))
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer = bytearray(rest)
        lines = head.decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = (
                f"{headers[name.lower()]}, {value.strip()}" if name.lower() in headers else value.strip()
            )
        self.note(f"request {lines[0]} {headers}")
        return method, target, version, headers

    def do_request(self, step):
        method, target, version, headers = self.read_head(step)
        self.request = {"method": method, "path": target, "version": version, "header": headers}
        wrong = mismatch(self.request, [p for p in step.pairs if p[0] not in ("within", "absent")])
        if wrong:
            raise Failed(f"request: {wrong}")
        for name in step.all("absent"):
            if name.lower() in headers:
                raise Failed(f"request: header {name} should not be there")
        must = [
            ("method", "=", "GET"),
            ("version", "=", "HTTP/1.1"),
            ("header.upgrade", "~", "websocket"),
            ("header.connection", "~", "upgrade"),
            ("header.sec-websocket-version", "=", "13"),
        ]
        wrong = mismatch(self.request, must)
        if wrong or len(find(self.request, "header.sec-websocket-key") or "") != 24 or "host" not in headers:
            raise Failed(f"not a good upgrade request: {wrong or 'key or host'}")

    def do_respond(self, step):
        status = int(step.arg(0, "101"))
        reason = step.get("reason", {101: "Switching Protocols", 200: "OK"}.get(status, "Because"))
        lines = [f"HTTP/1.1 {status} {reason}"]
        if status == 101:
            key = self.request["header"]["sec-websocket-key"]
            for name, value in (
                ("Upgrade", step.get("upgrade", "websocket")),
                ("Connection", step.get("connection", "Upgrade")),
                ("Sec-WebSocket-Accept", step.get("accept", frames.accept_key(key))),
            ):
                if value != "none":
                    lines.append(f"{name}: {value}")
        if step.get("subprotocol"):
            lines.append(f"Sec-WebSocket-Protocol: {step.get('subprotocol')}")
        body = step.get("body", "").encode() or frames.pattern(int(step.get("body_size", 0)))
        if status != 101 and step.get("length", "on") == "on":
            lines.append(f"Content-Length: {len(body)}")
        lines += step.all("header")
        if step.get("header_size"):
            lines += ["X-Filler: " + "x" * 1000] * (int(step.get("header_size")) // 1000)
        data = "\r\n".join(lines + ["", ""]).encode() + body
        if step.get("glue"):
            data += frames.frame(frames.TEXT, step.get("glue").encode())
        if step.get("stall_after"):
            data = data[: int(step.get("stall_after"))]
        self.dribble = step.get("dribble") == "on"
        self.send(data)

    def do_open(self, step):
        self.do_accept(step)
        self.do_request(type(step)(step.line, "request", pairs=[p for p in step.pairs if p[0] == "within"]))
        self.do_respond(step)

    def do_drop(self, step):
        self.drop()

    def do_reset(self, step):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.drop()

    def do_shutdown(self, step):
        self.connection.shutdown(socket.SHUT_WR)

    def do_stop_listening(self, step):
        self.listener.close()
        self.listener = None

    def do_listen(self, step):
        self.listen()

    def do_no_connection(self, step):
        if self.wait_until_ready(self.listener, float(step.arg(0))):
            raise Failed("a connection came")

    # sending

    def payload(self, step, position=1):
        if step.get("hex") is not None:
            return bytes.fromhex(step.get("hex"))
        if step.get("size") is not None:
            return frames.pattern(int(step.get("size")))
        return step.get("text", step.arg(position)).encode()

    def do_send(self, step):
        """send text|binary|ping|pong [TEXT] [hex=] [size=] [fragments=N] [compressed=yes]"""
        opcode = {v: k for k, v in NAMES.items()}[step.arg(0)]
        payload, count = self.payload(step), int(step.get("fragments", 1))
        compressed = step.get("compressed") == "yes"
        if compressed:
            payload = self.pack(payload)
        size = -(-len(payload) // count) or 1
        pieces = [payload[i : i + size] for i in range(0, len(payload), size)] or [b""]
        for i, piece in enumerate(pieces):
            first = {"opcode": opcode, "rsv": 4 if compressed else 0} if i == 0 else {"opcode": frames.CONTINUATION}
            self.send(frames.frame(payload=piece, fin=i == len(pieces) - 1, **first))

    def do_close(self, step):
        payload = b""
        if step.args:
            payload = struct.pack(">H", int(step.arg(0))) + (
                bytes.fromhex(step.get("hex")) if step.get("hex") else step.arg(1).encode()
            )
        self.send(frames.frame(frames.CLOSE, payload))

    def do_frame(self, step):
        """frame OPCODE [TEXT] [hex=] [fin=0] [rsv=] [masked=1] [length=] [length_bytes=]"""
        length, width = step.get("length"), step.get("length_bytes")
        self.send(
            frames.frame(
                int(step.arg(0)),
                self.payload(step),
                fin=step.get("fin", "1") == "1",
                rsv=int(step.get("rsv", 0)),
                masked=step.get("masked") == "1",
                length=int(length) if length else None,
                length_bytes=int(width) if width else None,
            )
        )

    def do_hex(self, step):
        self.send(bytes.fromhex("".join(step.args)))

    def do_raw(self, step):
        if step.get("size") is not None:
            self.send(self.payload(step))
            return
        self.send(step.arg(0).encode("latin-1").decode("unicode_escape").encode("latin-1"))

    def do_dribble(self, step):
        self.dribble = step.arg(0) == "on"

    def do_auto_pong(self, step):
        self.auto_pong = step.arg(0) == "on"

    def numbered(self, i, size):
        head = f"{i} ".encode()
        return head + b"." * (size - len(head))

    def do_flood(self, step):
        """flood COUNT [size=]: numbered text messages in as few writes as fit; a second one goes on counting."""
        first, size = self.flooded, int(step.get("size", 16))
        self.flooded += int(step.arg(0))
        self.send(b"".join(frames.frame(frames.TEXT, self.numbered(i, size)) for i in range(first, self.flooded)))

    def do_flood_until_blocked(self, step):
        """Numbered messages until the client takes nothing for half a second; more than `most` bytes is a failure.
        `flood_rest` goes on."""
        size, most, sent, i = int(step.get("size", 65536)), int(step.get("most")), 0, 0
        self.connection.setblocking(False)
        data = b""
        while True:
            if not data:
                data, i = frames.frame(frames.TEXT, self.numbered(i, size)), i + 1
            if not self.wait_until_ready(self.connection, 0.5, reading=False):
                break
            n = self.connection.send(data)
            data, sent = data[n:], sent + n
            if sent > most:
                raise Failed(f"{sent} bytes went out and nothing held them back")
        self.connection.setblocking(True)
        self.partial, self.flooded = data, i
        self.note(f"blocked after {sent} bytes, {i} messages")

    def do_flood_rest(self, step):
        """The rest of the message that was held back, then "end COUNT"."""
        self.send(self.partial)
        self.send(frames.frame(frames.TEXT, f"end {self.flooded}".encode()))

    # expecting

    def do_expect(self, step):
        what, until = step.arg(0), time.monotonic() + self.bound(step)
        if what in ("eof", "reset", "end"):
            return self.expect_end(what, step, until)
        kind, payload, *rest = self.next_message(until, (what,))
        if kind != what:
            raise Failed(f"wanted {what}, got {kind} {short(payload)}")
        if kind == "close":
            return self.expect_close(step, payload)
        if len(step.args) > 1 and payload != step.arg(1).encode():
            raise Failed(f"wanted {step.arg(1)!r}, got {short(payload)}")
        event = {
            "hex": payload.hex(),
            "length": len(payload),
            "fragments": rest[0],
            "largest": rest[1] if len(rest) > 1 else len(payload),
            "compressed": "yes" if self.compressed else "no",
            "pings": self.pings,
            "pattern": payload == frames.pattern(len(payload)),
            "crc": zlib.crc32(payload),
        }
        wrong = mismatch(event, [p for p in step.pairs if p[0] != "within"])
        if wrong:
            raise Failed(wrong)
        if kind == "ping" and self.auto_pong:
            self.send(frames.frame(frames.PONG, payload))

    def do_expect_pong_within_message(self, step):
        """expect_pong_within_message TEXT size= [fragments>=] [largest<=]: the pong passes between its fragments."""
        until, crc, sizes, pong_at, fin = time.monotonic() + 4 * self.bound(step), 0, [], None, False
        while not fin:
            fin, opcode, payload = self.next_frame(until)
            if opcode == frames.PONG and payload == step.arg(0).encode():
                pong_at, fin = len(sizes), False
            elif opcode in (frames.CONTINUATION, frames.BINARY, frames.TEXT):
                crc = zlib.crc32(payload, crc)
                sizes.append(len(payload))
            else:
                raise Failed(f"wanted data and a pong, got {NAMES[opcode]}")
        size = int(step.get("size"))
        if sum(sizes) != size or crc != zlib.crc32(frames.pattern(size)):
            raise Failed(f"the message has {sum(sizes)} bytes, or others than were written")
        if pong_at is None:
            raise Failed("the pong did not pass between the fragments")
        wrong = mismatch(
            {"fragments": len(sizes), "largest": max(sizes)},
            [p for p in step.pairs if p[0] in ("fragments", "largest")],
        )
        if wrong:
            raise Failed(wrong)

    def expect_end(self, what, step, until):
        try:
            while True:
                kind, payload, *_ = self.next_message(until)
                if step.get("after") != "anything":
                    raise Failed(f"wanted the end of the connection, got {kind} {short(payload)}")
        except Ended as e:
            if what != "end" and str(e) != what:
                raise Failed(f"wanted {what}, got {e}") from None
            if step.get("clean") == "on" and self.buffer:
                raise Failed(f"the stream ends inside a frame: {short(bytes(self.buffer))}") from None
        self.drop()

    def do_expect_raw_end(self, step):
        """The end of the connection, whatever bytes come before it: for answers below WebSocket."""
        until = time.monotonic() + self.bound(step)
        try:
            while True:
                self.receive(max(0.0, until - time.monotonic()))
        except Ended:
            self.drop()

    def expect_close(self, step, payload):
        code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 0
        reason = payload[2:].decode()
        wanted = step.arg(1, "")
        if wanted and wanted != "any" and code != int(wanted):
            raise Failed(f"wanted close {wanted}, got {code} {reason!r}")
        if len(step.args) > 2 and reason != step.arg(2):
            raise Failed(f"wanted reason {step.arg(2)!r}, got {reason!r}")
        wrong = mismatch({"code": code, "reason": reason}, [p for p in step.pairs if p[0] != "within"])
        if wrong:
            raise Failed(f"close frame: {wrong}")

    def do_bye(self, step):
        """bye [CODE [REASON]]: the client closes, we echo and end the connection as a server should."""
        until = time.monotonic() + self.bound(step)
        kind, payload, *_ = self.next_message(until, ("close",))
        while kind != "close" and step.get("after") == "anything":
            kind, payload, *_ = self.next_message(until, ("close",))
        if kind != "close":
            raise Failed(f"wanted a close, got {kind} {short(payload)}")
        pairs = [p for p in step.pairs if p[0] in ("code", "reason")]
        self.expect_close(type(step)(step.line, "expect", ["close"] + step.args, pairs), payload)
        try:
            self.send(frames.frame(frames.CLOSE, payload[:2]))
        except Failed:
            pass  # a client that fails the connection may have gone already
        self.drop()

    def do_quiet(self, step):
        """Nothing is received for so many seconds; the end of the connection counts as something."""
        try:
            self.receive(float(step.arg(0)))
        except TimeoutError:
            return
        raise Failed(f"got {short(bytes(self.buffer))}")

    def do_swallow(self, step):
        """Reads and forgets frames, answering pings, for so many seconds: a server that lives, but says nothing."""
        until = time.monotonic() + float(step.arg(0))
        try:
            while True:
                self.next_message(until)
        except TimeoutError:
            pass

    # time and signals

    def do_sleep(self, step):
        self.halted.wait(float(step.arg(0)))

    def do_mark(self, step):
        self.marked = time.monotonic()

    def do_since(self, step):
        """since LOW..HIGH: seconds since the last `mark`; the upper bound is generous for slow machines."""
        low, high = step.arg(0).split("..", 1)
        past = time.monotonic() - self.marked
        if not float(low) <= past <= float(high) * self.slack:
            raise Failed(f"{past:.3f} s have passed since the mark")

    def do_pings(self, step):
        wrong = mismatch({"pings": self.pings}, step.pairs) or (
            "" if not step.args or int(step.arg(0)) == self.pings else "count"
        )
        if wrong:
            raise Failed(f"{self.pings} pings came: {wrong}")

    def do_signal(self, step):
        self.signals.setdefault(step.arg(0), threading.Event()).set()

    def do_await(self, step):
        event, until = self.signals.setdefault(step.arg(0), threading.Event()), time.monotonic() + self.bound(step)
        while not event.wait(0.1):
            if self.halted.is_set() or time.monotonic() > until:
                raise Failed(f"signal {step.arg(0)} did not come")


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        server = Server(f.read(), port=int(sys.argv[2]) if len(sys.argv) > 2 else 0, slack=100)
    print(f"ws://127.0.0.1:{server.port}/", flush=True)
    try:
        server.play()
    except Failed as e:
        sys.exit(f"failed: {e}")
    finally:
        server.close()


if __name__ == "__main__":
    main()
