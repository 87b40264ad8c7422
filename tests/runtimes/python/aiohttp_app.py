"""aiohttp's own server, on asyncio or on uvloop.

In: PORT, LOOP, what `settings` reads. Out: the contract's routes.
"""

import asyncio
import os

from aiohttp import web

import awaiting
from routes import NAMES, Routes
from settings import leaf

ROUTES = web.AppKey("routes", Routes)


async def client(app):
    async with awaiting.client("aiohttp") as call:
        app[ROUTES] = Routes(call)
        yield
        app[ROUTES].stop()


async def ready(request):
    return web.Response(text="ready")


def handler(name):
    async def handle(request):
        await getattr(request.app[ROUTES], name)(request.match_info["rid"])
        return web.Response(text="done")

    return handle


async def stream(request):
    call, rid = request.app[ROUTES].call, request.match_info["rid"]
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"first ")
    await call(leaf(rid, 0))
    await response.write(b"second ")
    await call(leaf(rid, 1))
    await response.write(b"last")
    await response.write_eof()
    return response


def loop():
    if os.getenv("LOOP") != "uvloop":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


app = web.Application()
app.cleanup_ctx.append(client)
app.router.add_get("/", ready)
app.router.add_get("/stream/{rid}", stream)
for name in NAMES:
    app.router.add_get(f"/{name}/{{rid}}", handler(name))

web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), loop=loop(), print=None, access_log=None)
