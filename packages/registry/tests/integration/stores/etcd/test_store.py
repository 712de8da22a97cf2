"""The store contract on a real etcd, and what is special about etcd."""

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from modularity_registry.errors import (
    OutcomeUnknown,
    StoreConflict,
    StoreCorrupt,
    StoreUnavailable,
)
from modularity_registry.stores.base import (
    Change,
    Event,
    Snapshot,
    Write,
    delete,
    put,
)
from modularity_registry.stores.conformance.base import assert_agrees
from modularity_registry.stores.conformance.breakable_proxy import BreakableProxy
from modularity_registry.stores.conformance.contract import (
    OpenStore,
    RemoteStoreContract,
    snapshot_of,
)
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.etcd import layout
from modularity_registry.stores.etcd.cluster import ConnectionPool
from modularity_registry.stores.etcd.store import EtcdStore
from modularity_registry.stores.server_url import Host, Server
from support.servers.stores.etcd import HOST, Cluster, Operator, running
from support.serving import free_port

# What a test waits for that a server says nothing, and how often it does.
TIMEOUT = 2.0

_numbers = itertools.count()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture
def prefix() -> str:
    return f"test-{next(_numbers)}"


@pytest.fixture
def server(cluster: Cluster, prefix: str) -> Server:
    return Server(cluster.hosts, prefix=prefix)


@pytest.fixture
def operator(cluster: Cluster) -> Iterator[Operator]:
    with Operator(cluster.hosts[0]) as operator:
        yield operator


class TestEtcdStore(RemoteStoreContract):
    @pytest.fixture
    def open_new(self, cluster: Cluster) -> OpenStore:
        def open_() -> EtcdStore:
            return EtcdStore(Server(cluster.hosts, prefix=f"new-{next(_numbers)}"))

        return open_

    @pytest.fixture
    def open_same(self, server: Server) -> OpenStore:
        return lambda: EtcdStore(server)

    @pytest.fixture
    def proxy(self, cluster: Cluster) -> Iterator[BreakableProxy]:
        proxy = BreakableProxy(cluster.hosts[0].port)
        yield proxy
        proxy.close()

    @pytest.fixture
    def open_through_proxy(self, server: Server, proxy: BreakableProxy) -> OpenStore:
        far = replace(server, hosts=(Host(HOST, proxy.port),))
        return lambda: EtcdStore(far, TIMEOUT)

    @pytest.fixture
    def forget(self, operator: Operator) -> Callable[[], None]:
        return operator.compact

    @pytest.fixture
    def wipe(self, operator: Operator, prefix: str) -> Callable[[], None]:
        return lambda: operator.wipe(prefix)


@pytest.fixture
def store(server: Server) -> Iterator[EtcdStore]:
    store = EtcdStore(server, TIMEOUT)
    yield store
    store.close()


def test_prefixes_do_not_see_each_other(cluster: Cluster, prefix: str) -> None:
    # One begins the other; between them stand a dot and a slash.
    stores = [
        EtcdStore(Server(cluster.hosts, prefix=name)) for name in (prefix, prefix + ".")
    ]
    recorders = Recorder(), Recorder()
    for number, (store, recorder) in enumerate(zip(stores, recorders, strict=True)):
        store.watch(recorder)
        put(store, "services/a", b"%d" % number, expected=0)
    for number, (store, recorder) in enumerate(zip(stores, recorders, strict=True)):
        recorder.wait_for_revision(put(store, "services/last", b""))
        values = [record.value for record in snapshot_of(store).records]
        assert values == [b"%d" % number, b""]
        assert [change.value for change in recorder.changes] == values
    assert stores[0].epoch != stores[1].epoch
    for store in stores:
        store.close()


