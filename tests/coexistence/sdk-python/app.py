"""Answers everything; asks NEXT for the same path, if it is set. Its tracer is loaded by PYTHONPATH, or with TRACER=code by
itself, which nobody can see from outside."""

import os

if os.environ.get("TRACER") == "code":
    from opentelemetry.instrumentation.auto_instrumentation import initialize

    initialize()

import requests
from flask import Flask, request

NEXT = os.environ.get("NEXT")
app = Flask(__name__)


@app.route("/", defaults={"path": ""})
@app.route("/<path:path>")
def serve(path):
    if NEXT and path:
        requests.get(NEXT + request.path, timeout=30)
    return "ok"


app.run(host="127.0.0.1", port=int(os.environ["PORT"]), threaded=True)
