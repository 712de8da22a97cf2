"""A Redis server that restarts, or hands over to a replica that has not got all."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from modularity_registry.errors import StoreConflict, StoreUnavailable
from modularity_registry.stores.base import Lost, Snapshot, Store, delete, put
from modularity_registry.stores.conformance.base import assert_growing
from modularity_registry.stores.conformance.breakable_proxy import HOST, BreakableProxy
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.redis.store import RedisStore
from modularity_registry.stores.server_url import Host, Server
from support.registry import eventually
from support.servers.stores.redis import RedisServer, proxy_to, running


class Pair(NamedTuple):
    """Two servers, the one that the store reaches by ``proxy`` and its replica."""

    primary: RedisServer
    replica: RedisServer
    proxy: BreakableProxy
    between: BreakableProxy
    place: Server

    def synced(self) -> bool:
        return self._offset(self.primary) == self._offset(self.replica)

    def lose(self) -> None:
        """From now on the replica gets nothing."""
        eventually(self.synced)
        self.between.hold()

    def fail_over(self) -> None:
        """Kill the primary; the replica becomes it and answers behind the proxy."""
        self.primary.kill()
        self.between.cut()
        self.replica.call("REPLICAOF", "NO", "ONE")
        self.proxy.target = HOST, self.replica.port

    @staticmethod
    def _offset(server: RedisServer) -> object:
        return server.call("INFO", "replication")["master_repl_offset"]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        for name in ("primary", "replica"):
            (tmp_path / name).mkdir()
        primary = stack.enter_context(running(tmp_path / "primary"))
        # Asked to end while it begins a file of its own it would refuse.
        replica = stack.enter_context(running(tmp_path / "replica", appendonly="no"))
        proxy = stack.enter_context(proxy_to(primary))
        between = stack.enter_context(proxy_to(primary))
        replica.call("REPLICAOF", HOST, between.port)
        eventually(lambda: _link(replica) == "up")
        yield Pair(primary, replica, proxy, between, primary.place(proxy.port))


def _link(replica: RedisServer) -> object:
    return replica.call("INFO", "replication").get("master_link_status")


def test_a_failover_that_lost_writes_yields_a_fresh_snapshot(pair: Pair) -> None:
    with closing(RedisStore(pair.place, timeout=2.0)) as store:
        recorder = Recorder()
        store.watch(recorder)
        kept = put(store, "services/kept", b"1")
        pair.lose()
        lost = [put(store, f"services/lost-{number}", b"") for number in range(10)]
        recorder.wait_for_revision(lost[-1])
        epoch = store.epoch
        pair.fail_over()
        recorder.wait(lambda: _snapshots(recorder) == 2, "a fresh snapshot")
        assert list(recorder.held()) == ["services/kept"]
        assert store.epoch == epoch
        after = recorder.revision
        assert after > lost[-1]
        eventually(lambda: _answers(store))
        last = put(store, "services/kept", b"2", expected=kept)
        recorder.wait_for_revision(last)
        assert_growing([kept, *lost, after, last])
        with pytest.raises(StoreConflict):
            put(store, "services/lost-0", b"", expected=lost[0])


def test_a_failover_that_lost_writes_never_repeats_a_writers_revision(
    pair: Pair,
) -> None:
    # Nobody watches: what the writer saw is what it was told itself.
    with closing(RedisStore(pair.place, timeout=2.0)) as store:
        first = put(store, "services/kept", b"")
        pair.lose()
        lost = [put(store, f"services/{number}", b"") for number in range(10)]
        pair.fail_over()
        eventually(lambda: _answers(store))
        assert_growing([first, *lost, put(store, "services/0", b"", expected=0)])


def test_a_revision_taken_back_and_made_up_for_reaches_every_watcher(
    pair: Pair,
) -> None:
    direct = replace(pair.place, hosts=(Host(HOST, pair.replica.port),))
    with closing(RedisStore(pair.place, timeout=2.0)) as store:
        put(store, "services/kept", b"")
        pair.lose()
        lost = [put(store, f"services/lost-{number}", b"") for number in range(10)]
        pair.fail_over()
        with closing(RedisStore(direct)) as newcomer:
            recorder = Recorder()
            newcomer.watch(recorder)
            early = put(newcomer, "services/early", b"")
            assert early < lost[-1]
            eventually(lambda: _answers(store))
            last = put(store, "services/late", b"")
            recorder.wait_for_revision(last)
            assert last > lost[-1]
            assert _snapshots(recorder) == 2, "the break must be noticed"
            assert list(recorder.held()) == [
                "services/kept",
                "services/early",
                "services/late",
            ]
            assert not any(isinstance(event, Lost) for event in recorder.events)


def test_a_failover_that_lost_nothing_goes_on(pair: Pair) -> None:
    with closing(RedisStore(pair.place, timeout=2.0)) as store:
        recorder = Recorder()
        store.watch(recorder)
        revision = put(store, "services/a", b"1")
        eventually(pair.synced)
        pair.fail_over()
        recorder.wait(lambda: _snapshots(recorder) == 2, "a fresh snapshot")
        eventually(lambda: _answers(store))
        last = put(store, "services/a", b"2", expected=revision)
        assert last == revision + 1
        recorder.wait_for_revision(last)


def test_a_demoted_primary_refuses_writes_and_is_left(pair: Pair) -> None:
    with closing(RedisStore(pair.place, timeout=2.0)) as store:
        recorder = Recorder()
        store.watch(recorder)
        revision = put(store, "services/a", b"1")
        eventually(pair.synced)
        pair.replica.call("REPLICAOF", "NO", "ONE")
        pair.primary.call("REPLICAOF", HOST, pair.replica.port)
        with pytest.raises(StoreUnavailable, match="replica"):
            put(store, "services/a", b"2")
        recorder.wait(lambda: _lost(recorder) == 1, "the news of the demotion")
        pair.proxy.target = HOST, pair.replica.port
        recorder.wait(lambda: _snapshots(recorder) == 2, "a fresh snapshot")
        recorder.wait_for_revision(put(store, "services/a", b"2", expected=revision))


def test_a_replica_is_not_opened(pair: Pair) -> None:
    RedisStore(pair.place).close()
    eventually(pair.synced)
    direct = replace(pair.place, hosts=(Host(HOST, pair.replica.port),))
    with pytest.raises(StoreUnavailable, match="is a replica"):
        RedisStore(direct)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_restart_keeps_all(tmp_path: Path, end: str) -> None:
    with (
        running(tmp_path, "--appendfsync", "always") as server,
        closing(RedisStore(server.place())) as store,
    ):
        recorder = Recorder()
        store.watch(recorder)
        for number in range(50):
            last = put(store, f"services/{number % 20}", b"%d" % number)
        delete(store, "services/3")
        before, epoch = snapshot_of(store), store.epoch
        getattr(server, end)()
        server.start()
        recorder.wait(lambda: _snapshots(recorder) == 2, "a fresh snapshot")
        assert snapshot_of(store) == before
        assert store.epoch == epoch
        recorder.wait_for_revision(put(store, "services/19", b"", expected=last - 10))


def test_a_restart_that_keeps_nothing_is_a_new_epoch(tmp_path: Path) -> None:
    with (
        running(tmp_path, appendonly="no") as server,
        closing(RedisStore(server.place())) as store,
    ):
        recorder = Recorder()
        store.watch(recorder)
        recorder.wait_for_revision(put(store, "services/a", b""))
        epoch = store.epoch
        server.kill()
        server.start()
        recorder.wait(lambda: _snapshots(recorder) == 2, "a fresh snapshot")
        assert recorder.held() == {}
        assert store.epoch != epoch
        assert put(store, "services/a", b"", expected=0)


def _snapshots(recorder: Recorder) -> int:
    return sum(isinstance(event, Snapshot) for event in recorder.events)


def _lost(recorder: Recorder) -> int:
    return sum(isinstance(event, Lost) for event in recorder.events)


def _answers(store: Store) -> bool:
    try:
        store.ping()
    except StoreUnavailable:
        return False
    return True
