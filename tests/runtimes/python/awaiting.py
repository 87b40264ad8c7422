"""Clients of asyncio: httpx and aiohttp.

In: CLIENT, KEEPALIVE, LIMIT. Out: an async context manager that gives `call(path)`, which awaits the answer and
gives its status.
"""

from contextlib import asynccontextmanager

from settings import CLIENT, KEEPALIVE, LIMIT, NEXT, TIMEOUT


@asynccontextmanager
async def _httpx():
    import httpx

    # With neither said, what httpx does by itself.
    limits = httpx.Limits(
        max_connections=LIMIT or 100,
        max_keepalive_connections=0 if KEEPALIVE is False else LIMIT or 20,
    )
    async with httpx.AsyncClient(limits=limits, timeout=TIMEOUT) as client:

        async def call(path):
            return (await client.get(NEXT + path)).status_code

        yield call


@asynccontextmanager
async def _aiohttp():
    import aiohttp

    connector = aiohttp.TCPConnector(limit=LIMIT or 100, force_close=KEEPALIVE is False)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def call(path):
            async with session.get(NEXT + path) as response:
                await response.read()
                return response.status

        yield call


def client(default):
    return {"httpx": _httpx, "aiohttp": _aiohttp}[CLIENT or default]()
