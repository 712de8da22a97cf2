"""The Redis store on a real server: the contract, and what is special for Redis."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from modularity_registry.errors import OutcomeUnknown, StoreCorrupt, StoreUnavailable
from modularity_registry.stores import open_store
from modularity_registry.stores.base import (
    LARGEST_BATCH,
    Change,
    Lost,
    Record,
    Snapshot,
    Store,
    Write,
    put,
)
from modularity_registry.stores.conformance.base import assert_agrees, assert_prompt
from modularity_registry.stores.conformance.breakable_proxy import HOST, BreakableProxy
from modularity_registry.stores.conformance.contract import (
    OpenStore,
    RemoteStoreContract,
    snapshot_of,
)
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.redis import feed as redis_feed
from modularity_registry.stores.redis.layout import KEPT
from modularity_registry.stores.redis.store import RedisStore
from modularity_registry.stores.server_url import Host, Server
from support.registry import eventually
from support.servers.stores.redis import RedisServer, proxy_to, running


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def place(redis_server: RedisServer) -> Server:
    return redis_server.place()


@pytest.fixture
def store(place: Server) -> Iterator[RedisStore]:
    with closing(RedisStore(place)) as store:
        yield store


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[BreakableProxy]:
    with proxy_to(redis_server) as proxy:
        yield proxy


class TestRedisStore(RemoteStoreContract):
    @pytest.fixture
    def open_new(self, redis_server: RedisServer) -> OpenStore:
        return lambda: RedisStore(redis_server.place())

    @pytest.fixture
    def open_same(self, place: Server) -> OpenStore:
        return lambda: RedisStore(place)

    @pytest.fixture
    def proxy(self, redis_server: RedisServer) -> Iterator[BreakableProxy]:
        with proxy_to(redis_server) as proxy:
            yield proxy

    @pytest.fixture
    def open_through_proxy(self, place: Server, proxy: BreakableProxy) -> OpenStore:
        far = replace(place, hosts=(Host(HOST, proxy.port),))
        return lambda: RedisStore(far, timeout=1.0)

    @pytest.fixture
    def forget(self, redis_server: RedisServer, place: Server) -> Callable[[], None]:
        feed = f"{{{place.prefix}}}:feed"
        return lambda: redis_server.call("XTRIM", feed, "MAXLEN", 0)

    @pytest.fixture
    def wipe(self, redis_server: RedisServer, place: Server) -> Callable[[], None]:
        return lambda: redis_server.wipe(place.prefix)


# What is on the server


def test_everything_is_under_the_prefix(
    redis_server: RedisServer, store: RedisStore, place: Server
) -> None:
    put(store, "services/a", b"1")
    keys = redis_server.call("KEYS", f"*{place.prefix}*")
    assert sorted(keys) == [
        b"{%s}:%s" % (place.prefix.encode(), name)
        for name in (b"feed", b"record", b"state")
    ]


def test_stores_of_two_prefixes_do_not_see_each_other(store: RedisStore) -> None:
    # One prefix begins the other: nothing may leak by that either.
    longer = replace(store._server, prefix=f"{store._server.prefix}.b")
    with closing(RedisStore(longer)) as other:
        recorder = Recorder()
        other.watch(recorder)
        put(store, "services/a", b"1")
        mine = put(other, "services/a", b"2", expected=0)
        recorder.wait_for_revision(mine)
        assert recorder.changes == [Change("services/a", b"2", mine)]
        assert other.epoch != store.epoch
        assert [record.value for record in snapshot_of(store).records] == [b"1"]


def test_a_database_of_its_own_is_a_store_of_its_own(
    store: RedisStore, place: Server
) -> None:
    put(store, "services/a", b"1")
    with closing(RedisStore(replace(place, database="3"))) as other:
        assert snapshot_of(other).records == ()


def test_a_database_that_there_is_not_is_named(place: Server) -> None:
    with pytest.raises(StoreUnavailable, match="no database with this number"):
        RedisStore(replace(place, database="999"))


def test_a_url_opens_it(redis_server: RedisServer, place: Server) -> None:
    url = f"redis://{HOST}:{redis_server.port}/0?prefix={place.prefix}"
    with closing(open_store(url)) as store:
        assert isinstance(store, RedisStore)
        assert store.shared
        put(store, "services/a", b"")


def test_the_feed_keeps_what_it_has_to_and_not_much_more(
    redis_server: RedisServer, store: RedisStore, place: Server
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    batches = KEPT // LARGEST_BATCH + 20
    for _ in range(batches):
        outcomes = store.commit(
            [Write(f"services/{number}", b"") for number in range(LARGEST_BATCH)]
        )
    recorder.wait(lambda: recorder.revision == outcomes[-1], "the last change")
    assert len(recorder.changes) == batches * LARGEST_BATCH
    kept = redis_server.call("XLEN", f"{{{place.prefix}}}:feed")
    assert KEPT <= kept <= KEPT + 200


# What is lost or foreign


def test_flushed_data_is_noticed_by_a_writer(
    redis_server: RedisServer, store: RedisStore, place: Server
) -> None:
    revision = put(store, "services/a", b"1")
    epoch = store.epoch
    redis_server.wipe(place.prefix)
    with pytest.raises(StoreUnavailable, match="wiped; nothing was written"):
        put(store, "services/a", b"2", expected=revision)
    assert store.epoch != epoch
    again = put(store, "services/a", b"3", expected=0)
    assert [r.value for r in snapshot_of(store).records] == [b"3"]
    with closing(RedisStore(place)) as other:
        assert other.epoch == store.epoch
        assert put(other, "services/a", b"4", expected=again) > again


def test_flushed_data_under_a_watch_is_noticed_without_a_write(
    redis_server: RedisServer, store: RedisStore, place: Server
) -> None:
    put(store, "services/a", b"1")
    recorder = Recorder(5.0)
    store.watch(recorder)
    before = store.epoch
    redis_server.wipe(place.prefix)
    recorder.wait(lambda: len(recorder.events) > 1, "a fresh snapshot")
    assert recorder.events[1] == Snapshot((), 0)
    assert store.epoch != before
    recorder.wait(lambda: _put(store, "services/b"), "a write that is taken")
    recorder.wait(lambda: list(recorder.held()) == ["services/b"], "its change")


def test_a_new_epoch_during_a_wait_is_not_taken_for_the_old(
    redis_server: RedisServer,
    store: RedisStore,
    place: Server,
    proxy: BreakableProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_feed, "BLOCK_MILLISECONDS", 4_000)
    first = put(store, "services/a", b"old")
    far = replace(place, hosts=(Host(HOST, proxy.port),))
    with closing(RedisStore(far)) as watching:
        recorder = Recorder()
        watching.watch(recorder)
        eventually(lambda: redis_server.call("INFO", "clients")["blocked_clients"] == 1)
        proxy.hold()
        redis_server.wipe(place.prefix)
        with closing(RedisStore(place)) as other:
            # The new epoch soon has the revision that is next in the old one.
            last = [put(other, f"services/{n}", b"new") for n in range(3)][-1]
            assert last > first + 1
            proxy.mend()
            recorder.wait(lambda: len(recorder.events) > 1, "a fresh snapshot")
            assert recorder.events[1] == snapshot_of(other)
            assert watching.epoch == other.epoch


def test_a_feed_trimmed_to_nothing_is_noticed_without_a_write(
    redis_server: RedisServer, store: RedisStore, place: Server, proxy: BreakableProxy
) -> None:
    far = replace(place, hosts=(Host(HOST, proxy.port),))
    with closing(RedisStore(far)) as watching:
        recorder = Recorder()
        watching.watch(recorder)
        proxy.hold()
        last = [put(store, f"services/{number}", b"") for number in range(5)][-1]
        redis_server.call("XTRIM", f"{{{place.prefix}}}:feed", "MAXLEN", 0)
        proxy.mend()
        recorder.wait_for_revision(last)
        assert_agrees(recorder, store)
        assert not any(isinstance(event, Lost) for event in recorder.events)


def test_records_outlive_an_evicted_state(
    redis_server: RedisServer, store: RedisStore, place: Server
) -> None:
    for number in range(5):
        last = put(store, f"services/{number}", b"")
    epoch = store.epoch
    recorder = Recorder()
    store.watch(recorder)
    redis_server.call("DEL", f"{{{place.prefix}}}:state")
    recorder.wait(lambda: len(recorder.events) > 1, "a fresh snapshot")
    assert len(recorder.held()) == 5
    assert store.epoch != epoch
    assert put(store, "services/5", b"") > last


def test_a_server_that_forgot_the_script_gets_it_again(
    redis_server: RedisServer, store: RedisStore
) -> None:
    first = put(store, "services/a", b"1")
    redis_server.call("SCRIPT", "FLUSH")
    assert put(store, "services/a", b"2", expected=first) == first + 1
    redis_server.call("SCRIPT", "FLUSH")
    batch = [Write(f"services/{number}", b"") for number in range(40)]
    assert store.commit(batch) == list(range(first + 2, first + 42))


def test_a_foreign_record_is_corruption(
    redis_server: RedisServer, store: RedisStore, place: Server
) -> None:
    redis_server.call("HSET", f"{{{place.prefix}}}:record", "services/a", "foreign")
    with pytest.raises(StoreCorrupt, match="not written by a registry"):
        store.watch(Recorder())


def test_a_foreign_entry_of_the_feed_is_corruption(
    redis_server: RedisServer, store: RedisStore, place: Server
) -> None:
    first = put(store, "services/a", b"1")
    recorder = Recorder()
    store.watch(recorder)
    redis_server.call("XADD", f"{{{place.prefix}}}:feed", "*", "key", "services/b")
    recorder.wait(lambda: len(recorder.events) > 1, "the news")
    lost = recorder.events[1]
    assert isinstance(lost, Lost)
    assert "delete that key" in lost.reason
    with pytest.raises(StoreUnavailable, match="delete the key that ends with :feed"):
        put(store, "services/a", b"2")
    redis_server.call("DEL", f"{{{place.prefix}}}:feed")
    last = put(store, "services/a", b"3", expected=first)
    recorder.wait_for_revision(last)
    assert recorder.held() == {"services/a": Record("services/a", b"3", last)}


# Writes in the air, and the end


def test_a_write_without_an_answer_is_unknown_and_not_repeated(
    place: Server, proxy: BreakableProxy
) -> None:
    far = replace(place, hosts=(Host(HOST, proxy.port),))
    with closing(RedisStore(far, timeout=0.5)) as store:
        proxy.hold()
        with pytest.raises(OutcomeUnknown, match="did not answer"):
            put(store, "services/a", b"1")
        proxy.mend()
        recorder = Recorder()
        recorder.wait(lambda: _put(store, "services/b"), "a write that is taken")
    with closing(RedisStore(place)) as near:
        snapshot = snapshot_of(near)
        # The first one may have arrived late, but never twice.
        assert snapshot.revision == len(snapshot.records) <= 2


def test_a_close_ends_a_write_that_waits_for_a_silent_server(
    place: Server, proxy: BreakableProxy
) -> None:
    store = RedisStore(replace(place, hosts=(Host(HOST, proxy.port),)), timeout=60.0)
    recorder = Recorder()
    store.watch(recorder)
    proxy.hold()

    def write() -> None:
        # The second, if the close comes before there is a connection.
        with pytest.raises((OutcomeUnknown, StoreUnavailable)):
            put(store, "services/a", b"1")

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        eventually(lambda: store._pool._requesting.locked())
        assert_prompt(store.close)
        writing.result(5)
    assert not any(isinstance(event, Lost) for event in recorder.events)


def _put(store: Store, key: str) -> bool:
    try:
        put(store, key, b"")
    except StoreUnavailable:
        return False
    return True
