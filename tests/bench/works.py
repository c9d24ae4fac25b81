"""What is measured (works), who is measured (clients) and what the measured must be (rows). Nothing here runs anything."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    name: str
    mode: str
    path: str
    size: int
    first: int  # messages of the first calibration run
    most: int
    instructions: tuple = (0, 0)  # two counts; the difference between them is what --instructions divides


@dataclass(frozen=True)
class Client:
    name: str
    program: str
    extra: str = ""
    modes: tuple = ("recv", "send", "rtt")
    ours: bool = False
    languages: tuple = ("c",)  # in whose tables it is


WORKS = {
    w.name: w
    for w in (
        Work("16 B", "recv", "/flood?size=16", 16, 20_000, 40_000_000, (100_000, 600_000)),
        Work("16 B text", "recv", "/flood?size=16&text=1", 16, 20_000, 20_000_000),
        Work("256 B text", "recv", "/flood?size=256&text=1", 256, 10_000, 8_000_000, (20_000, 120_000)),
        Work("16 KiB", "recv", "/flood?size=16384", 16384, 1_000, 200_000, (500, 3_000)),
        Work("1 MiB", "recv", "/flood?size=1048576", 1 << 20, 30, 3_000, (10, 60)),
        Work("send", "send", "/sink", 16, 20_000, 500_000, (5_000, 30_000)),
        Work("send packed", "send", "/sink", 16, 200_000, 20_000_000, (50_000, 300_000)),
        Work("round trip", "rtt", "/echo", 64, 20_000, 50_000, (2_000, 12_000)),
        Work("idle", "idle", "/idle", 64, 1_000, 1_000),
        Work("pause", "pause", "/flood?size=16&count=4000000000", 16, 300, 300),
        Work("5000 idle", "idle", "/idle", 64, 5_000, 5_000),
        Work("10,000 idle", "idle", "/idle", 64, 10_000, 10_000),
    )
}

PYTHON, GO = ("python",), ("go",)
THREADS, UVLOOP, ASYNCIO = "wscengine, threads", "wscengine.aio, uvloop", "wscengine.aio, asyncio"
BULK, MANY = "wscengine, threads, bulk", "wscengine, threads, send_many"
ONE_P, FOUR_P = "wscengine, 1 reader", "wscengine, 4 readers, one P"
TWO_P, FOUR_TWO_P, BY_GORILLA = "wscengine, 1 reader, two P", "wscengine, 4 readers, two P", "wscengine by gorilla"

CLIENTS = {
    c.name: c
    for c in (
        Client("raw bytes", "raw", "bytes", ("recv", "send each", "rtt")),
        Client("raw headers", "raw", "headers", ("recv",)),
        Client("raw batch", "raw", "batch", ("send packed",)),
        Client("Boost.Beast", "beast", "", ("recv", "send each", "rtt")),
        Client("wslay event API", "wslay", "", ("recv", "send each", "rtt")),
        Client("libwebsockets", "lws", "", ("recv", "send each", "rtt", "idle")),
        Client("wscengine", "ours", "1", ("recv", "send each", "rtt", "idle"), ours=True, languages=("c", "python")),
        Client("wscengine, 4 readers", "ours", "4", ("recv",), ours=True),
        Client("wscengine, corked", "ours", "corked", ("send packed",), ours=True),
        Client("picows", "picows_client.py", "uvloop", ("recv", "send each", "rtt", "idle"), languages=PYTHON),
        Client("websockets", "websockets_client.py", "uvloop", ("recv", "send each", "rtt", "idle"), languages=PYTHON),
        Client("aiohttp", "aiohttp_client.py", "uvloop", ("recv", "send each", "rtt", "idle"), languages=PYTHON),
        Client("websocket-client", "websocket_client.py", "", ("recv", "send each", "rtt"), languages=PYTHON),
        Client(THREADS, "ours.py", "threads", ("recv", "send each", "rtt"), ours=True, languages=PYTHON),
        Client(UVLOOP, "ours.py", "uvloop", ("recv", "send each", "rtt", "idle"), ours=True, languages=PYTHON),
        Client(f"{UVLOOP}, async def", "ours.py", "uvloop-await", ("rtt",), ours=True, languages=PYTHON),
        Client(ASYNCIO, "ours.py", "asyncio", ("recv", "rtt", "idle", "idle many"), ours=True, languages=PYTHON),
        Client(BULK, "ours.py", "threads-bulk", ("recv",), ours=True, languages=PYTHON),
        Client(f"{UVLOOP}, bulk", "ours.py", "uvloop-bulk", ("recv",), ours=True, languages=PYTHON),
        Client(MANY, "ours.py", "threads-many", ("send packed",), ours=True, languages=PYTHON),
        Client("gws", "go_client", "gws/1", ("recv", "send each", "rtt", "idle"), languages=GO),
        Client("gorilla", "go_client", "gorilla/1", ("recv", "send each", "rtt", "idle"), languages=GO),
        Client("coder", "go_client", "coder/1", ("recv", "send each", "rtt", "idle"), languages=GO),
        Client("gobwas", "go_client", "gobwas/1", ("recv", "send each", "rtt", "idle"), languages=GO),
        Client("gws, two P", "go_client", "gws/2", ("recv", "rtt"), languages=GO),
        Client(ONE_P, "go_client", "wscengine/1", ("recv", "send each", "rtt"), ours=True, languages=GO),
        Client(FOUR_P, "go_client", "wscengine-4/1", ("recv", "idle", "pause"), ours=True, languages=GO),
        Client(TWO_P, "go_client", "wscengine/2", ("recv", "rtt"), ours=True, languages=GO),
        Client(FOUR_TWO_P, "go_client", "wscengine-4/2", ("recv", "pause"), ours=True, languages=GO),
        Client(BY_GORILLA, "go_client", "wscengine-gorilla/1", ("recv", "send each", "rtt"), ours=True, languages=GO),
        Client(
            f"{BY_GORILLA}, 4 readers", "go_client", "wscengine-gorilla-4/1", ("recv", "idle"), ours=True, languages=GO
        ),
    )
}


ONLY = {
    "16 B text": PYTHON,
    "16 B": ("c", "go"),
    "16 KiB": ("c", "go"),
    "5000 idle": PYTHON,
    "10,000 idle": GO,
    "pause": GO,
}  # works of one language


def plan(language: str) -> list:
    """(client, work) in the order of one round: all clients of a work side by side, so that a noisy minute hits all of them."""
    cells = []
    for work in WORKS.values():
        if language not in ONLY.get(work.name, (language,)):
            continue
        mode = {"send": "send each", "send packed": "send packed", "5000 idle": "idle many"}.get(work.name, work.mode)
        cells += [(c, work) for c in CLIENTS.values() if mode in c.modes and language in c.languages]
    return cells


@dataclass(frozen=True)
class Row:
    """One line of the table: `measured` is ours, the ratio is ours over the reference, `limit` its largest legal value."""

    what: str
    must: str
    ours: tuple  # (client, work)
    against: tuple  # clients; several: the slowest of them
    limit: float
    metric: str = "cpu"  # cpu | p50 | idle | allocations | p99


@dataclass(frozen=True)
class Bound:
    """The same without a reference: `limit` in ns, or for idle in KiB."""

    what: str
    must: str
    ours: tuple
    limit: float
    metric: str = "cpu"


OURS, FOUR, CORKED = "wscengine", "wscengine, 4 readers", "wscengine, corked"
BEAST, HEADERS, RAW = "Boost.Beast", "raw headers", "raw bytes"
C_ROWS = (
    Row("receive 16 B binary, 1 reader", "≤ 0.40 × Boost.Beast", (OURS, "16 B"), (BEAST,), 0.40),
    Row("", "≤ 4 × the header-only reader", (OURS, "16 B"), (HEADERS,), 4.0),
    Row("receive 16 B binary, 4 readers", "≤ 1.0 × Boost.Beast", (FOUR, "16 B"), (BEAST,), 1.0),
    Row("receive 256 B text, UTF-8 checked", "≤ 0.35 × Boost.Beast", (OURS, "256 B text"), (BEAST,), 0.35),
    Row("receive 16 KiB", "≤ 0.8 × Boost.Beast", (OURS, "16 KiB"), (BEAST,), 0.8),
    Row("receive 1 MiB", "≤ 1.0 × the slower of Beast and header-only", (OURS, "1 MiB"), (BEAST, HEADERS), 1.0),
    Row("send 16 B, one write each", "≤ 1.15 × raw send(2)", (OURS, "send"), (RAW,), 1.15),
    Row(
        "round trip 64 B p50, same core", "≤ 1.08 × the raw blocking client", (OURS, "round trip"), (RAW,), 1.08, "p50"
    ),
)
DEFLATED, TLS, IMPORT_MS = 1.15, 1.2, 60
CORKED_NS, IDLE_KIB, IDLE_FDS, IDLE_THREADS, IDLE_CPU_MS = 40, 8, 1, 4, 1.0

PICOWS = ("picows",)
PYTHON_ROWS = (
    Row("receive 16 B text as str, threads", "≤ 0.65 × picows", (THREADS, "16 B text"), PICOWS, 0.65),
    Row("the same, asyncio under uvloop", "≤ 0.65 × picows", (UVLOOP, "16 B text"), PICOWS, 0.65),
    Row("the same, lists by on_messages", "≤ 0.45 × picows", (BULK, "16 B text"), PICOWS, 0.45),
    Row("", "15 × less than websockets", (UVLOOP, "16 B text"), ("websockets",), 1 / 15),
    Row("", "30 × less than websocket-client", (THREADS, "16 B text"), ("websocket-client",), 1 / 30),
    Row("receive 256 B text as str, threads", "≤ 1.0 × picows", (THREADS, "256 B text"), PICOWS, 1.0),
    Row("the same, asyncio under uvloop", "≤ 1.0 × picows", (UVLOOP, "256 B text"), PICOWS, 1.0),
    Row("receive 1 MiB binary, threads", "≤ 1.0 × picows", (THREADS, "1 MiB"), PICOWS, 1.0),
    Row("the same, asyncio under uvloop", "≤ 1.0 × picows", (UVLOOP, "1 MiB"), PICOWS, 1.0),
    Row("round trip 64 B p50, asyncio under uvloop", "≤ 1.1 × picows", (UVLOOP, "round trip"), PICOWS, 1.1, "p50"),
    Row("the same, threads", "≤ 1.15 × the C core's", (THREADS, "round trip"), (OURS,), 1.15, "p50"),
    Row("send 16 B, a call each, threads", "≤ 1.0 × picows", (THREADS, "send"), PICOWS, 1.0),
    Row("the same, asyncio under uvloop", "≤ 1.0 × picows", (UVLOOP, "send"), PICOWS, 1.0),
    Bound("send 16 B by send_many", "≤ 100 ns a message", (MANY, "send packed"), 100),
    Bound("idle connection, asyncio, 1,000 on one loop", "≤ 10 KiB", (ASYNCIO, "idle"), 10, "idle"),
    Bound("the same, 5,000", "≤ 10 KiB", (ASYNCIO, "5000 idle"), 10, "idle"),
)

GWS = ("gws",)
GO_ROWS = (
    Row("receive 16 B, 1 reader, one P", "≤ 0.65 × gws", (ONE_P, "16 B"), GWS, 0.65),
    Row("the same, 4 readers", "≤ 0.75 × gws", (FOUR_P, "16 B"), GWS, 0.75),
    Row("receive 16 B, 1 reader, two P", "≤ 0.65 × gws", (TWO_P, "16 B"), ("gws, two P",), 0.65),
    Row("the same, 4 readers", "≤ 0.75 × gws", (FOUR_TWO_P, "16 B"), ("gws, two P",), 0.75),
    Row("receive 256 B text", "≤ 0.6 × gws", (ONE_P, "256 B text"), GWS, 0.6),
    Row("receive 1 MiB", "≤ 1.0 × gws", (ONE_P, "1 MiB"), GWS, 1.0),
    Row("round trip 64 B p50, one P", "≤ 1.05 × gws", (ONE_P, "round trip"), GWS, 1.05, "p50"),
    Row("the same, two P", "≤ 1.05 × gws", (TWO_P, "round trip"), ("gws, two P",), 1.05, "p50"),
    Row("send 16 B", "≤ 1.0 × gws", (ONE_P, "send"), GWS, 1.0),
    Row("engine with the gorilla adapter, 16 B", "≤ 1.5 × plain gorilla", (BY_GORILLA, "16 B"), ("gorilla",), 1.5),
    Bound("idle engine, 4 readers, 10,000 in one process", "≤ 10 KiB", (FOUR_P, "10,000 idle"), 10, "idle"),
    Bound("pause granted under a 16 B flood, 4 readers, p99, one P", "≤ 1 ms", (FOUR_P, "pause"), 1e6, "p99"),
    Bound("the same, two P", "≤ 1 ms", (FOUR_TWO_P, "pause"), 1e6, "p99"),
    Bound("allocations a message, 16 B", "≤ 0.01", (ONE_P, "16 B"), 0.01, "allocations"),
)
