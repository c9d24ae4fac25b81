"""websockets, its asyncio client; its C part must be there."""

import common
import websockets.speedups  # noqa: F401
from websockets.asyncio.client import connect


async def main():
    options = {"compression": None, "max_size": None, "ping_interval": None}
    await common.iterate(lambda: connect(common.URL, **options), "send", "send", "recv", lambda message: message)


common.run(main)
