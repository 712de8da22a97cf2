"""What PostgreSQL holds: how it comes to be, and what an operator finds in it."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import msgspec
import pytest

from modularity_registry.catalog import documents as records
from modularity_registry.errors import StoreUnavailable
from modularity_registry.model.service import Drain, Fault, Registration, Service
from modularity_registry.stores.base import Change, Record, Snapshot, Store, put
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.postgresql import layout
from modularity_registry.stores.postgresql.store import PostgresStore
from support.servers.stores.postgres import Postgres, running

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

_prefixes = (f"schema-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running() as postgres:
        yield postgres


@pytest.fixture
def prefix() -> str:
    return next(_prefixes)


@pytest.fixture
def store(postgres: Postgres, prefix: str) -> Iterator[Store]:
    store = PostgresStore(postgres.server(prefix))
    yield store
    store.close()


def service(service_id: str, *capabilities: str) -> Service:
    location = f"http://{service_id}:80"
    registration = Registration(service_id, "Hello", capabilities, location, "http")
    return Service(registration, AT, AT)


def put_services(store: Store, *services: Service) -> None:
    for each in services:
        key = records.key_of(each.registration.id)
        put(store, key, records.encode(each))


def open_at_once(postgres: Postgres, prefix: str, count: int) -> list[str]:
    """Open ``count`` stores in one moment and return the epoch that each found."""
    barrier = Barrier(count)

    def open_one(_: int) -> str:
        barrier.wait(20)
        store = PostgresStore(postgres.server(prefix))
        store.close()
        return store.epoch

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(open_one, range(count)))


def test_all_who_open_at_once_find_one_store(postgres: Postgres) -> None:
    for _ in range(5):
        assert len(set(open_at_once(postgres, next(_prefixes), 4))) == 1


def test_a_new_version_migrates_once_and_keeps_the_records(
    postgres: Postgres, prefix: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = put(store, "services/a", b"1")
    # Done twice it would fail: the column would be there already.
    added = "ALTER TABLE {schema}.record ADD COLUMN note text DEFAULT 'new'"
    migrations = (*layout.MIGRATIONS, added)
    monkeypatch.setattr(layout, "MIGRATIONS", migrations)
    assert set(open_at_once(postgres, prefix, 4)) == {store.epoch}
    assert postgres.sql(f'SELECT key, note FROM "{prefix}".record') == [
        ("services/a", "new")
    ]
    assert postgres.sql(f'SELECT number FROM "{prefix}".schema_version') == [(2,)]
    assert snapshot_of(store).records == (Record("services/a", b"1", revision),)


def test_a_migration_that_fails_leaves_nothing_behind(
    postgres: Postgres, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations = layout.MIGRATIONS
    failing = (*migrations, "SELECT * FROM {schema}.nowhere")
    monkeypatch.setattr(layout, "MIGRATIONS", failing)
    with pytest.raises(StoreUnavailable, match="nowhere"):
        PostgresStore(postgres.server(prefix))
    monkeypatch.setattr(layout, "MIGRATIONS", migrations)
    store = PostgresStore(postgres.server(prefix))
    assert snapshot_of(store) == Snapshot((), 0)
    store.close()


def test_a_schema_of_a_newer_registry_is_left_alone(
    postgres: Postgres, prefix: str, store: Store
) -> None:
    postgres.sql(f'UPDATE "{prefix}".schema_version SET number = 99')
    with pytest.raises(StoreUnavailable, match=r"version 99.*run the newer registry"):
        PostgresStore(postgres.server(prefix))


def test_a_schema_without_its_ledger_row_is_refused(
    postgres: Postgres, prefix: str, store: Store
) -> None:
    postgres.sql(f'DELETE FROM "{prefix}".ledger')
    with pytest.raises(StoreUnavailable, match="changed by hand"):
        PostgresStore(postgres.server(prefix))
    with pytest.raises(StoreUnavailable, match="nothing was written"):
        put(store, "services/a", b"")


@pytest.mark.parametrize("prefix", ["pg_toast", "information_schema", "A.b-c_D"])
def test_any_prefix_can_be_had(postgres: Postgres, prefix: str) -> None:
    store = PostgresStore(postgres.server(prefix))
    recorder = Recorder()
    store.watch(recorder)
    revision = put(store, "services/a", b"1")
    recorder.wait_for_revision(revision)
    store.close()


def test_the_catalog_can_be_read_as_a_table(
    postgres: Postgres, prefix: str, store: Store
) -> None:
    fault = Fault("check", "it is down", AT)
    drain = Drain("moved", AT)
    put_services(
        store,
        service("fine", "greet", "wave"),
        msgspec.structs.replace(service("down", "greet"), faults=(fault,)),
        msgspec.structs.replace(service("leaving"), drain=drain, faults=(fault,)),
        msgspec.structs.replace(service("slow"), warnings=(fault,)),
    )
    put(store, "replicas/one", b'{"count": 1}')
    rows = postgres.sql(
        "SELECT id, name, version, capabilities, location, mode, status, metadata,"
        f' registered_at FROM "{prefix}".services ORDER BY revision'
    )
    rest: tuple[object, ...] = ("http", "healthy", {}, AT)
    first = ("fine", "Hello", "1.0.0", ["greet", "wave"], "http://fine:80")
    assert rows[0] == (*first, *rest)
    assert [(row[0], row[6]) for row in rows] == [
        ("fine", "healthy"),
        ("down", "unhealthy"),
        ("leaving", "draining"),
        ("slow", "warning"),
    ]
    why = f"SELECT faults -> 0 ->> 'reason', drain ->> 'reason' FROM \"{prefix}\""
    assert postgres.sql(f"{why}.services WHERE id = 'leaving'") == [
        ("it is down", "moved")
    ]


def test_the_columns_of_later_versions(
    postgres: Postgres, prefix: str, store: Store
) -> None:
    plain = service("plain")
    registration = msgspec.structs.replace(
        plain.registration, id="full", zone="eu-1a", region="eu-1", priority=10
    )
    full = msgspec.structs.replace(plain, registration=registration, verified=AT)
    put_services(store, plain, full)
    rows = postgres.sql(
        "SELECT zone, region, priority, verified, warnings"
        f' FROM "{prefix}".services ORDER BY revision'
    )
    assert rows == [(None, None, 0, None, []), ("eu-1a", "eu-1", 10, AT, [])]
    put(store, "splits/greet/formal", b'{"capability":"","groups":{"v1":9}}')
    splits = postgres.sql(f'SELECT capability, groups FROM "{prefix}".splits')
    assert splits == [("greet/formal", {"v1": 9})]


def test_the_views_of_an_older_registry_are_completed(
    postgres: Postgres, prefix: str, store: Store
) -> None:
    postgres.sql(
        f'DROP VIEW "{prefix}".splits; DROP VIEW "{prefix}".services;'
        f' CREATE VIEW "{prefix}".services AS SELECT substr(key, 10) AS id'
        f' FROM "{prefix}".record'
    )
    PostgresStore(postgres.server(prefix)).close()
    assert postgres.sql(f'SELECT priority FROM "{prefix}".services') == []


def test_capabilities_are_found_by_an_index(
    postgres: Postgres, prefix: str, store: Store
) -> None:
    put_services(store, service("a", "greet", "wave"))
    one = '\'{"registration": {"capabilities": ["wave", "c\' || n || \'"]}}\''
    postgres.sql(
        f"SELECT \"{prefix}\".write(array_agg('services/' || n),"
        f" array_agg(convert_to({one}, 'UTF8')), array_agg(NULL::bigint))"
        f' FROM generate_series(1, 3000) n; ANALYZE "{prefix}".record'
    )
    by_key = f'SELECT substr(key, 10) FROM "{prefix}".record WHERE'
    by_view = f'SELECT id FROM "{prefix}".services WHERE'
    for query in (
        f"{by_key} document -> 'registration' -> 'capabilities' ? 'greet'",
        f"{by_view} capabilities ? 'greet'",
        f"{by_view} capabilities ?& ARRAY['greet', 'wave']",
    ):
        assert postgres.sql(query) == [("a",)]
        assert "record_capabilities" in str(postgres.sql(f"EXPLAIN {query}"))


@pytest.mark.parametrize(
    "value",
    [
        rb'{"a": "\u0000"}',
        rb'{"a": "\ud800"}',
        b'{"a": 1e999999}',
        b'{"a": "\xff"}',
        b'{"a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b"{",
        b'["no", "object"]',
        b"",
    ],
    ids=["nul", "half", "number", "not text", "deep", "cut", "array", "empty"],
)
def test_what_is_no_document_is_kept_all_the_same(
    postgres: Postgres, prefix: str, store: Store, value: bytes
) -> None:
    put(store, "services/a", value)
    put(store, "services/b", b'{"fine": true}')
    assert [record.value for record in snapshot_of(store).records] == [
        value,
        b'{"fine": true}',
    ]
    documents = postgres.sql(f'SELECT document FROM "{prefix}".record ORDER BY key')
    assert documents == [(None,), ({"fine": True},)]
    assert postgres.sql(f'SELECT count(*) FROM "{prefix}".services') == [(1,)]


def test_the_log_keeps_the_newest_ten_thousand(
    postgres: Postgres, prefix: str, store: Store
) -> None:
    def write(count: int) -> None:
        postgres.sql(
            f"SELECT \"{prefix}\".write(array_agg('services/' || n),"
            " array_agg('1'::bytea), array_agg(NULL::bigint))"
            f" FROM generate_series(1, {count}) n"
        )

    def log() -> tuple[object, ...]:
        return postgres.sql(
            f'SELECT l.floor, min(c.revision), count(*) FROM "{prefix}".ledger l,'
            f' "{prefix}".change c GROUP BY l.floor'
        )[0]

    recorder = Recorder()
    store.watch(recorder)
    write(10_999)
    assert log() == (999, 1_000, 10_000)
    write(500)
    assert log() == (1_499, 1_500, 10_000)
    write(400)
    assert log() == (1_499, 1_500, 10_400), "trimmed at every write, which is dear"
    last = put(store, "services/last", b"")
    recorder.wait_for_revision(last)
    assert recorder.held() == {r.key: r for r in snapshot_of(store).records}


def test_a_lost_notification_is_made_up_for(
    postgres: Postgres, prefix: str, store: Store
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    postgres.sql(
        f'UPDATE "{prefix}".ledger SET revision = 1;'
        f"INSERT INTO \"{prefix}\".change VALUES (1, 'services/a', 'quiet')"
    )
    recorder.wait_for_revision(1)
    assert recorder.changes == [Change("services/a", b"quiet", 1)]


def test_a_false_notification_does_no_harm(
    postgres: Postgres, prefix: str, store: Store
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    for payload in ("999999999", "no number", ""):
        postgres.sql(f"NOTIFY \"{prefix}.change\", '{payload}'")
    revision = put(store, "services/a", b"1")
    recorder.wait_for_revision(revision)
    assert recorder.changes == [Change("services/a", b"1", revision)]


def test_a_database_set_back_yields_a_fresh_snapshot(
    postgres: Postgres, prefix: str, store: Store
) -> None:
    first = put(store, "services/a", b"1")
    put(store, "services/b", b"2")
    recorder = Recorder()
    store.watch(recorder)
    postgres.sql(
        f'DELETE FROM "{prefix}".record WHERE revision > {first};'
        f' DELETE FROM "{prefix}".change WHERE revision > {first};'
        f' UPDATE "{prefix}".ledger SET revision = {first}'
    )
    recorder.wait(lambda: len(recorder.events) > 1, "a fresh snapshot")
    expected = Snapshot((Record("services/a", b"1", first),), first)
    assert recorder.events[1:] == [expected]


def test_services_of_a_namespace_are_beside_the_view(
    postgres: Postgres, prefix: str, store: Store
) -> None:
    put_services(store, service("web", "greet"))
    there = records.encode(service("web", "other"))
    put(store, "ns/team-a/services/web", there)
    put(store, "ns/team-a/tokens/ci", b"{}")
    rows = postgres.sql(f'SELECT id, capabilities FROM "{prefix}".services')
    assert rows == [("web", ["greet"])]
    # As docs/stores.md has it.
    rows = postgres.sql(
        "SELECT split_part(key, '/', 2), split_part(key, '/', 4),"
        " document -> 'registration' -> 'capabilities'"
        f""" FROM "{prefix}".record WHERE key LIKE 'ns/%/services/%'"""
    )
    assert rows == [("team-a", "web", ["other"])]
