"""What the Python clients share: arguments, time, and the line of JSON at the end.

client.py MODE HOST PORT PATH [COUNT [SIZE [EXTRA]]]"""

import gc
import json
import os
import resource
import sys
import time

_words = [*sys.argv[1:], "", "", ""]
MODE, HOST, PORT, PATH = _words[:4]
COUNT, SIZE, EXTRA = int(_words[4] or 0), int(_words[5] or 64), _words[6]
URL = f"ws://{HOST}:{PORT}{PATH}"
PAYLOAD = b"x" * SIZE
IDLE_S = 0.5
latencies: list = []  # seconds


def status(name: str) -> int:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def begin() -> None:
    """Just before the first connect."""
    global began, used, resident
    gc.collect()
    resident, began, used = status("VmRSS:"), time.perf_counter(), cpu()


def end(messages: int) -> None:
    """Reports, and leaves without taking anything down."""
    line = {"messages": messages, "wall": time.perf_counter() - began, "cpu": cpu() - used}
    if latencies:
        latencies.sort()
        n = len(latencies)
        line |= {"messages": n, "p50_us": latencies[n // 2] * 1e6, "p99_us": latencies[n * 99 // 100] * 1e6}
    if MODE == "idle":
        fds = len(os.listdir("/proc/self/fd"))
        line |= {"rss0_kb": resident, "rss1_kb": status("VmRSS:"), "threads": status("Threads:"), "fds": fds}
    print(json.dumps(line), flush=True)
    os._exit(0)


async def iterate(connect, send: str, send_text: str, receive: str, text) -> None:
    """A client whose sockets are made by `await connect()`, are iterated over, and have methods of these names. text: of what receive gives."""
    import asyncio

    begin()
    if MODE == "idle":
        held = [await connect() for _ in range(COUNT)]
        await asyncio.sleep(IDLE_S)
        end(len(held))
    socket = await connect()
    send_one, receive_one = getattr(socket, send), getattr(socket, receive)
    messages = 0
    if MODE == "recv":
        async for _ in socket:
            messages += 1
    elif MODE == "send":
        for _ in range(COUNT):
            await send_one(PAYLOAD)
        await getattr(socket, send_text)("count")
        messages = int(text(await receive_one()).split()[0])
    else:
        for _ in range(COUNT):
            asked = time.perf_counter()
            await send_one(PAYLOAD)
            await receive_one()
            latencies.append(time.perf_counter() - asked)
    end(messages)


def run(main) -> None:
    """A coroutine function, on uvloop unless the last argument says asyncio."""
    if EXTRA.startswith("asyncio"):
        import asyncio

        asyncio.run(main())
    else:
        import uvloop

        uvloop.run(main())
