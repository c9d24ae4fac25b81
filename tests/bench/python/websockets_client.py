"""websockets, its asyncio client; its C part must be there."""

import asyncio
import time

import common
import websockets.speedups  # noqa: F401
from websockets.asyncio.client import connect


async def main():
    common.begin()
    options = {"compression": None, "max_size": None, "ping_interval": None}
    if common.MODE == "idle":
        held = [await connect(common.URL, **options) for _ in range(common.COUNT)]
        await asyncio.sleep(common.IDLE_S)
        common.end(len(held))
    async with connect(common.URL, **options) as socket:
        messages = 0
        if common.MODE == "recv":
            async for _ in socket:
                messages += 1
        elif common.MODE == "send":
            for _ in range(common.COUNT):
                await socket.send(common.PAYLOAD)
            await socket.send("count")
            messages = int((await socket.recv()).split()[0])
        else:
            for _ in range(common.COUNT):
                asked = time.perf_counter()
                await socket.send(common.PAYLOAD)
                await socket.recv()
                common.latencies.append(time.perf_counter() - asked)
        common.end(messages)


common.run(main)
