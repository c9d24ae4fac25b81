"""picows, its payloads as str and bytes."""

import asyncio
import time

import common
from picows import WSCloseCode, WSListener, WSMsgType, ws_connect

BINARY, TEXT, CLOSE = WSMsgType.BINARY, WSMsgType.TEXT, WSMsgType.CLOSE


class Receive(WSListener):
    messages = 0

    def on_ws_frame(self, transport, frame):
        kind = frame.msg_type
        if kind == TEXT:
            frame.get_payload_as_utf8_text()
        elif kind == CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
            return
        else:
            frame.get_payload_as_bytes()
        self.messages += 1


class Send(WSListener):
    def __init__(self):
        self.room, self.full = asyncio.Event(), False
        self.answer = asyncio.get_running_loop().create_future()

    def pause_writing(self):
        self.full = True
        self.room.clear()

    def resume_writing(self):
        self.full = False
        self.room.set()

    def on_ws_frame(self, transport, frame):
        if not self.answer.done():
            self.answer.set_result(frame.get_payload_as_ascii_text())


class RoundTrip(WSListener):
    messages = 0

    def __init__(self):
        self.done = asyncio.get_running_loop().create_future()

    def on_ws_connected(self, transport):
        self.ask(transport)

    def ask(self, transport):
        self.asked = time.perf_counter()
        transport.send(BINARY, common.PAYLOAD)

    def on_ws_frame(self, transport, frame):
        frame.get_payload_as_bytes()
        common.latencies.append(time.perf_counter() - self.asked)
        if len(common.latencies) < common.COUNT:
            self.ask(transport)
        elif not self.done.done():
            self.done.set_result(None)


async def main():
    common.begin()
    if common.MODE == "idle":
        held = [await ws_connect(WSListener, common.URL) for _ in range(common.COUNT)]
        await asyncio.sleep(common.IDLE_S)
        common.end(len(held))
    kind = {"recv": Receive, "send": Send, "rtt": RoundTrip}[common.MODE]
    transport, listener = await ws_connect(kind, common.URL)
    if common.MODE == "recv":
        await transport.wait_disconnected()
        common.end(listener.messages)
    elif common.MODE == "rtt":
        await listener.done
        common.end(0)
    for _ in range(common.COUNT):
        transport.send(BINARY, common.PAYLOAD)
        if listener.full:
            await listener.room.wait()
    transport.send(TEXT, b"count")
    common.end(int((await listener.answer).split()[0]))


common.run(main)
