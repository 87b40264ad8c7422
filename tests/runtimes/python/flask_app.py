"""A thread, or a greenlet, for each request: Flask on its own server, or `flask_app:app` on gunicorn or gevent's.

In: PORT and what `settings` reads. Out: the contract's routes.
"""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from flask import Flask, Response

import blocking
from settings import EVENT, JOB_MS, LAZY, THREADS, TIMER, alone, fail, leaf

call = blocking.client()
app = Flask(__name__)
pool = ThreadPoolExecutor(THREADS, "pool")


class Shared:
    """One lookup under way at a time, for all who ask."""

    def __init__(self):
        self.lock = threading.Lock()
        self.executor = ThreadPoolExecutor(1, "shared")
        self.lookup = None

    def wait(self):
        with self.lock:
            if self.lookup is None or self.lookup.done():
                self.lookup = self.executor.submit(call, alone("shared"))
            lookup = self.lookup
        lookup.result()


shared = Shared()


def is_green():
    """Whether threads are gevent's greenlets here; gevent is not loaded to ask."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("threading")


class Workers:
    """gevent's, with a queue; they begin within the first request."""

    def __init__(self):
        self.jobs = None

    def _work(self):
        while True:
            path, done = self.jobs.get()
            done.set(call(path))

    def do(self, path):
        import gevent
        from gevent.event import AsyncResult
        from gevent.queue import Queue

        if self.jobs is None:
            self.jobs = Queue()
            self.workers = [gevent.spawn(self._work) for _ in range(THREADS)]
        done = AsyncResult()
        self.jobs.put((path, done))
        done.get()


workers = Workers()


def together(paths):
    if is_green():
        import gevent

        gevent.joinall([gevent.spawn(call, path) for path in paths], raise_error=True)
    else:
        # As most do it: threads of the request's own, which end with it.
        with ThreadPoolExecutor(len(paths)) as own:
            list(own.map(call, paths))


@app.get("/")
def ready():
    return "ready"


@app.get("/one/<rid>")
def one(rid):
    call(leaf(rid, 0))
    return "done"


@app.get("/seq/<rid>")
def seq(rid):
    for place in range(3):
        call(leaf(rid, place))
    return "done"


@app.get("/par/<rid>")
def par(rid):
    together([leaf(rid, place) for place in range(3)])
    return "done"


@app.get("/mix/<rid>")
def mix(rid):
    call(leaf(rid, 0))
    together([leaf(rid, place) for place in range(1, 4)])
    return "done"


@app.get("/timer/<rid>")
def timer(rid):
    time.sleep(TIMER)
    call(leaf(rid, 0))
    return "done"


@app.get("/pool/<rid>")
def pooled(rid):
    if LAZY:
        workers.do(leaf(rid, 0))
    else:
        pool.submit(call, leaf(rid, 0)).result()
    return "done"


@app.get("/shared/<rid>")
def sharing(rid):
    shared.wait()
    call(leaf(rid, 0))
    return "done"


@app.get("/late/<rid>")
def late(rid):
    shared.wait()
    call(leaf(rid, 0))
    time.sleep(TIMER)
    return "done"


@app.get("/retry/<rid>")
def retry(rid):
    if call(fail(rid)) != 200:
        call(leaf(rid, 1))
    return "done"


@app.get("/stream/<rid>")
def stream(rid):
    def chunks():
        yield "first "
        call(leaf(rid, 0))
        yield "second "
        call(leaf(rid, 1))
        yield "last"

    return Response(chunks(), mimetype="text/plain")


@app.get("/poll/<rid>")
def poll(rid):
    happened = threading.Event()
    threading.Timer(EVENT, happened.set).start()
    happened.wait()
    call(leaf(rid, 0))
    return "done"


def job():
    while True:
        time.sleep(JOB_MS / 1000)
        try:
            call(alone("job"))
        except Exception:
            # The next service may not be there yet.
            continue


if JOB_MS:
    threading.Thread(target=job, daemon=True).start()

if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ["PORT"]), threaded=True)
