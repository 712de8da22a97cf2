"""What is special about ZooKeeper: a log beside the records, versions, a tree."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from modularity_registry.stores.base import (
    Change,
    Event,
    Lost,
    Record,
    Snapshot,
    Write,
    put,
)
from modularity_registry.stores.conformance.base import assert_agrees
from modularity_registry.stores.conformance.batches import revision_of
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.server_url import Server
from modularity_registry.stores.zookeeper import log_trimmer
from modularity_registry.stores.zookeeper import writer as zookeeper_writer
from modularity_registry.stores.zookeeper.store import ZookeeperStore
from support.registry import eventually
from support.servers.stores.zookeeper import Zookeeper, running

_numbers = itertools.count()


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zookeeper]:
    with running(tmp_path_factory.mktemp("zookeeper")) as server:
        yield server


@pytest.fixture
def server(zookeeper: Zookeeper) -> Server:
    return Server((zookeeper.host,), prefix=f"test-{next(_numbers)}")


@pytest.fixture
def store(server: Server) -> Iterator[ZookeeperStore]:
    store = ZookeeperStore(server)
    yield store
    store.close()


@pytest.fixture
def other(server: Server) -> Iterator[ZookeeperStore]:
    other = ZookeeperStore(server)
    yield other
    other.close()


def snapshots(recorder: Recorder) -> int:
    return sum(isinstance(event, Snapshot) for event in recorder.events)


def log_of(zookeeper: Zookeeper, store: ZookeeperStore, prefix: str) -> list[str]:
    """Return the paths of all log nodes."""
    log = f"/{prefix}/{store.epoch}/log"
    with zookeeper.operator() as client:
        return [
            f"{log}/{number}/{name}"
            for number in client.get_children(log)
            for name in client.get_children(f"{log}/{number}")
        ]


def test_a_log_that_begins_a_new_era_loses_nothing(
    store: ZookeeperStore,
    other: ZookeeperStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zookeeper_writer, "ERA_LENGTH", 10)
    recorder = Recorder()
    store.watch(recorder)
    pair = store, other

    def load(writer: int) -> list[int]:
        return [
            put(pair[writer], f"services/{writer}-{number % 3}", b"%d" % number)
            for number in range(80)
        ]

    with ThreadPoolExecutor(2) as pool:
        revisions = sorted(itertools.chain(*pool.map(load, range(2))))
    recorder.wait_for_revision(revisions[-1])
    assert [change.revision for change in recorder.changes] == revisions
    assert recorder.held() == {r.key: r for r in snapshot_of(other).records}
    assert store._tracker.era.number > 3


def test_an_old_log_is_removed(
    zookeeper: Zookeeper,
    server: Server,
    store: ZookeeperStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_trimmer, "KEPT", 20)
    recorder = Recorder()
    store.watch(recorder)
    revisions = [put(store, "services/a", b"%d" % number) for number in range(300)]
    recorder.wait_for_revision(revisions[-1])
    assert_agrees(recorder, store)
    most = 20 + log_trimmer.AT_ONCE
    eventually(lambda: len(log_of(zookeeper, store, server.prefix)) <= most)
    # Whoever comes next removes what was left behind.
    ZookeeperStore(server).close()
    eventually(lambda: len(log_of(zookeeper, store, server.prefix)) <= 20)
    # What is gone already does not keep the rest from being removed.
    for number in range(100):
        put(store, "services/a", b"%d" % number)
    eventually(lambda: len(log_of(zookeeper, store, server.prefix)) <= most)


def test_large_values_shorten_the_log(
    zookeeper: Zookeeper,
    server: Server,
    store: ZookeeperStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_trimmer, "KEPT_BYTES", 100_000)
    for _ in range(20):
        put(store, "services/a", bytes(20_000))
    eventually(lambda: len(log_of(zookeeper, store, server.prefix)) <= 5)


def test_eras_long_over_are_removed_whole(
    zookeeper: Zookeeper,
    server: Server,
    store: ZookeeperStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zookeeper_writer, "ERA_LENGTH", 5)
    for number in range(40):
        put(store, "services/a", b"%d" % number)
    number = store._tracker.era.number
    other = ZookeeperStore(server)
    with zookeeper.operator() as client:
        log = f"/{server.prefix}/{store.epoch}/log"
        eventually(lambda: min(map(int, client.get_children(log))) >= number - 1)
    assert len(snapshot_of(other).records) == 1
    other.close()


def test_a_watcher_that_is_too_far_behind_reads_a_new_snapshot(
    store: ZookeeperStore, other: ZookeeperStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_trimmer, "KEPT", 10)
    recorder, behind, go_on = Recorder(), threading.Event(), threading.Event()

    def slow(event: Event) -> None:
        recorder(event)
        if isinstance(event, Change) and not behind.is_set():
            behind.set()
            assert go_on.wait(20)

    store.watch(slow)
    put(other, "services/a", b"")
    assert behind.wait(20)
    for number in range(200):
        put(other, f"services/{number % 9}", b"%d" % number)
    go_on.set()
    recorder.wait_for_revision(put(other, "services/last", b""))
    assert snapshots(recorder) > 1
    assert_agrees(recorder, other)
    assert not any(isinstance(event, Lost) for event in recorder.events)


def test_a_snapshot_among_writers_is_of_one_revision(
    store: ZookeeperStore, other: ZookeeperStore
) -> None:
    for number in range(300):
        put(store, f"services/{number}", b"0")
    whole, stop = Recorder(), threading.Event()
    store.watch(whole)

    def load() -> int:
        last, numbers = 0, itertools.cycle(range(300))
        while not stop.is_set():
            keys = [f"services/{next(numbers)}" for _ in range(3)]
            other.commit([Write(key, b"1") for key in keys])
            other.commit([Write(key, None) for key in keys])
            last = revision_of(other.commit([Write(key, b"2", 0) for key in keys])[-1])
        return last

    parts = [Recorder() for _ in range(5)]
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(load)
        for part in parts:
            store.watch(part)
        stop.set()
        last = writing.result(20)
    for recorder in (whole, *parts):
        recorder.wait_for_revision(last)
    for part in parts:
        first = part.first_snapshot()
        assert part.changes == [
            change for change in whole.changes if change.revision > first.revision
        ]
        held = held_at(whole, first.revision)
        assert {record.key: record for record in first.records} == held


def held_at(recorder: Recorder, revision: int) -> dict[str, Record]:
    """Return what ``recorder`` knew when it had heard of ``revision``."""
    past = Recorder()
    for event in recorder.events:
        if isinstance(event, Snapshot) or (
            isinstance(event, Change) and event.revision <= revision
        ):
            past(event)
    return past.held()
