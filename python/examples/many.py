"""A thousand connections on one event loop: one file descriptor to watch, no thread for any of them. Each reconnects by itself.

python many.py 1000 ws://127.0.0.1:8080/        says once a second how many are open; the end of its input stops them"""

import asyncio
import resource
import sys

import wscengine
from wscengine import aio


class Counter(wscengine.Client):
    messages = 0

    def on_message(self, session, message):
        Counter.messages += 1


async def main(count, url):
    # A server that comes back is not trampled down: the first reconnects are spread over 2 s.
    engines = [aio.Engine(url, Counter(), retry_first_start=True, first_delay_spread=2) for _ in range(count)]
    await asyncio.gather(*(engine.start() for engine in engines))
    end = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    while not end.done():
        is_open = sum(engine.state == wscengine.State.OPEN for engine in engines)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{is_open} open, {Counter.messages} messages, {peak} KiB", flush=True)
        await asyncio.wait([end], timeout=1)
    await asyncio.gather(*(engine.stop() for engine in engines))


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
