"""aiohttp's WebSocket client."""

import aiohttp
import common


async def main():
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    options = {"max_msg_size": 0, "compress": 0}

    def connect():
        return session.ws_connect(common.URL, **options)

    await common.iterate(connect, "send_bytes", "send_str", "receive", lambda message: message.data)


common.run(main)
