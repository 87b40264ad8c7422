"""What the routes do on an event loop, whoever serves them.

In: a client's `call(path)`. Out: a coroutine function for each route.
"""

import asyncio

import blocking
from settings import EVENT, EXECUTOR, JOB_MS, LAZY, THREADS, TIMER, alone, fail, leaf

# The client of the pool's threads.
_call_blocking = blocking.client("urllib3")


class Routes:
    """All of them but `/stream`, which each server does in its own way."""

    def __init__(self, call):
        self.call = call
        self.lookup = None
        self.workers = None
        # The loop holds its tasks weakly.
        self.job = asyncio.ensure_future(self._job()) if JOB_MS else None

    def stop(self):
        if self.job:
            self.job.cancel()

    async def _job(self):
        while True:
            await asyncio.sleep(JOB_MS / 1000)
            try:
                await self.call(alone("job"))
            except Exception:
                # The next service may not be there yet.
                continue

    async def _shared(self):
        if self.lookup is None or self.lookup.done():
            self.lookup = asyncio.ensure_future(self.call(alone("shared")))
        await asyncio.shield(self.lookup)

    async def one(self, rid):
        await self.call(leaf(rid, 0))

    async def seq(self, rid):
        for place in range(3):
            await self.call(leaf(rid, place))

    async def par(self, rid):
        await asyncio.gather(*(self.call(leaf(rid, place)) for place in range(3)))

    async def mix(self, rid):
        await self.call(leaf(rid, 0))
        await asyncio.gather(*(self.call(leaf(rid, place)) for place in range(1, 4)))

    async def timer(self, rid):
        await asyncio.sleep(TIMER)
        await self.call(leaf(rid, 0))

    async def _work(self):
        while True:
            path, done = await self.jobs.get()
            done.set_result(await self.call(path))

    async def _hand_on(self, path):
        if self.workers is None:
            self.jobs = asyncio.Queue()
            self.workers = [asyncio.create_task(self._work()) for _ in range(THREADS)]
        done = asyncio.get_running_loop().create_future()
        self.jobs.put_nowait((path, done))
        await done

    async def pool(self, rid):
        if LAZY:
            await self._hand_on(leaf(rid, 0))
        elif EXECUTOR:
            await asyncio.get_running_loop().run_in_executor(None, _call_blocking, leaf(rid, 0))
        else:
            await asyncio.to_thread(_call_blocking, leaf(rid, 0))

    async def shared(self, rid):
        await self._shared()
        await self.call(leaf(rid, 0))

    async def late(self, rid):
        await self._shared()
        await self.call(leaf(rid, 0))
        await asyncio.sleep(TIMER)

    async def retry(self, rid):
        if await self.call(fail(rid)) != 200:
            await self.call(leaf(rid, 1))

    async def poll(self, rid):
        happened = asyncio.Event()
        asyncio.get_running_loop().call_later(EVENT, happened.set)
        await happened.wait()
        await self.call(leaf(rid, 0))


NAMES = ["one", "seq", "par", "mix", "timer", "pool", "shared", "late", "retry", "poll"]
