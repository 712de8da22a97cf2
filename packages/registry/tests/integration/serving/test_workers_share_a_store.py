"""One registry of several processes over one SQLite file."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from support.registry import eventually
from support.servers.streams import Running, listening, running

WORKERS = 2


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Running]:
    store = f"sqlite:///{tmp_path}/registry.db"
    with running(store=store, workers=WORKERS) as registry:
        eventually(lambda: len(by_replica(registry, "/health")) == WORKERS)
        yield registry


def by_replica(registry: Running, path: str) -> dict[str, Any]:
    """Return what each worker answers, by the id of its replica."""

    def ask(_: int) -> tuple[str, Any]:
        # Each on a connection of its own: the kernel deals them out.
        with requests.Session() as session:
            replica = session.get(f"{registry.url}/health", timeout=10).json()[
                "replica"
            ]
            return replica, session.get(registry.url + path, timeout=10).json()

    with ThreadPoolExecutor(8) as pool:
        return dict(pool.map(ask, range(32)))


def test_a_write_at_one_is_seen_at_all(registry: Running) -> None:
    for number in range(20):
        registry.register(f"s{number}", location="here")
    eventually(lambda: counts(registry) == [20] * WORKERS)
    requests.delete(f"{registry.url}/api/services/s0", timeout=10)
    eventually(lambda: counts(registry) == [19] * WORKERS)


def counts(registry: Running) -> list[int]:
    answers = by_replica(registry, "/api/services").values()
    return [answer["count"] for answer in answers]


def test_they_know_each_other(registry: Running) -> None:
    def states() -> list[list[str]]:
        answers = by_replica(registry, "/api/stats").values()
        return [[each["state"] for each in one["replicas"]] for one in answers]

    eventually(lambda: states() == [["alive"] * WORKERS] * WORKERS)


def test_a_stream_at_one_hears_what_another_took(registry: Running) -> None:
    with listening(registry) as listener:
        listener.expect("connected")
        delays = []
        for number in range(20):
            begun = time.monotonic()
            registry.register(f"s{number}", location="here")
            assert listener.expect("service.registered")["data"]["id"] == f"s{number}"
            delays.append(time.monotonic() - begun)
    # About half of them crossed from one worker to the other.
    assert len(delays) == 20


def test_one_that_is_killed_loses_nothing(registry: Running) -> None:
    pid = registry.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    registry.register("before", location="here")
    os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
    registry.register("after", location="here")
    eventually(lambda: len(children.read_text().split()) == WORKERS)
    eventually(lambda: counts(registry) == [2] * WORKERS)


def test_a_lease_is_kept_whichever_worker_takes_the_heartbeat(
    registry: Running,
) -> None:
    registry.register("s", location="here", ttl=1)
    eventually(lambda: counts(registry) == [1] * WORKERS)
    deadline = time.monotonic() + 12  # well past ttl and grace
    while time.monotonic() < deadline:
        reply = requests.post(f"{registry.url}/api/heartbeat/s", timeout=10)
        assert reply.status_code == 200
        found = requests.get(f"{registry.url}/api/services/s", timeout=10).json()
        assert found["status"] == "healthy"
    # And it ends at all of them when nobody beats any more.
    eventually(lambda: statuses(registry) == {"unhealthy"})


def statuses(registry: Running) -> set[str]:
    return {each["status"] for each in by_replica(registry, "/api/services/s").values()}
