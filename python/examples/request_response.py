"""Requests that find their answers by an id, many at once; one that was lost with its connection is asked again.

python request_response.py ws://localhost:8080/ 50        sends {"id": n}, expects {"id": n, ...}"""

import asyncio
import json
import sys

import wscengine
from wscengine import aio


class Answers(wscengine.Client):
    def on_message(self, session, message):
        """What no request waited for."""


async def ask(engine, n):
    while True:
        try:
            question = json.dumps({"id": n})
            return await engine.request(question, lambda m: f'"id": {n},' in m, timeout=10)
        except wscengine.ClosedError:
            await asyncio.sleep(0.1)  # it reconnects by itself


async def main(url, count):
    async with aio.Engine(url, Answers()) as engine:
        for answer in await asyncio.gather(*(ask(engine, n) for n in range(count))):
            print(answer)


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
