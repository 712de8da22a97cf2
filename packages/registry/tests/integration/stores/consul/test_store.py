"""The store contract on a real Consul, and what is special about Consul."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from modularity_registry.errors import (
    OutcomeUnknown,
    StoreConflict,
    StoreCorrupt,
    StoreUnavailable,
)
from modularity_registry.stores.base import LARGEST_BATCH, Write, delete, put
from modularity_registry.stores.conformance.base import assert_agrees, assert_growing
from modularity_registry.stores.conformance.breakable_proxy import BreakableProxy
from modularity_registry.stores.conformance.contract import (
    OpenStore,
    RemoteStoreContract,
    snapshot_of,
)
from modularity_registry.stores.conformance.outages import UNANSWERED
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.consul.api import ConsulApi, Operation
from modularity_registry.stores.consul.epoch import EpochTracker
from modularity_registry.stores.consul.feed import FeedSession
from modularity_registry.stores.consul.layout import LOG_KEPT, Layout, Pair
from modularity_registry.stores.consul.store import ConsulStore
from modularity_registry.stores.reconnecting_watch import Gap
from modularity_registry.stores.server_url import Host, Server
from support.registry import eventually
from support.servers.stores.consul import HOST, Agent, running

# What a test waits for a server that says nothing.
TIMEOUT = 2.0

_numbers = itertools.count()


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with running(Agent(tmp_path_factory.mktemp("consul"))) as agent:
        yield agent


@pytest.fixture
def server(agent: Agent) -> Server:
    return Server((agent.host,), prefix=f"test-{next(_numbers)}")


class TestConsulStore(RemoteStoreContract):
    @pytest.fixture
    def open_new(self, agent: Agent) -> OpenStore:
        def open_() -> ConsulStore:
            return ConsulStore(Server((agent.host,), prefix=f"new-{next(_numbers)}"))

        return open_

    @pytest.fixture
    def open_same(self, server: Server) -> OpenStore:
        return lambda: ConsulStore(server)

    @pytest.fixture
    def proxy(self, agent: Agent) -> Iterator[BreakableProxy]:
        proxy = BreakableProxy(agent.port)
        yield proxy
        proxy.close()

    @pytest.fixture
    def open_through_proxy(self, server: Server, proxy: BreakableProxy) -> OpenStore:
        far = replace(server, hosts=(Host(HOST, proxy.port),))
        return lambda: ConsulStore(far, TIMEOUT)

    @pytest.fixture
    def forget(self, agent: Agent, server: Server) -> Callable[[], None]:
        return lambda: agent.forget(server.prefix)

    @pytest.fixture
    def wipe(self, agent: Agent, server: Server) -> Callable[[], None]:
        return lambda: agent.wipe(server.prefix)


@pytest.fixture
def store(server: Server) -> Iterator[ConsulStore]:
    store = ConsulStore(server)
    yield store
    store.close()


@pytest.mark.parametrize("other", ["test", "test-a.b", "test-a-b", "test-A"])
def test_stores_with_other_prefixes_see_nothing_of_each_other(
    agent: Agent, other: str
) -> None:
    one = ConsulStore(Server((agent.host,), prefix="test-a"))
    two = ConsulStore(Server((agent.host,), prefix=other))
    recorder = Recorder()
    one.watch(recorder)
    before = recorder.held()
    put(two, "services/a", b"2")
    put(two, "../../test-a/state/records/services/b", b"2")
    last = put(one, "services/mine", b"1")
    recorder.wait_for_revision(last)
    assert [change.key for change in recorder.changes] == ["services/mine"]
    agent.wipe(other)
    assert recorder.held().keys() == before.keys() | {"services/mine"}
    assert one.epoch != two.epoch
    assert_agrees(recorder, one)
    one.close()
    two.close()


def test_more_than_fits_into_a_transaction_is_written_in_several(
    store: ConsulStore,
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    sizes = {f"services/{number}": 10 for number in range(LARGEST_BATCH)}
    sizes |= {f"services/{number}": 60_000 for number in (1, 2, 61, 62)}
    batch = [Write(key, b"\xff" * size) for key, size in sizes.items()]
    outcomes = store.commit(batch)
    assert outcomes == list(range(1, LARGEST_BATCH + 1))
    recorder.wait_for_revision(LARGEST_BATCH)
    assert {k: len(r.value) for k, r in recorder.held().items()} == sizes
    assert_growing([change.revision for change in recorder.changes])
    assert_agrees(recorder, store)


def test_a_part_of_a_batch_that_fails_leaves_the_outcomes_of_the_others(
    store: ConsulStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [Write(f"services/{number}", b"") for number in range(LARGEST_BATCH)]
    write, calls = store._api.write, itertools.count(1)

    def fail_later(operations: Sequence[Operation]) -> int | None:
        if next(calls) > 1:
            raise OutcomeUnknown.because("the connection broke")
        return write(operations)

    monkeypatch.setattr(store._api, "write", fail_later)
    outcomes = store.commit(batch)
    assert outcomes[:60] == list(range(1, 61))
    assert [type(outcome) for outcome in outcomes[60:]] == [OutcomeUnknown] * 4
    monkeypatch.undo()
    assert store.commit(batch)[-1] == 60 + LARGEST_BATCH


def test_new_records_are_written_without_a_look(
    server: Server, store: ConsulStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "services/taken", b"")
    other = ConsulStore(server)
    other.ping()
    taken = put(other, "services/taken-too", b"")
    epoch = store.epoch
    put(store, "services/mine", b"")
    find, looks = store._api.find, itertools.count()

    def count(names: Iterable[str]) -> dict[str, Pair]:
        next(looks)
        return find(names)

    monkeypatch.setattr(store._api, "find", count)
    batch = [Write(f"services/{number}", b"", 0) for number in range(3)]
    assert store.commit(batch) == [4, 5, 6]
    assert next(looks) == 0
    batch = [Write(f"services/{number}", b"", 0) for number in ("3", "taken-too", "4")]
    first, conflict, last = store.commit(batch)
    assert (first, last) == (7, 8)
    assert isinstance(conflict, StoreConflict)
    assert conflict.actual == taken
    assert store.epoch == epoch
    other.close()


def test_a_record_that_is_too_large_changes_nothing(store: ConsulStore) -> None:
    revision = put(store, "services/a", b"x" * 180_000)
    with pytest.raises(StoreUnavailable, match="too large"):
        put(store, "services/a", b"x" * 200_000)
    assert [r.revision for r in snapshot_of(store).records] == [revision]


def test_writers_in_several_stores_lose_no_update(server: Server) -> None:
    stores = [ConsulStore(server) for _ in range(3)]
    put(stores[0], "services/count", b"0")

    def increment(number: int) -> int:
        store = stores[number]
        while True:
            record = snapshot_of(store).records[0]
            count = b"%d" % (int(record.value) + 1)
            try:
                return put(store, record.key, count, expected=record.revision)
            except StoreConflict:
                continue

    with ThreadPoolExecutor(3) as pool:
        turns = pool.map(lambda n: [increment(n) for _ in range(20)], range(3))
        revisions = list(itertools.chain(*turns))
    assert snapshot_of(stores[0]).records[0].value == b"60"
    assert len(set(revisions)) == 60
    for store in stores:
        store.close()


def test_a_refusal_is_about_the_newest_state(server: Server) -> None:
    one, two = ConsulStore(server), ConsulStore(server)
    first = put(one, "services/a", b"1")
    assert delete(two, "services/b") is None
    second = put(two, "services/a", b"2")
    # What ``one`` remembers refuses this one, what is in Consul doesn't.
    third = put(one, "services/a", b"3", expected=second)
    assert delete(two, "services/a", expected=third) == third + 1
    assert delete(one, "services/a") is None
    assert put(two, "services/b", b"", expected=0) == third + 2
    assert delete(one, "services/b") == third + 3
    assert first < second
    one.close()
    two.close()


def test_the_log_is_trimmed_and_a_watch_far_behind_hears_of_it(
    agent: Agent, server: Server, store: ConsulStore
) -> None:
    layout = Layout(server.prefix)
    slow = FeedSession(ConsulApi(server, TIMEOUT), layout, EpochTracker(layout))
    assert slow.snapshot().records == ()
    for number in range(LOG_KEPT + 1):
        last = put(store, "services/a", b"%d" % number)
    assert len(agent.names(layout.logs)) == LOG_KEPT
    with pytest.raises(Gap):
        next(slow.changes())
    assert slow.snapshot().revision == last
    slow.close()


def test_a_log_of_another_history_is_not_replayed(
    agent: Agent, server: Server, store: ConsulStore
) -> None:
    layout = Layout(server.prefix)
    session = FeedSession(ConsulApi(server, TIMEOUT), layout, EpochTracker(layout))
    session.snapshot()
    put(store, "services/a", b"1")
    path = f"/v1/kv/{layout.log(store.epoch, 1)}"
    same = agent.call("GET", f"{path}?raw")
    agent.call("PUT", f"{path}?flags=1", same)
    with pytest.raises(Gap):
        next(session.changes())
    session.close()


def test_a_write_that_got_no_answer_is_of_unknown_outcome(
    server: Server, store: ConsulStore, agent: Agent
) -> None:
    proxy = BreakableProxy(agent.port)
    far = ConsulStore(replace(server, hosts=(Host(HOST, proxy.port),)), TIMEOUT)
    first = put(far, "services/a", b"1")
    proxy.hold()
    with pytest.raises(OutcomeUnknown):
        put(far, "services/a", b"2")
    # What was held is sent at last, unlike a call that no server has accepted.
    proxy.mend()
    eventually(lambda: snapshot_of(store).records[0].value == b"2")
    assert put(far, "services/a", b"3", expected=first + 1) == first + 2
    proxy.cut()
    with pytest.raises(StoreUnavailable, match="nothing was written"):
        put(far, "services/a", b"4")
    assert snapshot_of(store).records[0].value == b"3"
    far.close()
    proxy.close()


def test_a_write_under_way_ends_with_the_store(server: Server, agent: Agent) -> None:
    proxy = BreakableProxy(agent.port)
    store = ConsulStore(replace(server, hosts=(Host(HOST, proxy.port),)), 60.0)
    proxy.hold()
    with ThreadPoolExecutor(1) as pool:
        write = pool.submit(put, store, "services/a", b"")
        eventually(lambda: write.running())
        store.close()
        with pytest.raises(UNANSWERED):
            write.result(5)
    proxy.close()


def test_a_lost_tip_takes_no_revision_twice(
    agent: Agent, server: Server, store: ConsulStore
) -> None:
    first = put(store, "services/a", b"1")
    epoch = store.epoch
    agent.call("DELETE", f"/v1/kv/{Layout(server.prefix).tip}")
    assert put(store, "services/b", b"2") > first
    assert store.epoch != epoch
    assert len(snapshot_of(store).records) == 2


def test_a_store_whose_log_is_gone_is_written_on(
    agent: Agent, server: Server, store: ConsulStore
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    first = put(store, "services/a", b"1")
    recorder.wait_for_revision(first)
    agent.call("DELETE", f"/v1/kv/{Layout(server.prefix).logs}?recurse")
    epoch = store.epoch
    second = put(store, "services/a", b"2", expected=first)
    assert second > first
    assert store.epoch != epoch
    recorder.wait_for_revision(second)
    assert_agrees(recorder, store)


@pytest.mark.parametrize("name", ["state/tip", "state/records/services/a", "state/x"])
def test_what_others_put_there_is_called_out(
    agent: Agent, server: Server, store: ConsulStore, name: str
) -> None:
    agent.call("PUT", f"/v1/kv/{server.prefix}/{name}", b"{}")
    with pytest.raises(StoreCorrupt, match=name):
        store.watch(Recorder())
