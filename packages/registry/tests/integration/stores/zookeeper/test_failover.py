"""ZooKeeper servers that end, come back, or come back with nothing."""

import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modularity_registry.errors import OutcomeUnknown, StoreConflict, StoreUnavailable
from modularity_registry.stores.base import Snapshot, Write, put
from modularity_registry.stores.conformance.base import assert_agrees, assert_growing
from modularity_registry.stores.conformance.batches import revision_of
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.outages import UNANSWERED
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.server_url import Server
from modularity_registry.stores.zookeeper.store import ZookeeperStore
from support.registry import eventually
from support.servers.stores.zookeeper import Ensemble, Zookeeper, running

# A JVM on a busy machine takes its time.
SECONDS = 90.0


@pytest.fixture
def zookeeper(tmp_path: Path) -> Iterator[Zookeeper]:
    with running(tmp_path) as server:
        yield server


@pytest.fixture
def store(zookeeper: Zookeeper) -> Iterator[ZookeeperStore]:
    store = ZookeeperStore(Server((zookeeper.host,)), 2.0)
    yield store
    store.close()


def snapshots(recorder: Recorder) -> int:
    return sum(isinstance(event, Snapshot) for event in recorder.events)


def test_a_server_that_was_killed_goes_on_where_it_was(
    zookeeper: Zookeeper, store: ZookeeperStore
) -> None:
    recorder = Recorder(SECONDS)
    store.watch(recorder)
    revisions = [put(store, f"services/{number}", b"1") for number in range(20)]
    before, epoch = snapshot_of(store).records, store.epoch
    zookeeper.kill()
    with pytest.raises(UNANSWERED, match="ZooKeeper at"):
        put(store, "services/a", b"")
    zookeeper.start()
    recorder.wait(lambda: snapshots(recorder) > 1, "a fresh snapshot")
    assert snapshot_of(store).records == before
    assert store.epoch == epoch
    last = put(store, "services/3", b"2", expected=revisions[3])
    recorder.wait_for_revision(last)
    assert last > max(revisions)
    assert_agrees(recorder, store)


def test_a_server_that_lost_its_data_begins_another_epoch(
    zookeeper: Zookeeper, store: ZookeeperStore
) -> None:
    # It refuses clients that have seen a later revision than its own.
    recorder = Recorder(SECONDS)
    store.watch(recorder)
    for _ in range(50):
        revision = put(store, "services/a", b"1")
    epoch = store.epoch
    zookeeper.kill()
    shutil.rmtree(zookeeper.folder / "data")
    zookeeper.start()
    recorder.wait(lambda: snapshots(recorder) > 1, "a fresh snapshot")
    assert recorder.held() == {}
    assert store.epoch != epoch
    with pytest.raises(StoreConflict):
        put(store, "services/a", b"2", expected=revision)
    put(store, "services/a", b"2", expected=0)
    recorder.wait(lambda: "services/a" in recorder.held(), "a change of the new")
    assert_agrees(recorder, store)


@pytest.fixture
def ensemble(tmp_path: Path) -> Iterator[Ensemble]:
    ensemble = Ensemble(tmp_path)
    try:
        ensemble.start()
        yield ensemble
    finally:
        ensemble.kill()


def test_another_server_leads_when_the_leader_is_killed(ensemble: Ensemble) -> None:
    server = Server(ensemble.hosts)
    store, other = ZookeeperStore(server), ZookeeperStore(server)
    recorder = Recorder(SECONDS)
    other.watch(recorder)
    stop = threading.Event()

    def load() -> list[int]:
        revisions: list[int] = []
        while not stop.is_set():
            batch = [Write(f"services/{len(revisions)}-{n}", b"") for n in range(4)]
            try:
                revisions.append(revision_of(store.commit(batch)[-1]))
            except (StoreUnavailable, OutcomeUnknown):
                stop.wait(0.1)
        return revisions

    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load)
        recorder.wait(lambda: len(recorder.changes) > 50, "some changes")
        leader = ensemble.leader()
        leader.kill()
        before = recorder.revision
        # The number of the leader is the upper half of a revision.
        recorder.wait(lambda: recorder.revision >> 32 > before >> 32, "a new leader")
        stop.set()
        revisions = loading.result(SECONDS)
    assert_growing(revisions)
    recorder.wait_for_revision(revisions[-1])
    assert_agrees(recorder, store)
    held = Counter(record.revision for record in recorder.held().values())
    assert [held[revision] for revision in revisions] == [4] * len(revisions)
    leader.start()
    eventually(leader.serves)
    store.ping()
    store.close()
    other.close()


def test_without_a_majority_nothing_is_taken(ensemble: Ensemble) -> None:
    store = ZookeeperStore(Server(ensemble.hosts), 2.0)
    put(store, "services/a", b"1")
    for member in ensemble.members[:2]:
        member.kill()
    with pytest.raises(UNANSWERED):
        put(store, "services/a", b"2")
    # A leader takes a moment to notice that it has no followers.
    eventually(lambda: not answers(store), SECONDS)
    ensemble.members[0].start()
    recorder = Recorder(SECONDS)
    eventually(lambda: answers(store), SECONDS)
    store.watch(recorder)
    recorder.wait_for_revision(put(store, "services/a", b"3"))
    store.close()


def answers(store: ZookeeperStore) -> bool:
    try:
        store.ping()
    except StoreUnavailable:
        return False
    return True
