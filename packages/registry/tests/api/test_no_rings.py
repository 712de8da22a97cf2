"""What a call held is free when it ends: no search for garbage is needed for it."""

import gc
import weakref
from collections.abc import Iterator

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from modularity_registry.api.app import create_app
from modularity_registry.api.authorization import Authenticator
from modularity_registry.api.hot_path.reply import ReplyWriter
from modularity_registry.api.long_replies.streams import Streams
from modularity_registry.runtime import Registry
from support.loops import Connection
from support.registry import LOOP, eventually, loaded_registry, unload


class Held:
    """Stands for the connection, which each call's environ names."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = loaded_registry()
    yield registry
    unload(registry)


@pytest.fixture(autouse=True)
def _no_search() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "path",
    ["/api/stats", "/api/capabilities/nowhere", "/api/services?limit=x", "/nowhere"],
)
def test_a_call_that_flask_answers_leaves_nothing(
    registry: Registry, path: str
) -> None:
    app = create_app(registry)

    def call() -> "weakref.ref[Held]":
        held = Held()
        environ = EnvironBuilder(path).get_environ() | {"held": held}
        run_wsgi_app(app, environ)
        return weakref.ref(held)

    call()  # what the first call makes stays
    assert call()() is None


def test_a_stream_that_has_ended_leaves_nothing(registry: Registry) -> None:
    writer = ReplyWriter(registry.settings, registry.view_health)
    authenticator = Authenticator(registry)
    streams = Streams(registry, authenticator, writer, lambda *_: None)

    async def stream() -> "weakref.ref[Held]":
        held, connection = Held(), Connection()
        environ = EnvironBuilder("/api/events").get_environ() | {"held": held}
        assert streams.open(environ, connection)  # type: ignore[arg-type]
        assert connection.lost is not None
        connection.lost()
        return weakref.ref(held)

    left = LOOP.call(stream())
    eventually(lambda: left() is None)
