"""Reads that wait in front of Flask: for what, for how long, and who may."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, cast

import pytest
from werkzeug.test import Client, EnvironBuilder, TestResponse, run_wsgi_app
from werkzeug.wrappers import Request

from modularity_registry.api.app import create_app
from modularity_registry.api.authorization import Authenticator
from modularity_registry.api.long_replies.waits import Waits
from modularity_registry.api.rate_limits import COUNTED
from modularity_registry.runtime import Registry
from support.access.authorization import bearer, closed_registry, token
from support.registry import (
    LOOP,
    ManualClock,
    eventually,
    loaded_registry,
    registration,
    unload,
)


class Door:
    """Has reads of a registry wait, and then asks its Flask."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.flask = create_app(registry)
        self.client = Client(self.flask)
        authenticator = Authenticator(registry)
        self.waits = Waits(registry, authenticator, self.flask.url_map.bind(""))

    def wait(
        self, target: str, method: str = "GET", **headers: str
    ) -> "Waiting | None":
        """Begin to wait; None for a call that goes on at once."""
        environ = EnvironBuilder(target, method=method).get_environ()
        environ |= {f"HTTP_{name}": value for name, value in headers.items()}

        async def call() -> asyncio.Future[None] | None:
            found = self.waits.wait(environ)
            return None if found is None else asyncio.ensure_future(_run(found))

        task = LOOP.call(call())
        return None if task is None else Waiting(self, environ, task)

    def register(self, service_id: str, **changes: Any) -> int:
        body = registration(service_id, mode="standalone", **changes)
        reply = self.client.post("/api/register", json=body)
        revision: int = reply.get_json()["revision"]
        return revision


async def _run(found: Awaitable[None]) -> None:
    await found


class Waiting:
    """A read that waits, as soon as the hub knows of it."""

    def __init__(self, door: Door, environ: Any, task: "asyncio.Future[None]") -> None:
        self.environ = environ
        self.task = task
        self._door = door
        eventually(lambda: len(door.registry.hub) > 0 or task.done())

    def over(self) -> bool:
        """Whether it ends without another change; asked once all is told."""

        async def told() -> bool:
            for _ in range(20):
                await asyncio.sleep(0)
            return self.task.done()

        return LOOP.call(told())

    def answer(self) -> TestResponse:
        """Return Flask's reply once the wait is over."""
        eventually(self.task.done)
        return TestResponse(
            *run_wsgi_app(self._door.flask, self.environ), Request(self.environ)
        )


@pytest.fixture
def door(registry: Registry) -> Door:
    return Door(registry)


