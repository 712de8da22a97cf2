"""What a call held is free when it ends: no search for garbage is needed for it."""

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from modularity_registry.api.app import create_app
from modularity_registry.api.authorization import Authenticator
from modularity_registry.api.hot_path.reply import ReplyWriter
from modularity_registry.api.long_replies.streams import Streams
from modularity_registry.errors import BodyTooLarge
from modularity_registry.runtime import Registry
from modularity_registry.serving.front import REFUSAL
from modularity_registry.serving.head import Environ
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


def test_a_call_that_is_refused_before_its_body_leaves_nothing(
    registry: Registry,
) -> None:
    app = create_app(registry)

    def start(status: str, *_: Any) -> Any:
        assert status.startswith("413")

    def refusal(environ: Environ) -> BodyTooLarge:
        # As where the connection finds that a body is too large.
        try:
            raise BodyTooLarge("the body is too large")
        except BodyTooLarge as error:
            return error

    def call() -> "weakref.ref[Held]":
        held = Held()
        environ = EnvironBuilder("/api/register").get_environ() | {"held": held}
        environ[REFUSAL] = refusal(environ)
        # Not by `run_wsgi_app`, which hands on a copy.
        reply: Any = app.wsgi_app(environ, start)
        reply.close()
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
