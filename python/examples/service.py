"""An aiohttp service that holds a feed: GET /price gives the newest message, GET /health how the connection does.

python service.py 8000 ws://localhost:8080/        (needs: pip install aiohttp)

The engine lives as long as the application. It reconnects by itself, so a request finds the last price also while the feed is away."""

import sys

import wscengine
from aiohttp import web
from wscengine import aio


class Feed(wscengine.Client):
    newest = None

    async def on_open(self, session, response, restarting):
        await session.send("subscribe")

    def on_message(self, session, message):
        self.newest = message


FEED, ENGINE = web.AppKey("feed", Feed), web.AppKey("engine", aio.Engine)


async def hold(app):
    app[FEED] = Feed()
    app[ENGINE] = aio.Engine(sys.argv[2], app[FEED], retry_first_start=True)
    async with app[ENGINE]:
        yield


async def price(request):
    newest = request.app[FEED].newest
    return web.Response(text=newest) if newest is not None else web.Response(status=503, text="no price yet")


async def health(request):
    engine = request.app[ENGINE]
    return web.json_response({"state": engine.state.name, "reconnects": engine.stats.reconnects})


app = web.Application()
app.add_routes([web.get("/price", price), web.get("/health", health)])
app.cleanup_ctx.append(hold)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))
