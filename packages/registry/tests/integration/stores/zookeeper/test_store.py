"""The store contract on a real ZooKeeper, and what is special about its tree."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeGuard

import pytest
from msgspec import msgpack

from modularity_registry.errors import StoreConflict, StoreCorrupt, StoreUnavailable
from modularity_registry.stores.base import Lost, Outcome, Record, Write, delete, put
from modularity_registry.stores.conformance.batches import revision_of
from modularity_registry.stores.conformance.breakable_proxy import BreakableProxy
from modularity_registry.stores.conformance.contract import (
    OpenStore,
    RemoteStoreContract,
    snapshot_of,
)
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.server_url import Host, Server
from modularity_registry.stores.zookeeper.layout import LARGEST_VALUE
from modularity_registry.stores.zookeeper.store import ZookeeperStore
from support.servers.stores.zookeeper import HOST, Zookeeper, running

# What a test waits for a server that says nothing.
TIMEOUT = 2.0

_numbers = itertools.count()


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zookeeper]:
    with running(tmp_path_factory.mktemp("zookeeper")) as server:
        yield server


@pytest.fixture
def server(zookeeper: Zookeeper) -> Server:
    return Server((zookeeper.host,), prefix=f"test-{next(_numbers)}")


class TestZookeeperStore(RemoteStoreContract):
    @pytest.fixture
    def open_new(self, zookeeper: Zookeeper) -> OpenStore:
        def open_() -> ZookeeperStore:
            prefix = f"new-{next(_numbers)}"
            return ZookeeperStore(Server((zookeeper.host,), prefix=prefix))

        return open_

    @pytest.fixture
    def open_same(self, server: Server) -> OpenStore:
        return lambda: ZookeeperStore(server)

    @pytest.fixture
    def proxy(self, zookeeper: Zookeeper) -> Iterator[BreakableProxy]:
        proxy = BreakableProxy(zookeeper.port)
        yield proxy
        proxy.close()

    @pytest.fixture
    def open_through_proxy(self, server: Server, proxy: BreakableProxy) -> OpenStore:
        far = replace(server, hosts=(Host(HOST, proxy.port),))
        return lambda: ZookeeperStore(far, TIMEOUT)

    @pytest.fixture
    def forget(self, zookeeper: Zookeeper, server: Server) -> Callable[[], None]:
        return lambda: zookeeper.forget(server.prefix)

    @pytest.fixture
    def wipe(self, zookeeper: Zookeeper, server: Server) -> Callable[[], None]:
        return lambda: zookeeper.wipe(server.prefix)


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


def test_two_prefixes_are_two_stores(zookeeper: Zookeeper, server: Server) -> None:
    # The second name begins with the first one.
    near = ZookeeperStore(server)
    far = ZookeeperStore(replace(server, prefix=f"{server.prefix}.x"))
    recorders = Recorder(), Recorder()
    for store, recorder in zip((near, far), recorders, strict=True):
        store.watch(recorder)
    one = put(near, "services/a", b"near", expected=0)
    two = put(far, "services/a", b"far", expected=0)
    for revision, recorder in zip((one, two), recorders, strict=True):
        recorder.wait_for_revision(revision)
    assert [change.value for change in recorders[0].changes] == [b"near"]
    assert [change.value for change in recorders[1].changes] == [b"far"]
    assert near.epoch != far.epoch
    near.close()
    far.close()


@pytest.mark.parametrize(
    "key", ["", ".", "..", "/", "../../x", "//", "a/../b", "services/ü☃", "=", "a%2Fb"]
)
def test_any_key_stays_in_its_prefix(
    zookeeper: Zookeeper, server: Server, store: ZookeeperStore, key: str
) -> None:
    with zookeeper.operator() as client:
        before = set(client.get_children("/"))
        revision = put(store, key, b"1", expected=0)
        assert set(client.get_children("/")) <= before | others(client, before)
        assert set(client.get_children(f"/{server.prefix}")) == {"epoch", store.epoch}
    assert snapshot_of(store).records == (Record(key, b"1", revision),)
    assert delete(store, key) is not None
    assert snapshot_of(store).records == ()


def others(client: Any, before: set[str]) -> set[str]:
    """Return what further prefixes of these tests have appeared meanwhile."""
    now = set(client.get_children("/")) - before
    return {name for name in now if name.startswith(("test-", "new-"))}


def test_a_record_created_again_is_another_one(
    store: ZookeeperStore, other: ZookeeperStore
) -> None:
    # ZooKeeper counts the versions of a node that is created again from 0.
    delete(store, "services/a")
    first = put(store, "services/a", b"1", expected=0)
    mine = put(store, "services/a", b"2", expected=first)
    delete(other, "services/a")
    again = put(other, "services/a", b"3", expected=0)
    theirs = put(other, "services/a", b"4", expected=again)
    writes: list[Callable[[], object]] = [
        lambda: put(store, "services/a", b"", mine),
        lambda: delete(store, "services/a", mine),
    ]
    for write in writes:
        with pytest.raises(StoreConflict) as caught:
            write()
        assert caught.value.actual == theirs


def test_others_who_are_faster_cost_a_batch_only_their_own_keys(
    store: ZookeeperStore, other: ZookeeperStore
) -> None:
    keys = [f"services/{number}" for number in range(40)]
    revision = revision_of(store.commit([Write(key, b"1") for key in keys])[-1])
    deleted = keys[3:6]
    other.commit([Write(key, None) for key in deleted])
    changed = revision_of(other.commit([Write(key, b"2") for key in keys[:3]])[-1])
    recorder = Recorder()
    other.watch(recorder)
    outcomes = store.commit([Write(key, b"3", revision) for key in keys])
    actual = [outcome.actual for outcome in outcomes[:6] if is_conflict(outcome)]
    assert actual == [changed] * 3 + [0] * 3
    last = revision_of(outcomes[-1])
    assert outcomes[6:] == [last] * 34
    recorder.wait_for_revision(last)
    assert [change.key for change in recorder.changes] == keys[6:]


def test_ones_own_deletions_need_no_further_look(
    store: ZookeeperStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.watch(Recorder())
    keys = [f"services/{number}" for number in range(60)]
    [revision] = set(store.commit([Write(key, b"1") for key in keys]))
    assert isinstance(revision, int)
    monkeypatch.setattr(store._writer, "_read", None)  # a look would fail
    store.commit([Write(key, None, revision) for key in keys[:30]])
    store.commit([Write(key, b"2", revision) for key in keys[30:]])
    store.commit([Write(key, None) for key in keys[30:]])


def is_conflict(outcome: Outcome) -> TypeGuard[StoreConflict]:
    return isinstance(outcome, StoreConflict)


def test_two_processes_write_the_same_key_without_expectations(
    store: ZookeeperStore, other: ZookeeperStore
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    revisions: list[int | None] = []
    for _ in range(3):
        revisions += [put(store, "services/a", b"1"), put(other, "services/a", b"2")]
        revisions += [delete(store, "services/a"), delete(other, "services/a")]
        revisions += [put(other, "services/a", b"3"), put(store, "services/a", b"4")]
    written = [revision for revision in revisions if revision is not None]
    assert len(written) == len(revisions) - 3
    recorder.wait_for_revision(written[-1])
    assert [change.revision for change in recorder.changes] == written


def test_a_value_is_limited_by_zookeepers_packets(store: ZookeeperStore) -> None:
    recorder = Recorder()
    store.watch(recorder)
    value = bytes(LARGEST_VALUE)
    recorder.wait_for_revision(put(store, "services/a", value))
    recorder.wait_for_revision(put(store, "services/a", value))
    assert [len(change.value or b"") for change in recorder.changes] == [len(value)] * 2
    with pytest.raises(StoreUnavailable, match=r"at most 500000 bytes; nothing was"):
        put(store, "services/a", value + b"x")
    store.ping()


def test_a_write_into_a_deleted_tree_is_refused_and_the_next_one_made(
    zookeeper: Zookeeper, server: Server, store: ZookeeperStore
) -> None:
    revision = put(store, "services/a", b"1")
    before = store.epoch
    zookeeper.wipe(server.prefix)
    with pytest.raises(StoreUnavailable, match="nothing was written"):
        put(store, "services/a", b"2", expected=revision)
    assert store.epoch != before
    with pytest.raises(StoreConflict):
        put(store, "services/a", b"2", expected=revision)
    put(store, "services/a", b"2", expected=0)


@pytest.mark.parametrize(
    ("node", "content"),
    [
        ("epoch", b"not ours"),
        ("epoch", b""),
        ("{epoch}/record/00/foreign", b""),
        ("{epoch}/log/0/n0000000000", b"foreign"),
        ("{epoch}/log/0/n0000000000", msgpack.encode([])),
        ("{epoch}/log/0/n0000000000", msgpack.encode([("services/a", 1)])),
    ],
)
def test_what_nobody_wrote_is_corrupt(
    zookeeper: Zookeeper, server: Server, node: str, content: bytes
) -> None:
    store = ZookeeperStore(server)
    recorder = Recorder()
    store.watch(recorder)
    with zookeeper.operator() as client:
        path = f"/{server.prefix}/{node.format(epoch=store.epoch)}"
        if node == "epoch":
            client.set(path, content)
        elif "log" in node:
            client.create(path[:-10], content, sequence=True)
        else:
            client.create(path, content)
    if "record" in node or node == "epoch":
        with pytest.raises(StoreCorrupt, match=f"/{server.prefix}/"):
            store.watch(Recorder())
    if "record" not in node:
        recorder.wait(lambda: any(isinstance(e, Lost) for e in recorder.events), "news")
    store.close()
