"""The Flask application on gevent's own server.

In: PORT and what `settings` reads. Out: the contract's routes.
"""

# Before anything else is imported.
from gevent import monkey

monkey.patch_all()

import os

from gevent.pywsgi import WSGIServer

from flask_app import app

WSGIServer(("127.0.0.1", int(os.environ["PORT"])), app, log=None).serve_forever()
