"""wscengine as its users write it. EXTRA: uvloop or asyncio (aio.Engine), threads (Engine); with -bulk on_messages, with -many send_many, with -await
callbacks that are coroutines."""

import asyncio
import threading
import time

import common
import wscengine
from wscengine import aio

KIND, _, HOW = common.EXTRA.partition("-")
LIMITS = {"max_message_bytes": 1 << 24, "auto_reconnect": False}


class Receive(wscengine.Client):
    messages = 0

    def on_message(self, session, message):
        self.messages += 1


class Bulk(wscengine.Client):
    messages = 0

    def on_messages(self, session, messages):
        self.messages += len(messages)


class Answer(wscengine.Client):
    """The sink's answer to "count"."""

    def __init__(self, answered):
        self.answered, self.messages = answered, 0

    def on_message(self, session, message):
        self.messages = int(message.split()[0])
        self.answered()


class RoundTrip(wscengine.Client):
    messages = 0

    def on_open(self, session, response, restarting):
        self.done = self.ask(session)

    def ask(self, session):
        self.asked = time.perf_counter()
        return session.send(common.PAYLOAD)

    def on_message(self, session, message):
        common.latencies.append(time.perf_counter() - self.asked)
        if len(common.latencies) < common.COUNT:
            self.ask(session)
        else:
            session.exit()


class PlainRoundTrip(RoundTrip):
    def ask(self, session):
        self.asked = time.perf_counter()
        session.send_nowait(common.PAYLOAD)


class AsyncRoundTrip(RoundTrip):
    async def on_open(self, session, response, restarting):
        await self.ask(session)

    async def on_message(self, session, message):
        common.latencies.append(time.perf_counter() - self.asked)
        if len(common.latencies) < common.COUNT:
            await self.ask(session)
        else:
            session.exit()


CHUNK = 1000


def chunks():
    """COUNT messages as lists; each is made once."""
    whole = [common.PAYLOAD] * CHUNK
    for _ in range(common.COUNT // CHUNK):
        yield whole
    yield whole[: common.COUNT % CHUNK]


async def on_a_loop():
    common.begin()
    if common.MODE == "idle":
        engines = [aio.Engine(common.URL, ping_interval=0) for _ in range(common.COUNT)]
        for engine in engines:
            await engine.start()
        await asyncio.sleep(common.IDLE_S)
        common.end(len(engines))
    answered = asyncio.Event()
    asked = AsyncRoundTrip if HOW == "await" else PlainRoundTrip
    client = {"recv": Bulk if HOW == "bulk" else Receive, "rtt": asked}.get(common.MODE)
    client = Answer(answered.set) if client is None else client()
    engine = aio.Engine(common.URL, client, **LIMITS)
    await engine.start()
    if common.MODE == "send":
        if HOW == "many":
            for messages in chunks():
                await engine.session.send_many(messages)
        else:
            session = engine.session
            for _ in range(common.COUNT):
                await session.send(common.PAYLOAD)
        await engine.send("count")
        await answered.wait()
    else:
        try:
            await engine.wait()
        except wscengine.ClosedError:
            pass  # the server is done
    common.end(client.messages)


def on_threads():
    common.begin()
    answered = threading.Event()
    client = {"recv": Bulk if HOW == "bulk" else Receive, "rtt": RoundTrip}.get(common.MODE)
    client = Answer(answered.set) if client is None else client()
    engine = wscengine.Engine(common.URL, client, **LIMITS)
    engine.start()
    if common.MODE == "send":
        session = engine.session
        if HOW == "many":
            for messages in chunks():
                session.send_many(messages)
        else:
            for _ in range(common.COUNT):
                session.send(common.PAYLOAD)
        session.send("count")
        answered.wait()
    else:
        try:
            engine.wait()
        except wscengine.ClosedError:
            pass
    common.end(client.messages)


if KIND == "threads":
    on_threads()
else:
    common.run(on_a_loop)
