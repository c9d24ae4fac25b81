"""The scripted server as a proxy: what the client says to one before it speaks to the server. The rest of the script then plays
the server behind it, on the same connection."""

import time

from script import Failed, mismatch


class ProxySteps:
    """Beside Server."""

    def do_connect(self, step):
        """connect [to=HOST:PORT] [header.NAME=...] [absent=NAME]: the head of a CONNECT request."""
        method, target, version, headers = self.read_head(step)
        wanted = [("method", "=", "CONNECT"), ("version", "=", "HTTP/1.1"), ("header.host", "=", target)]
        got = {"method": method, "to": target, "version": version, "header": headers}
        wrong = mismatch(got, wanted + [p for p in step.pairs if p[0] not in ("within", "absent")])
        if wrong:
            raise Failed(f"CONNECT: {wrong}")
        for name in step.all("absent"):
            if name.lower() in headers:
                raise Failed(f"CONNECT: header {name} should not be there")

    def do_bytes(self, step):
        """bytes HEX...: exactly these come."""
        wanted, until = bytes.fromhex("".join(step.args)), time.monotonic() + self.bound(step)
        while len(self.buffer) < len(wanted):
            self.receive(max(0.0, until - time.monotonic()))
        got = bytes(self.buffer[: len(wanted)])
        del self.buffer[: len(wanted)]
        if got != wanted:
            raise Failed(f"wanted the bytes {wanted.hex()}, got {got.hex()}")
