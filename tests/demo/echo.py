"""An echo server on ws://localhost:8765 to play with: `echo.py [PORT]`, Ctrl-C ends it."""
import asyncio
import contextlib
import sys

from websockets.asyncio.server import serve


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main(port):
    async with serve(echo, "localhost", port):
        print(f"echo server on ws://localhost:{port}", file=sys.stderr, flush=True)
        await asyncio.get_running_loop().create_future()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8765))
