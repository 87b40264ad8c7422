"""FastAPI, for uvicorn: `fastapi_app:app`.

In: what `settings` reads. Out: the contract's routes.
"""

from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse

import awaiting
from routes import NAMES, Routes
from settings import leaf


@asynccontextmanager
async def lifespan(app):
    async with awaiting.client("httpx") as call:
        app.state.routes = Routes(call)
        yield
        app.state.routes.stop()


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def ready():
    return PlainTextResponse("ready")


def add(name):
    async def handle(rid: str):
        await getattr(app.state.routes, name)(rid)
        return PlainTextResponse("done")

    app.get(f"/{name}/{{rid}}", name=name)(handle)


for name in NAMES:
    add(name)


@app.get("/stream/{rid}")
async def stream(rid: str):
    call = app.state.routes.call

    async def chunks():
        yield "first "
        await call(leaf(rid, 0))
        yield "second "
        await call(leaf(rid, 1))
        yield "last"

    return StreamingResponse(chunks(), media_type="text/plain")
