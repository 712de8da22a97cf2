"""Who can use a PostgreSQL store, with TLS or not, and the errors when not."""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from modularity_registry.errors import StoreCorrupt, StoreError, StoreUnavailable
from modularity_registry.stores import open_store
from modularity_registry.stores.base import Lost, Record, Store, delete, put
from modularity_registry.stores.conformance.base import assert_prompt
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.postgresql.layout import Schema
from modularity_registry.stores.postgresql.store import PostgresStore
from modularity_registry.stores.server_url import Host, Tls
from support.servers.certificates import Authority
from support.servers.stores.postgres import DATABASE, PASSWORD, Postgres, running
from support.servers.stores.postgres_tls import tls_front
from support.serving import HOST, free_port

_prefixes = (f"access-{number}" for number in itertools.count())


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


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(postgres: Postgres, authority: Authority) -> Iterator[int]:
    """Return a port of the server where everything is over TLS."""
    with tls_front(postgres.port, authority) as port:
        yield port


def use(store: Store) -> None:
    """Write, read and close it."""
    revision = put(store, "services/a", b"1")
    assert snapshot_of(store).records == (Record("services/a", b"1", revision),)
    store.close()


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        assert_prompt(call, 10)
    assert PASSWORD not in caught.value.detail
    assert "\n" not in caught.value.detail
    return caught.value.detail


def test_a_url_opens_it(postgres: Postgres) -> None:
    quoted = "let%20me%20in%2F%40%3A%25"
    store = open_store(
        f"postgresql://registry:{quoted}@{HOST}:{postgres.port}/{DATABASE}"
        "?prefix=by-url"
    )
    assert isinstance(store, PostgresStore)
    use(store)
    assert postgres.sql('SELECT key FROM "by-url".record') == [("services/a",)]


@pytest.mark.parametrize(("user", "password"), [("registry", "x"), ("nobody", "x")])
def test_wrong_credentials_are_said(
    postgres: Postgres, user: str, password: str
) -> None:
    server = replace(postgres.server(), user=user, password=password)
    assert "refuses the credentials" in refusal(lambda: PostgresStore(server))


