"""permessage-deflate (RFC 7692) at the scripted server: `deflate` switches it on, `send ... compressed=yes` uses it, and
what the client compresses is inflated before it is compared."""

import zlib

from script import Failed

TAIL = b"\x00\x00\xff\xff"


class DeflateSteps:
    """Beside Server."""

    deflate = None

    def forget(self):
        super().forget()
        self.deflate = None

    def do_deflate(self, step):
        """deflate [bits=N] [forget=yes] [client_bits=N] [client_forget=yes]: bits and forget are of what the server sends.
        `respond` must have agreed to the same."""
        self.deflate = {
            "bits": int(step.get("bits", 15)),
            "forget": step.get("forget") == "yes",
            "client_bits": int(step.get("client_bits", 15)),
            "client_forget": step.get("client_forget") == "yes",
        }
        self.allowed_bits = 0x40
        self.packer = self.unpacker = None

    def pack(self, payload):
        if self.deflate is None:
            raise Failed("compressed=yes without the step deflate")
        if self.packer is None or self.deflate["forget"]:
            self.packer = zlib.compressobj(wbits=-self.deflate["bits"])
        packed = self.packer.compress(payload) + self.packer.flush(zlib.Z_SYNC_FLUSH)
        return packed[: -len(TAIL)]

    def unpack(self, payload):
        if self.unpacker is None or self.deflate["client_forget"]:
            self.unpacker = zlib.decompressobj(wbits=-self.deflate["client_bits"])
        try:
            return self.unpacker.decompress(payload + TAIL)
        except zlib.error as e:
            raise Failed(f"what the client compressed does not inflate: {e}") from e