def test_what_others_put_beside_the_records_is_no_record(
    store: EtcdStore, operator: Operator, prefix: str
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    for key in (f"{prefix}/note", f"{prefix}/records", prefix, f"{prefix}0"):
        operator.put(key.encode(), b"?")
    last = put(store, "services/a", b"1")
    recorder.wait_for_revision(last)
    assert recorder.changes == [Change("services/a", b"1", last)]
    assert [record.key for record in snapshot_of(store).records] == ["services/a"]


def test_all_that_one_transaction_changed_is_told(
    store: EtcdStore, operator: Operator, prefix: str
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    keys = *(f"{prefix}/record/{key}" for key in "abc"), f"{prefix}/note"
    operator.put_all({key.encode(): b"1" for key in keys})
    recorder.wait(lambda: len(recorder.changes) == 3, "the third change")
    assert [change.key for change in recorder.changes] == ["a", "b", "c"]
    assert [change.last for change in recorder.changes] == [False, False, True]
    assert_agrees(recorder, store)


def test_a_key_that_is_not_text_is_corrupt(
    store: EtcdStore, operator: Operator, prefix: str
) -> None:
    operator.put(prefix.encode() + b"/record/\xff", b"")
    with pytest.raises(StoreCorrupt, match="not text"):
        store.watch(Recorder())


def test_a_prefix_of_another_program_is_not_opened(
    server: Server, operator: Operator, prefix: str
) -> None:
    operator.put(f"{prefix}/epoch".encode(), b"the Bronze Age")
    with pytest.raises(StoreCorrupt, match="another program"):
        EtcdStore(server)


@pytest.fixture
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "FIRST_PAGE", 10)
    monkeypatch.setattr(layout, "LARGEST_PAGE", 10)


@pytest.mark.usefixtures("_small_pages")
def test_a_snapshot_has_many_pages(store: EtcdStore) -> None:
    for count in (9, 10, 11, 29):  # with the epoch, up to and over the edge
        for number in range(count):
            put(store, f"services/{number}", b"%d" % count)
        records = snapshot_of(store).records
        assert {record.key: record.value for record in records} == {
            f"services/{number}": b"%d" % count for number in range(count)
        }


@pytest.mark.parametrize(
    ("size", "limits"), [(0, [10, 40, 40]), (20, [10, 26, 25]), (100, [10] * 6)]
)
def test_pages_are_as_large_as_the_records_before_allow(
    store: EtcdStore, monkeypatch: pytest.MonkeyPatch, size: int, limits: list[int]
) -> None:
    monkeypatch.setattr(layout, "FIRST_PAGE", 10)
    monkeypatch.setattr(layout, "LARGEST_PAGE", 40)
    monkeypatch.setattr(layout, "PAGE_BYTES", 500)
    for number in range(51):
        put(store, f"services/{number}", b"x" * size)
    read, asked = ConnectionPool.read, []

    def note(pool: ConnectionPool, request: Any) -> Any:
        asked.append(request.limit)
        return read(pool, request)

    monkeypatch.setattr(ConnectionPool, "read", note)
    assert len(snapshot_of(store).records) == 51
    assert asked == limits


@pytest.mark.usefixtures("_small_pages")
def test_a_snapshot_is_begun_again_when_history_goes_between_two_pages(
    store: EtcdStore, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        put(store, f"services/{number}", b"")
    read, pages = ConnectionPool.read, itertools.count(1)

    def read_and_compact(proxies: ConnectionPool, request: Any) -> Any:
        page = read(proxies, request)
        if next(pages) == 2:
            put(store, "services/0", b"later")
            operator.compact()
        return page

    monkeypatch.setattr(ConnectionPool, "read", read_and_compact)
    records = snapshot_of(store).records
    assert len(records) == 30
    assert (records[-1].key, records[-1].value) == ("services/0", b"later")
    assert next(pages) == 7  # two, a third in vain, and four in all


def test_the_writes_of_a_batch_share_a_revision(store: EtcdStore) -> None:
    first = put(store, "services/a", b"1")
    recorder = Recorder()
    store.watch(recorder)
    conflict, *revisions = store.commit(
        [
            Write("services/a", b"2", expected=0),
            Write("services/b", b"2", expected=0),
            Write("services/c", b"2"),
        ]
    )
    assert isinstance(conflict, StoreConflict)
    assert conflict.actual == first
    assert revisions == [first + 1, first + 1]
    recorder.wait(lambda: len(recorder.changes) == 2, "the second change")
    assert recorder.changes == [
        Change("services/b", b"2", first + 1, last=False),
        Change("services/c", b"2", first + 1),
    ]


def test_a_write_meant_for_a_wiped_store_is_refused(
    store: EtcdStore, operator: Operator, prefix: str
) -> None:
    before = store.epoch
    put(store, "services/a", b"1")
    calls: list[Callable[[], object]] = [
        lambda: put(store, "services/a", b"2"),
        lambda: put(store, "services/a", b"2", expected=0),
        lambda: delete(store, "services/a"),
    ]
    for call in calls:
        operator.wipe(prefix)
        with pytest.raises(StoreUnavailable, match="nothing was written"):
            call()
        assert snapshot_of(store).records == ()
        assert store.epoch != before
        before = store.epoch
    put(store, "services/a", b"2", expected=0)


def test_a_server_out_of_space_is_read_but_not_written(
    store: EtcdStore, server: Server, operator: Operator
) -> None:
    put(store, "services/a", b"1")
    with operator.out_of_space():
        for expected in (None, 0):
            with pytest.raises(StoreUnavailable, match=r"out of space.*alarm disarm"):
                put(store, "services/a", b"2", expected)
        other = EtcdStore(server)
        assert [record.value for record in snapshot_of(other).records] == [b"1"]
        other.close()
    put(store, "services/a", b"3")


def test_a_record_over_etcds_limit_is_refused(store: EtcdStore) -> None:
    for size in (1_600_000, 3_000_000):  # etcd's own limit, and that of its gRPC
        with pytest.raises(StoreUnavailable, match="--max-request-bytes"):
            put(store, "services/a", b"x" * size)
    assert snapshot_of(store).records == ()


def test_a_slow_watcher_is_not_taken_for_a_silent_server(server: Server) -> None:
    store = EtcdStore(server, timeout=1.0)
    recorder, busy = Recorder(), threading.Event()

    def slow(event: Event) -> None:
        if isinstance(event, Change) and event.value == b"slow":
            busy.wait(2.5)
        recorder(event)

    store.watch(slow)
    put(store, "services/a", b"slow")
    recorder.wait_for_revision(put(store, "services/b", b""))
    assert len(recorder.events) == 3, recorder.events
    store.close()


def test_a_quiet_watch_stays(server: Server) -> None:
    store = EtcdStore(server, timeout=1.0)
    recorder = Recorder()
    store.watch(recorder)
    threading.Event().wait(3.0)  # nothing is to happen in this time
    recorder.wait_for_revision(put(store, "services/a", b""))
    assert len(recorder.events) == 2, recorder.events
    store.close()


def test_a_line_that_went_dead_without_a_word_is_noticed(
    cluster: Cluster, server: Server
) -> None:
    proxy = BreakableProxy(cluster.hosts[0].port)
    near = EtcdStore(server)
    # Of two members the first one falls silent, so the second one is asked.
    both = (Host(HOST, proxy.port), *cluster.hosts)
    far = EtcdStore(replace(server, hosts=both), TIMEOUT)
    recorder = Recorder(15.0)
    far.watch(recorder)
    proxy.hold()
    missed = put(near, "services/a", b"1")
    recorder.wait_for_revision(missed)
    kinds = [type(event).__name__ for event in recorder.events]
    assert kinds == ["Snapshot", "Lost", "Snapshot"]
    put(far, "services/a", b"2", expected=missed)
    for opened in (far, near, proxy):
        opened.close()


def test_a_member_that_is_away_is_passed_over(cluster: Cluster, server: Server) -> None:
    proxy = BreakableProxy(cluster.hosts[0].port)
    away = Host(HOST, free_port())
    hosts = (away, Host(HOST, proxy.port), *cluster.hosts)
    store = EtcdStore(replace(server, hosts=hosts), TIMEOUT)
    recorder = Recorder()
    store.watch(recorder)
    put(store, "services/a", b"1")
    proxy.cut()
    recorder.wait(
        lambda: isinstance(recorder.events[-1], Snapshot) and len(recorder.events) > 2,
        "a fresh snapshot",
    )
    # The watch has found the next member, and the writers follow it.
    recorder.wait_for_revision(put(store, "services/b", b"2"))
    store.ping()
    assert_agrees(recorder, store)
    store.close()
    proxy.close()


def test_a_write_that_broke_off_is_not_repeated(
    cluster: Cluster, server: Server
) -> None:
    proxy = BreakableProxy(cluster.hosts[0].port)
    both = (Host(HOST, proxy.port), *cluster.hosts)
    store = EtcdStore(replace(server, hosts=both), TIMEOUT)
    near = EtcdStore(server)
    put(store, "services/a", b"1")
    proxy.hold()
    with pytest.raises(OutcomeUnknown, match="did not answer in time"):
        put(store, "services/a", b"2")
    # The connection to the first member is closed, so the write that it held never
    # arrives; had it gone to the second one, the value would be there.
    assert [record.value for record in snapshot_of(near).records] == [b"1"]
    put(store, "services/a", b"3")
    for opened in (store, near, proxy):
        opened.close()
