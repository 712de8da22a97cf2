"""A Flask module for gunicorn, whose workers join in a hook."""

import os
from typing import Any

from flask import Flask

from modularity_client.flask import Module

app = Flask(__name__)
module = Module(app, id="web", name="Web", location=os.environ["MODULE_LOCATION"])


@module.capability("pid")
def pid() -> int:
    return os.getpid()


def post_worker_init(worker: Any) -> None:
    """Join, in the process that serves; called by gunicorn."""
    module.start()