@pytest.mark.parametrize(
    ("path", "woken", "not_woken"),
    [
        ("/api/services", {}, None),
        ("/api/services?capability=x", {"capabilities": ["x"]}, {}),
        ("/api/services?metadata.region=eu", {}, {"metadata": {"region": "us"}}),
        ("/api/services?capability=x&capability=y", {"capabilities": ["x", "y"]},
         {"capabilities": ["x"]}),
        ("/api/capabilities", {}, None),
        ("/api/capabilities?name=Other", {"name": "Other"}, {}),
        ("/api/capabilities/x/services", {"capabilities": ["x"]}, {}),
        ("/api/capabilities/x/y/services", {"capabilities": ["x/y"]}, {}),
        ("/api/capabilities/x%2Fy/services", {"capabilities": ["x/y"]}, {}),
        ("/api/capabilities/x/services?name=Other",
         {"capabilities": ["x"], "name": "Other"}, {"capabilities": ["x"]}),
        ("/api/capabilities/x/explain?name=Other", {"capabilities": ["x"]}, {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", [False, True], ids=["then", "already"])
def test_a_read_waits_for_a_change_of_what_it_lists(
    door: Door,
    path: str,
    woken: dict[str, Any],
    not_woken: dict[str, Any] | None,
    before: bool,
) -> None:
    revision = door.register("old")
    target = f"{path}{'&' if '?' in path else '?'}wait=20&revision={revision}"
    if before:
        if not_woken is not None:
            door.register("other", **not_woken)
        changed = door.register("new", **woken)
        waiting = door.wait(target)
        assert waiting is not None
    else:
        waiting = door.wait(target)
        assert waiting is not None
        if not_woken is not None:
            door.register("other", **not_woken)
        assert not waiting.over()
        changed = door.register("new", **woken)
    assert waiting.over()
    reply = waiting.answer()
    assert reply.status_code == 200
    assert int(reply.headers["X-Registry-Revision"]) >= changed
    assert len(door.registry.hub) == 0


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_head_waits_as_the_read_does(door: Door, method: str) -> None:
    revision = door.register("a")
    waiting = door.wait(f"/api/services?wait=20&revision={revision}", method)
    assert waiting is not None
    assert not waiting.over()
    door.register("b")
    assert waiting.answer().status_code == 200


def test_calls_between_services_wake_nobody(door: Door) -> None:
    revision = door.register("a")
    waiting = door.wait(f"/api/services?wait=20&revision={revision}")
    assert waiting is not None
    call = {"consumer_id": "c", "provider_id": "a", "capability": "greet"}
    assert door.client.post("/api/track/invocation", json=call).status_code == 200
    assert not waiting.over()
    waiting.task.get_loop().call_soon_threadsafe(waiting.task.cancel)
    eventually(lambda: len(door.registry.hub) == 0)


@pytest.mark.parametrize(
    ("path", "wakes"),
    [
        ("/api/capabilities/greet/services?", True),
        ("/api/capabilities/greet/services?name=Other&", True),
        ("/api/capabilities/greet/explain?", True),
        ("/api/capabilities/other/services?", False),
        ("/api/capabilities?", False),
        ("/api/services?", False),
        ("/api/services?capability=greet&", False),
    ],
)
def test_a_split_wakes_those_who_wait_for_a_list_that_tells_it(
    door: Door, path: str, wakes: bool
) -> None:
    revision = door.register("a")
    waiting = door.wait(f"{path}wait=20&revision={revision}")
    assert waiting is not None
    split = door.client.put("/api/capabilities/greet/split", json={"v1": 1})
    assert split.status_code == 201
    if wakes:
        assert waiting.answer().get_json()["split"] == {"v1": 1}
    else:
        assert not waiting.over()
        waiting.task.get_loop().call_soon_threadsafe(waiting.task.cancel)
        eventually(lambda: len(door.registry.hub) == 0)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/services"),
        ("GET", "/api/services?wait=0&revision=1"),
        ("GET", "/api/services?wait=5&revision=99"),
        ("GET", "/api/services?wait=5"),
        ("GET", "/api/services?wait=x&revision=1"),
        ("GET", "/api/services?wait=5&revision=1&colour=red"),
        ("GET", "/api/capabilities/greet?wait=5&revision=1"),
        ("GET", "/api/stats?wait=5&revision=1"),
        ("GET", "/api/none?wait=5&revision=1"),
        ("POST", "/api/services?wait=5&revision=1"),
        ("OPTIONS", "/api/services?wait=5&revision=1"),
        ("GET", "/api/capabilities/%FF/services?wait=5&revision=99"),
    ],
)
def test_other_calls_go_on_at_once(door: Door, method: str, target: str) -> None:
    door.register("a")
    assert door.wait(target, method) is None


def test_a_wait_that_is_over_answers_as_things_are(door: Door) -> None:
    revision = door.register("a")
    started = time.monotonic()
    waiting = door.wait(f"/api/services?wait=0.2&revision={revision}")
    assert waiting is not None
    assert waiting.answer().get_json()["count"] == 1
    assert time.monotonic() - started >= 0.2


def test_names_are_read_as_flask_reads_them(door: Door) -> None:
    revision = door.register("a")
    target = f"/api/capabilities/gr%C3%BC%C3%9F/services?w%61it=5&revision={revision}"
    waiting = door.wait(target)
    assert waiting is not None
    assert not waiting.over()
    waiting.task.get_loop().call_soon_threadsafe(waiting.task.cancel)


def test_the_place_of_one_who_is_gone_is_free_at_once(door: Door) -> None:
    revision = door.register("a")
    waiting = door.wait(f"/api/services?wait=100&revision={revision}")
    assert waiting is not None
    assert len(door.registry.hub) == 1
    waiting.task.get_loop().call_soon_threadsafe(waiting.task.cancel)
    eventually(lambda: len(door.registry.hub) == 0)


def test_without_a_place_nobody_waits_and_flask_says_so() -> None:
    registry = loaded_registry(max_watchers=1, max_watchers_per_client=1)
    door = Door(registry)
    revision = door.register("a")
    target = f"/api/services?wait=100&revision={revision}"
    first = door.wait(target)
    assert first is not None
    assert door.wait(target) is None
    reply = door.client.get(target)
    assert (reply.status_code, reply.get_json()["code"]) == (503, "too_many_watchers")
    assert door.client.get("/api/services").status_code == 200
    door.register("b")
    assert first.answer().status_code == 200
    unload(registry)


def test_a_wait_counts_as_one_read() -> None:
    registry = loaded_registry(read_rate="2/minute")
    door = Door(registry)
    revision = door.register("a")
    target = f"/api/services?wait=100&revision={revision}"
    for _ in range(2):
        waiting = door.wait(target)
        assert waiting is not None
        door.register("a")
        assert waiting.answer().status_code == 200
    over = door.wait(target)
    assert over is not None
    assert COUNTED not in over.environ
    assert over.answer().status_code == 429
    assert isinstance(registry.clock, ManualClock)
    registry.clock.advance(120)
    assert [door.client.get("/api/services").status_code for _ in range(3)] == [
        200, 200, 429,
    ]  # fmt: skip
    unload(registry)


def test_a_count_elsewhere_does_not_hold_up_the_loop(registry: Registry) -> None:
    class Rate:
        waits = True

        def take(self, client: str) -> None:
            raise AssertionError("counted twice")

        def takes(self, client: str) -> bool:
            # Only another thread can ask the loop for anything.
            async def asked() -> bool:
                return True

            return LOOP.call(asked())

    registry.rates.reads = cast(Any, Rate())
    door = Door(registry)
    revision = door.register("a")
    waiting = door.wait(f"/api/services?wait=100&revision={revision - 1}")
    assert waiting is not None
    assert waiting.answer().status_code == 200
    assert waiting.environ[COUNTED]


def test_who_may_not_read_does_not_wait() -> None:
    with closed_registry() as registry:
        door = Door(registry)
        assert door.wait("/api/services?wait=100&revision=0") is None
        text = bearer(token(registry, "writer", "register"))["Authorization"]
        target = "/api/services?wait=100&revision=0"
        assert door.wait(target, AUTHORIZATION=text) is None


def test_a_wait_ends_with_its_token() -> None:
    with closed_registry() as registry:
        door = Door(registry)
        admin = bearer(token(registry, "admin", "admin"))
        text = bearer(token(registry, "reader", "read"))["Authorization"]
        revision = registry.catalog.revision
        target = f"/api/services?wait=100&revision={revision}"
        waiting = door.wait(target, AUTHORIZATION=text)
        assert waiting is not None
        assert not waiting.over()
        reply = door.client.delete("/api/tokens/reader", headers=admin)
        assert reply.status_code == 200
        assert waiting.answer().status_code == 401


def test_a_wait_ends_when_the_store_is_read_again(door: Door) -> None:
    revision = door.register("a")
    waiting = door.wait(f"/api/services?wait=100&revision={revision}")
    assert waiting is not None

    async def reload() -> None:
        door.registry.hub.reloaded([], revision + 5)

    LOOP.call(reload())
    assert waiting.answer().status_code == 200
