"""RFC 6455 frames, as the scripted server needs them: writing anything, right or wrong; reading with the checks
a server must make."""

import base64
import hashlib
import struct

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def accept_key(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def pattern(size):
    """`size` bytes that are also text: what `size=` means on both sides."""
    block = bytes(ord("a") + i % 23 for i in range(23))
    return (block * (size // 23 + 1))[:size]


def frame(opcode, payload=b"", fin=True, rsv=0, masked=False, length=None, length_bytes=None):
    """`length` lies about the payload, `length_bytes` (2 or 8) uses a longer form than needed."""
    n = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    flag = 0x80 if masked else 0
    if length_bytes == 8 or (length_bytes is None and n > 0xFFFF):
        head += bytes([flag | 127]) + struct.pack(">Q", n)
    elif length_bytes == 2 or (length_bytes is None and n > 125):
        head += bytes([flag | 126]) + struct.pack(">H", n)
    else:
        head += bytes([flag | n])
    return head + (b"\0\0\0\0" if masked else b"") + payload


def unmask(key, data):
    n = len(data)
    if not n:
        return b""
    repeated = (key * (n // 4 + 1))[:n]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(n, "big")


class Incomplete(Exception):
    """More bytes are needed."""


def take(buffer, allowed_bits=0):
    """One client frame off the front of a bytearray -> (first byte, payload, key). allowed_bits: RSV bits it may have.
    AssertionError names what the client did wrong."""
    if len(buffer) < 2:
        raise Incomplete
    first, second = buffer[0], buffer[1]
    assert first & 0x70 & ~allowed_bits == 0, f"client set RSV bits: {first:#04x}"
    assert second & 0x80, "client frame is not masked"
    opcode, n, at = first & 15, second & 127, 2
    assert opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG), f"client used reserved opcode {opcode}"
    assert first & 0x70 == 0 or opcode in (TEXT, BINARY), f"client set RSV bits beyond a first frame: {first:#04x}"
    if opcode >= 8:
        assert first & 0x80 and n <= 125, "client sent a long or fragmented control frame"
    if n >= 126:
        size = 2 if n == 126 else 8
        if len(buffer) < at + size:
            raise Incomplete
        wide = n
        n, at = int.from_bytes(buffer[at : at + size], "big"), at + size
        assert n > 125 if wide == 126 else n > 0xFFFF, f"client used a non-minimal length for {n}"
    if len(buffer) < at + 4 + n:
        raise Incomplete
    key = bytes(buffer[at : at + 4])
    payload = unmask(key, bytes(buffer[at + 4 : at + 4 + n]))
    del buffer[: at + 4 + n]
    return first, payload, key
