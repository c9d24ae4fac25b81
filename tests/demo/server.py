"""The demo's feed server: real price rows over TLS, by the third-party `websockets` package.

Row number seq is a pure function of seq, so any server, also one just restarted, can go on from any number.
Commands come as lines on stdin (its end ends the server), events leave as JSON lines on stdout:

    close CODE REASON   close every connection so          {"event": "listening", "port": 41234, "rows": 604}
    slam N              close every connection with 1001,  {"event": "subscribed", "from": 17}
                        and the next N as soon as they     {"event": "slammed"}
                        are accepted, with 1013            {"event": "closed", "sent": 512}
    rate N              rows a second from now on
"""
import argparse
import asyncio
import csv
import importlib.util
import json
import pathlib
import ssl
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

TICK_S = 0.02


def load_rows():
    """The rows inside the PyPI package vega_datasets; its code (and with it pandas) is not imported."""
    data = pathlib.Path(importlib.util.find_spec("vega_datasets").origin).parent / "_data"
    with open(data / "stocks.csv", newline="") as f:
        rows = [{"source": "stocks.csv", "symbol": r["symbol"], "date": r["date"], "price": float(r["price"])}
                for r in csv.DictReader(f)]
    rows += [{"source": "ohlc.json", **r} for r in json.loads((data / "ohlc.json").read_text())]
    return [json.dumps(r)[1:] for r in rows]


def tell(**event):
    print(json.dumps(event), flush=True)


class Feed:
    def __init__(self, rows, rate):
        self.rows, self.rate, self.slams, self.open = rows, rate, 0, set()

    def message(self, seq):
        return f'{{"seq": {seq}, {self.rows[seq % len(self.rows)]}'

    async def session(self, connection):
        if self.slams > 0:
            self.slams -= 1
            tell(event="slammed")
            await connection.close(1013, "try again later")
            return
        self.open.add(connection)
        sent = 0
        try:
            seq = json.loads(await connection.recv())["from"]
            tell(**{"event": "subscribed", "from": seq})
            owed = 0.0
            while True:
                owed += self.rate * TICK_S
                while owed >= 1:
                    await connection.send(self.message(seq))
                    seq, sent, owed = seq + 1, sent + 1, owed - 1
                await asyncio.sleep(TICK_S)
        except ConnectionClosed:
            pass
        finally:
            self.open.discard(connection)
            tell(event="closed", sent=sent)

    async def close_all(self, code, reason):
        await asyncio.gather(*(c.close(code, reason) for c in list(self.open)))

    async def obey(self, line):
        verb, *rest = line.split(maxsplit=2)
        if verb == "close":
            await self.close_all(int(rest[0]), rest[1] if len(rest) > 1 else "")
        elif verb == "slam":
            self.slams = int(rest[0])
            await self.close_all(1001, "going away")
        elif verb == "rate":
            self.rate = float(rest[0])
        else:
            raise ValueError(f"command {verb!r}")


async def main(args):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(args.cert, args.key)
    feed = Feed(load_rows(), args.rate)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async with serve(feed.session, "127.0.0.1", args.port, ssl=tls, ping_interval=None) as server:
        tell(event="listening", port=server.sockets[0].getsockname()[1], rows=len(feed.rows))
        while line := await commands.readline():
            await feed.obey(line.decode().strip())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--rate", type=float, default=200, help="rows a second")
    asyncio.run(main(parser.parse_args()))
