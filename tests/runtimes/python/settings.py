"""What the environment says, and what all servers share: paths, ids, and who calls on its own.

In: NEXT, CLIENT, KEEPALIVE, LIMIT, JOB_MS, THREADS, POOL. Out: the same as values.
"""

import itertools
import os

# Every call goes to this machine.
os.environ.setdefault("NO_PROXY", "*")

NEXT = os.getenv("NEXT", "http://localhost:8081")
CLIENT = os.getenv("CLIENT", "")
LIMIT = int(os.environ["LIMIT"]) if os.getenv("LIMIT") else None
JOB_MS = float(os.environ["JOB_MS"]) if os.getenv("JOB_MS") else None
# Whether calls keep connections: True, False, or None for the client's own way.
KEEPALIVE = {"0": False, "1": True}.get(os.getenv("KEEPALIVE", ""))
# Workers of the pool that `/pool` and `/par` hand calls to.
THREADS = int(os.getenv("THREADS", "64"))
# `/pool` has workers of the event loop's own, which begin within the first request that has a job for them.
LAZY = os.getenv("POOL") == "lazy"
# `/pool` hands to the loop's executor what takes no context along.
EXECUTOR = os.getenv("POOL") == "executor"

# No call takes so long, unless a connection is not to be had.
TIMEOUT = 30
TIMER = 0.005
EVENT = 0.02

# Several processes can serve, each with numbers of its own.
_numbers = itertools.count(os.getpid() * 1_000_000)


def leaf(rid, place):
    return f"/leaf/{rid}/{place}"


def fail(rid):
    return f"/fail/{rid}/0"


def alone(kind):
    """A path that belongs to no request: that of a shared lookup or of the background job."""
    return leaf(f"{kind}-{next(_numbers)}", 0)
