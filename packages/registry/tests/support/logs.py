"""A log to look into, and a registry behind its hot path or without it."""

import io
import json
import logging
from typing import Any

from werkzeug.test import Client

from modularity_registry.api.app import create_app
from modularity_registry.runtime import Registry
from modularity_registry.telemetry import log_format
from modularity_registry.telemetry.log_stream import BatchingHandler
from support.hot_path import HotPath


class Log:
    """A logger of its own, and what it wrote."""

    def __init__(self, form: str) -> None:
        self.text = io.StringIO()
        self.stream = BatchingHandler(self.text)
        self.stream.setFormatter(log_format.Formatter(form))
        self.logger = logging.Logger("test", logging.INFO)
        self.logger.addHandler(self.stream)

    @property
    def lines(self) -> list[str]:
        return self.text.getvalue().splitlines()

    @property
    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.lines[-1])
        return found


def through(registry: Registry, hot: bool) -> Client:
    app: Any = create_app(registry)
    return Client(HotPath(registry, app) if hot else app)
