"""How things look in an event of the Python driver, and the one place that writes them. README.md has the line protocol."""

import json
import os
import re
import threading
import time
import zlib

import wscengine
from wscengine import _abi

C_NAMES = {o.keyword: o.name for o in _abi.OPTIONS if o.keyword}

output = threading.Lock()
numbered = 0


def emit(fields):
    global numbered
    with output:
        numbered += 1
        line = {"seq": numbered, "t": time.monotonic_ns(), **fields}
        os.write(1, (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape"))


def response_fields(response):
    if response is None:
        return None
    return {
        "status": response.status,
        "reason": response.reason,
        "subprotocol": response.subprotocol,
        "headers": dict(response.headers.pairs),
        "body_length": len(response.body),
        "body": response.body[:1024].decode("utf-8", "replace"),
    }


def in_c(said):
    """The scenarios name options as C does."""
    return re.sub(r"\b[a-z]+_[a-z_]+", lambda word: C_NAMES.get(word[0], word[0]), said)


def status_of(error):
    if isinstance(error, wscengine.Error):
        return _abi.Status(error.status).name
    if isinstance(error, MemoryError):
        return "ERR_NOMEM"
    return "ERR_INVALID" if isinstance(error, (TypeError, ValueError)) else "ERR_HOST"


def error_fields(error):
    if error is None:
        return None
    links, link = [], error
    while link is not None:
        links.append(link)
        link = link.__cause__
    response = next((e.response for e in links if isinstance(e, wscengine.Error) and e.response), None)
    return {
        "status": status_of(error),
        "message": in_c(str(error)),
        "close_code": getattr(error, "close_code", 0),
        "os_error": getattr(error, "os_error", 0),
        "http_status": getattr(error, "http_status", 0),
        "chain": [status_of(e) for e in links],
        "messages": [in_c(str(e)) for e in links],
        "response": response_fields(response),
    }


def message_fields(message):
    data = message.encode() if isinstance(message, str) else message
    out = {"type": "text" if isinstance(message, str) else "binary", "length": len(data)}
    if len(data) > 256:
        out["crc"] = zlib.crc32(data)
        if isinstance(message, str):
            out["head"] = data[:32].decode()
    elif isinstance(message, str):
        out["text"] = message
    else:
        out["hex"] = data.hex()
    return out


def close_fields(close):
    if close is None:
        return {"by": "user"}
    return {
        "by": close.initiator.name.lower(),
        "code": close.code,
        "code_sent": close.code_sent,
        "code_received": close.code_received,
        "os_error": close.os_error,
        "timer": close.timer.name.lower(),
        "unsent_bytes": close.unsent_bytes,
        "reason": close.reason,
    }
