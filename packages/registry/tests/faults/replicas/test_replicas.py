"""Replicas that are killed, frozen, cut off, restarted and told the wrong time."""

import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from faults.replicas.fleet import Fleet, Replica, running
from faults.replicas.trial import SECONDS, trial
from modularity_registry.stores.conformance.breakable_proxy import HOST
from support.servers.program import find
from support.servers.stores import redis

Fault = Callable[[Fleet], AbstractContextManager[None]]

HOUR = 3_600
SILENT_SECONDS = 12.0


@contextmanager
def killed(fleet: Fleet) -> Iterator[None]:
    first = fleet.replicas[0]
    first.end(signal.SIGKILL)
    yield
    first.start()


@contextmanager
def frozen(fleet: Fleet) -> Iterator[None]:
    first = fleet.replicas[0]
    first.send(signal.SIGSTOP)
    yield
    first.send(signal.SIGCONT)
    first.wait_until_ready()


@contextmanager
def cut_off(fleet: Fleet) -> Iterator[None]:
    """Reset the first replica's connections to the store, and refuse new ones."""
    first = fleet.replicas[0]
    assert first.proxy is not None
    first.proxy.cut()
    yield
    first.proxy.mend()
    first.wait_until_ready()


@contextmanager
def unanswered(fleet: Fleet) -> Iterator[None]:
    """Hold all that the first replica and the store send each other."""
    first = fleet.replicas[0]
    assert first.proxy is not None
    first.proxy.hold()
    yield
    first.proxy.mend()
    first.wait_until_ready()


@contextmanager
def restarted_in_turn(fleet: Fleet) -> Iterator[None]:
    for replica in fleet.replicas:
        replica.end(signal.SIGTERM)
        replica.start()
    yield


@contextmanager
def store_silent(fleet: Fleet) -> Iterator[None]:
    """Hold all that any replica and the store send each other, for a while."""
    for replica in fleet.replicas:
        assert replica.proxy is not None
        replica.proxy.hold()
    threading.Event().wait(SILENT_SECONDS)
    for replica in fleet.replicas:
        assert replica.proxy is not None
        replica.proxy.mend()
    for replica in fleet.replicas:
        replica.wait_until_ready()
    yield


@contextmanager
def locked(fleet: Fleet) -> Iterator[None]:
    """Hold the file as a replica does that is frozen while it writes."""
    with closing(sqlite3.connect(fleet.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        threading.Event().wait(SILENT_SECONDS)
    for replica in fleet.replicas:
        replica.wait_until_ready()
    yield


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Fleet]:
    store = f"sqlite:///{tmp_path / 'registry.db'}"
    with running([Replica(store, tmp_path / "log") for _ in range(3)]) as fleet:
        fleet.file = tmp_path / "registry.db"
        yield fleet


@pytest.fixture
def over_redis(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet whose replicas reach the store through a proxy each."""
    with ExitStack() as stack:
        server = stack.enter_context(redis.running(tmp_path))
        proxies = [stack.enter_context(redis.proxy_to(server)) for _ in range(3)]
        replicas = [
            Replica(f"redis://{HOST}:{proxy.port}", tmp_path / "log", proxy=proxy)
            for proxy in proxies
        ]
        yield stack.enter_context(running(replicas))


@pytest.mark.parametrize("fault", [killed, frozen, locked, restarted_in_turn])
def test_over_sqlite(sqlite: Fleet, fault: Fault) -> None:
    name = f"sqlite, {fault.__name__}"
    trial(name, sqlite, fault(sqlite), min(SECONDS, 60.0))


# The store is no part of those in the end; a short run has them over SQLite alone.
OF_THE_STORE = [cut_off, unanswered, store_silent]
OF_REPLICAS = [killed, frozen, restarted_in_turn] if SECONDS else []


@pytest.mark.parametrize("fault", OF_THE_STORE + OF_REPLICAS)
def test_over_redis(over_redis: Fleet, fault: Fault) -> None:
    name = f"redis, {fault.__name__}"
    trial(name, over_redis, fault(over_redis), min(SECONDS, 60.0))


@contextmanager
def jumping(clocks: list[Path]) -> Iterator[None]:
    """Set the clocks an hour forward, back and forward again, all the while."""
    ending = threading.Event()

    def jump() -> None:
        forward = False
        while not ending.wait(1.0):
            forward = not forward
            for number, clock in enumerate(clocks):
                set_clock(clock, HOUR if forward == (number % 2 == 0) else -HOUR)

    thread = threading.Thread(target=jump)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def set_clock(clock: Path, offset: int) -> None:
    """Set a clock at once: a half-written file would be a time of its own."""
    new = clock.with_suffix(".new")
    new.write_text(f"{offset:+d}\n")
    new.replace(clock)


def test_with_clocks_an_hour_off_that_jump(tmp_path: Path) -> None:
    package = "libfaketime", "vendor/libfaketime/src"
    library = find(["libfaketime.so.1"], package, "libfaketime")
    store = f"sqlite:///{tmp_path / 'registry.db'}"
    clocks = [tmp_path / f"clock-{number}" for number in range(3)]
    replicas = []
    for number, clock in enumerate(clocks):
        set_clock(clock, (number - 1) * HOUR)
        environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        replicas.append(Replica(store, tmp_path / "log", environ))
    with running(replicas) as fleet:
        times = [replica.get("/health")["timestamp"] for replica in replicas]
        assert times == sorted(times) and times[0][:13] != times[2][:13]
        trial("clocks that jump", fleet, jumping(clocks), min(SECONDS, 60.0))
