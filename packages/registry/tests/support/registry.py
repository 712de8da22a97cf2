"""What the tests share: a clock that stands still, and bodies to register."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from modularity_registry import config, runtime
from modularity_registry.health.probes import Target
from modularity_registry.model.service import Mode, Registration
from modularity_registry.runtime import Registry
from modularity_registry.stores.base import Event, Store, Write
from modularity_registry.stores.group_commit import GroupCommit
from support.loops import LoopThread

ResultT = TypeVar("ResultT")


class ManualClock:
    """Moves only when told to."""

    def __init__(self) -> None:
        self._seconds = 1_000.0
        self._start = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

    def monotonic(self) -> float:
        return self._seconds

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._seconds)

    def advance(self, seconds: float) -> None:
        self._seconds += seconds


def registration(service_id: str = "hello-service", **changes: Any) -> dict[str, Any]:
    """A registration that the registry takes, with ``changes`` made to it."""
    body: dict[str, Any] = {
        "id": service_id,
        "name": "Hello",
        "version": "1.2.0",
        "capabilities": ["greet"],
        "location": "http://127.0.0.1:9001",
        "mode": "http",
        "metadata": {"runtime": "python", "region": "eu"},
    }
    body.update(changes)
    return {key: value for key, value in body.items() if value is not ...}


def check_target(
    mode: str, location: str, path: str = "/_module/health", timeout: float = 5.0
) -> Target:
    """A check of a service there, whether or not the mode and the location are good."""
    service = Registration("a", "A", ("greet",), location, cast(Mode, mode))
    return Target(service, path, timeout)


LOOP = LoopThread("test-loop")
"""Where the tests' registries run, while the tests go on in threads of their own."""


def on_loop(function: Callable[[], ResultT]) -> ResultT:
    """Call ``function`` on the loop: nothing happens there meanwhile."""

    async def call() -> ResultT:
        return function()

    return LOOP.call(call())


def loaded_registry(**settings: Any) -> Registry:
    """A registry that follows its store, without the monitor, on a clock by hand."""
    registry = runtime.build(
        config.Settings(**settings), ManualClock(), replica="replica-1"
    )
    LOOP.call(registry.feed.start())
    return registry


def unload(registry: Registry) -> None:
    """End a `loaded_registry`."""
    LOOP.call(registry.feed.stop())
    registry.store.close()


def put_record(
    store: Store, key: str, value: bytes | None, expected: int | None = None
) -> int | None:
    """Write to an embedded store past all commands; the feed has it on the return."""
    return LOOP.call(GroupCommit(store).write(Write(key, value, expected)))


def deliver(registry: Registry, event: Event) -> None:
    """Have the feed take an event as if its store had sent it."""

    on_loop(lambda: registry.feed._receive(event))


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return when ``condition`` holds; fail when it doesn't within ``seconds``."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.005)