def test_a_missing_password_is_said(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", os.devnull)
    server = replace(postgres.server(), password="")
    assert "refuses the credentials" in refusal(lambda: PostgresStore(server))


def test_a_missing_database_is_said(postgres: Postgres) -> None:
    server = replace(postgres.server(), database="nowhere")
    assert '"nowhere" does not exist' in refusal(lambda: PostgresStore(server))


def test_a_missing_server_is_reported(postgres: Postgres) -> None:
    port = free_port()
    detail = refusal(lambda: PostgresStore(postgres.server(port=port)))
    assert detail.startswith(f"PostgreSQL at {HOST}:{port} can't be used: ")
    assert "Connection refused" in detail


def test_the_first_host_that_works_is_used(postgres: Postgres, prefix: str) -> None:
    server = postgres.server(prefix)
    use(PostgresStore(replace(server, hosts=(Host(HOST, free_port()), *server.hosts))))


def test_other_prefixes_are_other_stores(postgres: Postgres) -> None:
    names = ["one", "One", "one.b", "one-b", "o"]
    stores = [PostgresStore(postgres.server(name)) for name in names]
    recorders = [Recorder() for _ in stores]
    for store, recorder in zip(stores, recorders, strict=True):
        store.watch(recorder)
    for name, store in zip(names, stores, strict=True):
        put(store, "services/a", name.encode(), expected=0)
    for name, recorder in zip(names, recorders, strict=True):
        recorder.wait_for_revision(1)
        assert [change.value for change in recorder.changes] == [name.encode()]
    postgres.sql('DROP SCHEMA "one" CASCADE')
    assert [len(snapshot_of(store).records) for store in stores] == [0, 1, 1, 1, 1]
    for store in stores:
        store.close()


@pytest.mark.parametrize("key", ["", "a\0b", "\ud800"])
def test_a_key_that_would_spoil_a_batch_is_a_mistake(store: Store, key: str) -> None:
    with pytest.raises(ValueError):
        put(store, key, b"")
    with pytest.raises(ValueError):
        delete(store, key)
    store.ping()


def test_a_role_needs_its_schema_only(postgres: Postgres, prefix: str) -> None:
    postgres.sql(
        f"CREATE ROLE plain LOGIN PASSWORD '{PASSWORD}';"
        f" REVOKE CREATE ON DATABASE {DATABASE} FROM PUBLIC"
    )
    server = replace(postgres.server(prefix), user="plain")
    assert "privilege" in refusal(lambda: PostgresStore(server))
    postgres.sql(f'CREATE SCHEMA "{prefix}" AUTHORIZATION plain')
    use(PostgresStore(server))


def test_tls_is_checked_against_the_authority(
    postgres: Postgres, authority: Authority, secure: int, prefix: str
) -> None:
    use(PostgresStore(postgres.server(prefix, secure, Tls(str(authority.ca)))))


def test_tls_without_an_authority_trusts_the_machines_own(
    postgres: Postgres,
    authority: Authority,
    secure: int,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = postgres.server(prefix, secure, Tls())
    assert "certificate" in refusal(lambda: PostgresStore(server))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    use(PostgresStore(server))


def test_tls_refuses_a_strangers_certificate(
    postgres: Postgres, secure: int, prefix: str, tmp_path: Path
) -> None:
    server = postgres.server(prefix, secure, Tls(str(Authority(tmp_path).ca)))
    assert "certificate verify failed" in refusal(lambda: PostgresStore(server))


def test_tls_refuses_a_certificate_for_another_host(
    postgres: Postgres, authority: Authority, prefix: str
) -> None:
    server = postgres.server(prefix, tls=Tls(str(authority.ca)))
    with tls_front(postgres.port, authority, host="127.0.0.2") as port:
        server = replace(server, hosts=(Host("127.0.0.2", port),))
        assert "does not match" in refusal(lambda: PostgresStore(server))


def test_tls_with_a_certificate_of_ones_own(
    postgres: Postgres, authority: Authority, prefix: str
) -> None:
    own = authority.sign("client")
    tls = Tls(str(authority.ca), str(own.cert), str(own.key))
    with tls_front(postgres.port, authority, certified=True) as port:
        server = postgres.server(prefix, port, tls)
        use(PostgresStore(server))
        without = replace(server, tls=Tls(str(authority.ca)))
        assert "SSL" in refusal(lambda: PostgresStore(without))


def test_tls_is_not_given_up_for_a_server_without_it(
    postgres: Postgres, authority: Authority, prefix: str
) -> None:
    server = postgres.server(prefix, tls=Tls(str(authority.ca)))
    assert "SSL" in refusal(lambda: PostgresStore(server))


def calls(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: put(store, "services/a", b"2"),
        lambda: put(store, "services/a", b"2", expected=1),
        lambda: delete(store, "services/a"),
        lambda: delete(store, "services/a", expected=1),
        store.ping,
    ]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("53100", StoreUnavailable),
        ("40001", StoreUnavailable),
        ("25006", StoreUnavailable),
        ("23505", StoreUnavailable),
        ("P0001", StoreUnavailable),
        ("XX000", StoreUnavailable),
        ("XX001", StoreCorrupt),
        ("XX002", StoreCorrupt),
    ],
)
def test_what_the_server_refuses_is_an_error_of_the_store(
    postgres: Postgres, prefix: str, store: Store, code: str, kind: type[StoreError]
) -> None:
    revision = put(store, "services/a", b"1")
    postgres.sql(
        f'CREATE OR REPLACE FUNCTION "{prefix}".write(keys text[], bodies bytea[],'
        " expectations bigint[]) RETURNS bigint[] LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'no, thanks' USING ERRCODE = '{code}'; END $$"
    )
    for call in calls(store):
        with pytest.raises(kind, match="no, thanks") as caught:
            call()
        assert not isinstance(caught.value, psycopg.Error)
        if kind is StoreUnavailable:
            assert caught.value.detail.endswith("nothing was written")
    assert snapshot_of(store).records == (Record("services/a", b"1", revision),)


@pytest.mark.parametrize("table", ["record", "change", "ledger", "schema_version"])
def test_a_table_that_is_missing_is_an_error_of_the_store(
    postgres: Postgres, prefix: str, store: Store, table: str
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    postgres.sql(f'DROP TABLE "{prefix}".{table} CASCADE')
    with pytest.raises(StoreUnavailable):
        store.watch(Recorder())
    if table != "schema_version":  # of no use to writers
        with pytest.raises(StoreUnavailable):
            put(store, "services/a", b"1")
    if table in ("change", "ledger"):
        recorder.wait(
            lambda: any(isinstance(event, Lost) for event in recorder.events),
            "the news that the feed is lost",
        )


def test_a_write_that_waits_too_long_is_undone(postgres: Postgres, prefix: str) -> None:
    store = PostgresStore(postgres.server(prefix), timeout=1.0)
    recorder = Recorder()
    store.watch(recorder)
    with psycopg.connect(
        host=HOST,
        port=postgres.port,
        user="registry",
        password=PASSWORD,
        dbname=DATABASE,
    ) as other:
        other.execute(f'SELECT * FROM "{prefix}".ledger FOR UPDATE'.encode())
        for call in calls(store):
            assert "nothing was written" in refusal(call)
    revision = put(store, "services/b", b"1")
    recorder.wait_for_revision(revision)
    assert revision == 1
    assert [change.key for change in recorder.changes] == ["services/b"]
    store.close()


def test_nothing_is_left_open_when_it_does_not_open(postgres: Postgres) -> None:
    postgres.sql("DROP SCHEMA IF EXISTS clash CASCADE; CREATE SCHEMA clash")
    postgres.sql("CREATE TABLE clash.record (theirs integer)")
    detail = refusal(lambda: PostgresStore(postgres.server("clash")))
    assert "already exists" in detail
    postgres.sql(f'LISTEN "{Schema("clash").channel}"')
    assert postgres.sql(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'modularity-registry' AND state LIKE '%transaction%'"
    ) == [(0,)]
