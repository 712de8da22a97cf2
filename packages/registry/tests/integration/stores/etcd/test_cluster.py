"""etcd that crashes, loses its leader, is wiped, and is restored from a backup."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from modularity_registry.errors import OutcomeUnknown, StoreError, StoreUnavailable
from modularity_registry.stores.base import Change, Lost, Snapshot, Store, put
from modularity_registry.stores.conformance.base import assert_agrees, assert_prompt
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.outages import PATIENCE
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.etcd.elections import LONG_SECONDS
from modularity_registry.stores.etcd.store import EtcdStore
from modularity_registry.stores.server_url import Server
from support.registry import eventually
from support.servers.stores.etcd import Cluster, Member, running

# 10 took 40 s on two cores.
KILLS = int(os.environ.get("ETCD_KILLS", "3"))
WRITERS = 4


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Cluster]:
    with running(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def store(single: Cluster) -> Iterator[EtcdStore]:
    store = EtcdStore(Server(single.hosts))
    yield store
    store.close()


@pytest.fixture
def recorder(store: EtcdStore) -> Recorder:
    recorder = Recorder(60.0)
    store.watch(recorder)
    return recorder


def snapshots(recorder: Recorder) -> int:
    return sum(isinstance(event, Snapshot) for event in recorder.events)


def answers(store: EtcdStore) -> bool:
    try:
        store.ping()
    except StoreUnavailable:
        return False
    return True


def test_after_a_crash_everything_is_there(
    single: Cluster, store: EtcdStore, recorder: Recorder
) -> None:
    member, epoch = single.members[0], store.epoch
    first = put(store, "services/a", b"1")
    recorder.wait_for_revision(first)
    member.kill()
    with pytest.raises(StoreError):
        assert_prompt(lambda: put(store, "services/a", b"2"), PATIENCE)
    single.start(member)
    recorder.wait(lambda: snapshots(recorder) == 2, "a fresh snapshot")
    # The connection of the writers recovers by itself, too.
    eventually(lambda: answers(store))
    second = put(store, "services/a", b"2", expected=first)
    recorder.wait_for_revision(second)
    assert [type(event) for event in recorder.events] == [
        *(Snapshot, Change, Lost, Snapshot, Change)
    ]
    assert store.epoch == epoch
    assert_agrees(recorder, store)


def test_a_server_that_lost_all_has_another_epoch(
    single: Cluster, store: EtcdStore, recorder: Recorder
) -> None:
    member, epoch = single.members[0], store.epoch
    put(store, "services/a", b"1")
    member.kill()
    shutil.rmtree(member.data)
    single.start(member)
    recorder.wait(lambda: snapshots(recorder) == 2, "a fresh snapshot")
    assert store.epoch != epoch
    assert recorder.held() == {}
    last = put(store, "services/b", b"2", expected=0)
    recorder.wait(lambda: "services/b" in recorder.held(), f"revision {last}")
    assert_agrees(recorder, store)


def test_a_server_restored_from_a_backup_has_another_epoch(
    single: Cluster, store: EtcdStore, recorder: Recorder
) -> None:
    member, epoch = single.members[0], store.epoch
    put(store, "services/a", b"old")
    member.kill()
    backup = member.folder / "backup"
    shutil.copytree(member.data, backup)
    single.start(member)
    recorder.wait(lambda: snapshots(recorder) == 2, "a fresh snapshot")
    assert store.epoch == epoch, "a restart is no restore"
    recorder.wait_for_revision(put(store, "services/a", b"new"))
    member.kill()
    shutil.rmtree(member.data)
    backup.rename(member.data)
    single.start(member)
    recorder.wait(lambda: snapshots(recorder) == 3, "a fresh snapshot")
    assert store.epoch != epoch
    assert [record.value for record in recorder.held().values()] == [b"old"]
    assert_agrees(recorder, store)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Cluster]:
    with running(tmp_path, size=3) as cluster:
        yield cluster


def test_without_a_majority_there_is_no_answer(three: Cluster) -> None:
    store = EtcdStore(Server(three.hosts))
    recorder = Recorder(60.0)
    store.watch(recorder)
    put(store, "services/a", b"1")
    away = three.members[1:]
    for member in away:
        member.kill()
    with pytest.raises(StoreError):
        assert_prompt(lambda: put(store, "services/a", b"2"), PATIENCE)
    with pytest.raises(StoreUnavailable):
        assert_prompt(store.ping, PATIENCE)
    recorder.wait(lambda: isinstance(recorder.events[-1], Lost), "the news of it")
    three.start(away[0])
    recorder.wait(lambda: snapshots(recorder) == 2, "a fresh snapshot")
    eventually(lambda: answers(store))
    recorder.wait_for_revision(put(store, "services/b", b"3"))
    assert_agrees(recorder, store)
    store.close()


# Far above an election, which takes one or two; etcd itself gives up a write after
# seven, and the store in that test much later.
ELECTED_SECONDS = 6.0


@pytest.mark.parametrize("first", [True, False], ids=["leader first", "leader last"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_leader_that_is_gone_is_not_waited_for(
    three: Cluster, how: signal.Signals, first: bool
) -> None:
    leader = three.leader()
    hosts = sorted(three.hosts, key=lambda host: (host == leader.host) != first)
    store = EtcdStore(Server(tuple(hosts)), timeout=60.0)
    recorder = Recorder(60.0)
    store.watch(recorder)
    put(store, "services/a", b"1")
    assert leader.program is not None
    leader.program.signal(how)
    revision = None
    while revision is None:
        with suppress(StoreUnavailable, OutcomeUnknown):
            begun = time.monotonic()
            revision = put(store, "services/a", b"2")
        took = time.monotonic() - begun
        assert took < ELECTED_SECONDS, "it waited for a leader who is gone"
    recorder.wait_for_revision(revision)
    store.close()


def test_a_slow_answer_of_the_same_leader_is_waited_for(
    single: Cluster, store: EtcdStore
) -> None:
    put(store, "services/a", b"1")
    member = single.members[0].program
    assert member is not None
    member.signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(put, store, "services/a", b"2")
        with pytest.raises(TimeoutError):
            running.result(3 * LONG_SECONDS)
        member.signal(signal.SIGCONT)
        assert running.result(PATIENCE)


class Writer:
    """Counts up under a key of its own, by compare-and-set."""

    def __init__(self, store: Store, key: str, stop: threading.Event) -> None:
        self.store = store
        self.key = key
        self.stop = stop
        self.count = 0
        self.revision = 0
        self.acknowledged = 0
        self.failures = 0

    def run(self) -> None:
        while not self.stop.wait(0.002):
            wish = self.count + 1
            try:
                self.revision = put(
                    self.store, self.key, b"%d" % wish, expected=self.revision
                )
            except (StoreUnavailable, OutcomeUnknown):
                self.failures += 1
                self._look(wish)
            else:
                self.count = wish
                self.acknowledged += 1

    def _look(self, wish: int) -> None:
        """Read what has become of it; nothing acknowledged may be gone."""
        while not self.stop.wait(0.05):
            with suppress(StoreUnavailable):
                records = snapshot_of(self.store).records
                break
        else:
            return
        record = {record.key: record for record in records}.get(self.key)
        count = int(record.value) if record else 0
        assert count in (self.count, wish), f"{self.key}: {self.count}, found {count}"
        self.count, self.revision = count, record.revision if record else 0


def test_nothing_acknowledged_is_lost_when_leaders_crash(three: Cluster) -> None:
    stores = [EtcdStore(Server(three.hosts)) for _ in range(2)]
    recorder, stop = Recorder(60.0), threading.Event()
    stores[0].watch(recorder)
    writers = [Writer(stores[n % 2], f"services/{n}", stop) for n in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as pool:
        loads = [pool.submit(writer.run) for writer in writers]
        try:
            for _ in range(KILLS):
                crash(three, three.leader(), writers)
        finally:
            stop.set()
        for load in loads:
            load.result(30)
    settle(stores[1], writers)
    recorder.wait(lambda: counts(recorder) == [w.count for w in writers], "the last")
    assert_no_step_is_missing(recorder)
    assert_agrees(recorder, stores[1])
    for store in stores:
        store.close()


def crash(cluster: Cluster, leader: Member, writers: list[Writer]) -> None:
    """Kill the leader, see that all write on without it, and start it again."""
    leader.kill()
    before = [writer.acknowledged for writer in writers]
    eventually(
        lambda: all(w.acknowledged > b for w, b in zip(writers, before, strict=True)),
        60.0,
    )
    cluster.start(leader)


def settle(store: EtcdStore, writers: list[Writer]) -> None:
    """See that all acknowledged is there; a last write may have gone either way."""
    held = {record.key: int(record.value) for record in snapshot_of(store).records}
    for writer in writers:
        assert held[writer.key] in (writer.count, writer.count + 1)
        writer.count = held[writer.key]


def counts(recorder: Recorder) -> list[int]:
    held = recorder.held()
    return [int(held[key].value) for key in sorted(held)]


def assert_no_step_is_missing(recorder: Recorder) -> None:
    counts: dict[str, int] = {}
    revision = 0
    for event in recorder.events:
        if isinstance(event, Snapshot):
            counts = {record.key: int(record.value) for record in event.records}
            assert event.revision >= revision
            revision = event.revision
        elif isinstance(event, Change):
            assert event.revision > revision
            revision = event.revision
            assert int(event.value or b"") == counts.get(event.key, 0) + 1
            counts[event.key] = int(event.value or b"")
