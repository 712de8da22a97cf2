"""A PostgreSQL server that restarts, crashes, or hands over to its standby."""

import itertools
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from modularity_registry.errors import OutcomeUnknown, StoreConflict, StoreUnavailable
from modularity_registry.stores.base import Lost, Store, Write, put
from modularity_registry.stores.conformance.base import assert_agrees, assert_growing
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.postgresql.errors import ConnectionBroken
from modularity_registry.stores.postgresql.store import PostgresStore
from modularity_registry.stores.server_url import Host, Server
from support.registry import eventually
from support.servers.stores.postgres import Postgres, running
from support.serving import HOST

BATCH = 4

_prefixes = (f"failover-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running() as postgres:
        yield postgres


@pytest.fixture
def server(postgres: Postgres) -> Server:
    return postgres.server(next(_prefixes))


@pytest.fixture
def store(server: Server) -> Iterator[PostgresStore]:
    store = PostgresStore(server, timeout=2.0)
    yield store
    store.close()


class Load:
    """A writer of batches who goes on whatever happens."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._end = threading.Event()
        self.acknowledged: dict[str, int] = {}

    def write(self) -> None:
        for number in itertools.count():
            if self._end.wait(0.002):
                return
            keys = [f"services/{number}-{place}" for place in range(BATCH)]
            with suppress(StoreUnavailable, OutcomeUnknown):
                outcomes = self._store.commit([Write(key, b"", 0) for key in keys])
                for key, revision in zip(keys, outcomes, strict=True):
                    assert isinstance(revision, int)
                    self.acknowledged[key] = revision

    def wait_for_more(self) -> None:
        """Return when 20 more batches are written."""
        count = len(self.acknowledged) + 20 * BATCH
        eventually(lambda: len(self.acknowledged) >= count)

    def end(self) -> None:
        self._end.set()


@contextmanager
def no_acknowledged_write_lost(store: Store, recorder: Recorder) -> Iterator[Load]:
    """Write during the block; then see that everything is there, and was told."""
    load = Load(store)
    store.watch(recorder)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(load.write)
        try:
            load.wait_for_more()
            yield load
            load.wait_for_more()
        finally:
            load.end()
            writing.result(30)
    held = {r.key: r.revision for r in snapshot_of(store).records}
    assert load.acknowledged.items() <= held.items()
    recorder.wait_for_revision(max(held.values()))
    assert_agrees(recorder, store)
    assert_growing([change.revision for change in recorder.changes])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stop", "crash"])
def test_a_restart_under_load_loses_no_acknowledged_write(
    postgres: Postgres, store: Store, how: signal.Signals
) -> None:
    epoch = store.epoch
    recorder = Recorder(30.0)
    with no_acknowledged_write_lost(store, recorder):
        postgres.stop(how)
        recorder.wait(
            lambda: any(isinstance(event, Lost) for event in recorder.events),
            "the news that the server is gone",
        )
        postgres.start()
    assert store.epoch == epoch


def test_a_restart_between_two_writes_fails_neither(
    postgres: Postgres, store: Store
) -> None:
    first = put(store, "services/a", b"1")
    postgres.stop()
    postgres.start()
    assert put(store, "services/a", b"2", expected=first) > first
    ours = "FROM pg_stat_activity WHERE application_name = 'modularity-registry'"
    postgres.sql(f"SELECT pg_terminate_backend(pid) {ours}")
    eventually(lambda: postgres.sql(f"SELECT count(*) {ours}") == [(0,)])
    store.ping()


def test_a_cut_off_write_has_an_unknown_outcome(
    postgres: Postgres, server: Server, store: Store
) -> None:
    # The server ends the connection in the midst of the statement.
    postgres.sql(
        f'CREATE FUNCTION "{server.prefix}".cut() RETURNS trigger LANGUAGE plpgsql AS'
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN new; END $$;"
        f' CREATE TRIGGER cut BEFORE INSERT ON "{server.prefix}".change'
        f' FOR EACH ROW EXECUTE FUNCTION "{server.prefix}".cut()'
    )
    with pytest.raises(OutcomeUnknown, match="may or may not have been made"):
        put(store, "services/a", b"1")
    postgres.sql(f'DROP TRIGGER cut ON "{server.prefix}".change')
    put(store, "services/a", b"1", expected=0)


def test_a_refused_write_is_known_even_if_the_schema_can_not_be_restored(
    postgres: Postgres,
    server: Server,
    store: PostgresStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def break_off(_: object) -> str:
        raise ConnectionBroken("no answer came in time")

    postgres.sql(f'DROP SCHEMA "{server.prefix}" CASCADE')
    monkeypatch.setattr(store._schema, "prepare", break_off)
    with pytest.raises(StoreUnavailable, match="nothing was written") as caught:
        put(store, "services/a", b"1")
    assert not isinstance(caught.value, ConnectionBroken)
    monkeypatch.undo()
    store.watch(Recorder()).close()
    put(store, "services/a", b"1", expected=0)


def test_a_batch_is_one_transaction(
    postgres: Postgres, server: Server, store: Store
) -> None:
    taken = put(store, "services/taken", b"")
    batch = [Write(f"services/{number}", b"") for number in range(30)]
    batch[10:10] = [
        Write("services/taken", b"", 0),
        Write("services/none", None),
        Write("services/none-either", b"", 7),
    ]
    outcomes = list(store.commit(batch))
    conflicts = [outcomes.pop(10), outcomes.pop(11)]
    assert [(c.key, c.actual) for c in conflicts if isinstance(c, StoreConflict)] == [
        ("services/taken", taken),
        ("services/none-either", 0),
    ]
    assert outcomes.pop(10) is None
    assert outcomes == list(range(taken + 1, taken + 31))
    transactions = postgres.sql(
        f'SELECT count(DISTINCT xmin::text) FROM "{server.prefix}".change'
    )
    assert transactions == [(2,)]


@pytest.fixture
def standby(postgres: Postgres) -> Iterator[Postgres]:
    standby = Postgres(postgres)
    try:
        standby.start()
        eventually(lambda: followed_by_one(postgres))
        yield standby
    finally:
        standby.close()


def followed_by_one(primary: Postgres) -> bool:
    query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    return primary.sql(query) == [(1,)]


def test_a_standby_takes_over_without_losing_a_write(
    postgres: Postgres, standby: Postgres, server: Server
) -> None:
    # Only then has a write reached both when it is acknowledged.
    postgres.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    postgres.sql("SELECT pg_reload_conf()")
    hosts = Host(HOST, standby.port), Host(HOST, postgres.port)
    store = PostgresStore(replace(server, hosts=hosts), timeout=2.0)
    epoch = store.epoch
    try:
        with no_acknowledged_write_lost(store, Recorder(30.0)):
            postgres.stop(signal.SIGQUIT)
            standby.sql("SELECT pg_promote()")
        assert store.epoch == epoch
    finally:
        store.close()
        postgres.start()
