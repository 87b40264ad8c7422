"""Clients that block the thread: requests (a call each, or a session), httpx, urllib3.

In: CLIENT, KEEPALIVE, LIMIT. Out: `call(path)`, which waits for the answer and gives its status.
"""

from settings import CLIENT, KEEPALIVE, LIMIT, NEXT, TIMEOUT


def _closing():
    return {"Connection": "close"} if KEEPALIVE is False else {}


def _requests():
    import requests

    def call(path):
        return requests.get(NEXT + path, timeout=TIMEOUT).status_code

    return call


def _session():
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    if LIMIT:
        session.mount("http://", HTTPAdapter(pool_maxsize=LIMIT, pool_block=True))
    session.headers.update(_closing())

    def call(path):
        return session.get(NEXT + path, timeout=TIMEOUT).status_code

    return call


def _httpx():
    import httpx

    # With neither said, what httpx does by itself.
    limits = httpx.Limits(
        max_connections=LIMIT or 100,
        max_keepalive_connections=0 if KEEPALIVE is False else LIMIT or 20,
    )
    client = httpx.Client(limits=limits, timeout=TIMEOUT)

    def call(path):
        return client.get(NEXT + path).status_code

    return call


def _urllib3():
    import urllib3

    pool = urllib3.PoolManager(maxsize=LIMIT or 1, block=LIMIT is not None)

    def call(path):
        return pool.request("GET", NEXT + path, timeout=TIMEOUT, headers=_closing(), retries=False).status

    return call


def client(name=CLIENT):
    # A call each keeps nothing; whoever wants connections kept has a session.
    plain = _session if KEEPALIVE else _requests
    return {"": plain, "requests": plain, "session": _session, "httpx": _httpx, "urllib3": _urllib3}[name]()
