"""aiohttp's WebSocket client."""

import asyncio
import time

import aiohttp
import common


async def main():
    common.begin()
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    options = {"max_msg_size": 0, "compress": 0}
    if common.MODE == "idle":
        held = [await session.ws_connect(common.URL, **options) for _ in range(common.COUNT)]
        await asyncio.sleep(common.IDLE_S)
        common.end(len(held))
    socket = await session.ws_connect(common.URL, **options)
    messages = 0
    if common.MODE == "recv":
        async for _ in socket:
            messages += 1
    elif common.MODE == "send":
        for _ in range(common.COUNT):
            await socket.send_bytes(common.PAYLOAD)
        await socket.send_str("count")
        messages = int((await socket.receive()).data.split()[0])
    else:
        for _ in range(common.COUNT):
            asked = time.perf_counter()
            await socket.send_bytes(common.PAYLOAD)
            await socket.receive()
            common.latencies.append(time.perf_counter() - asked)
    common.end(messages)


common.run(main)
