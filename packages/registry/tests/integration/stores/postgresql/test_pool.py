"""A PostgreSQL store behind PgBouncer."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import put
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.postgresql.errors import translated
from modularity_registry.stores.postgresql.store import PostgresStore
from modularity_registry.stores.server_url import Host
from support.servers.stores.pgbouncer import pooled
from support.servers.stores.postgres import DATABASE, USER, Postgres, running
from support.serving import HOST

ADVICE = "use a pool in session mode, or a direct line"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running() as postgres:
        yield postgres


def behind(postgres: Postgres, port: int, prefix: str) -> PostgresStore:
    server = replace(postgres.server(prefix), hosts=(Host(HOST, port),))
    return PostgresStore(server)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("busy", [False, True])
def test_a_pool_without_sessions_is_refused_at_once(
    postgres: Postgres, mode: str, busy: bool
) -> None:
    settings: dict[str, Any] = {"server_round_robin": 1} if busy else {}
    with pooled(postgres, mode, **settings) as port:
        # Each is in a transaction at once, so that the pool has several sessions.
        others = [
            psycopg.connect(
                host=HOST,
                port=port,
                dbname=DATABASE,
                user=USER,
                autocommit=mode == "statement",
            )
            for _ in range(3)
        ]
        for other in others:
            other.execute("SELECT 1")
        for other in others:
            other.rollback()
        with pytest.raises(StoreUnavailable) as caught:
            behind(postgres, port, "refused")
        assert ADVICE in caught.value.detail
        assert str(port) in caught.value.detail
        for other in others:
            other.close()


def test_a_pool_in_session_mode_works(postgres: Postgres) -> None:
    with (
        pooled(postgres, "session") as port,
        closing(behind(postgres, port, "session")) as store,
    ):
        recorder = Recorder()
        store.watch(recorder)
        recorder.wait_for_revision(put(store, "services/a", b"1"))
        assert [record.value for record in snapshot_of(store).records] == [b"1"]


@pytest.mark.parametrize(
    "kind",
    [
        psycopg.errors.DuplicatePreparedStatement,
        psycopg.errors.InvalidSqlStatementName,
    ],
)
def test_a_pool_that_was_not_noticed_is_told_by_its_errors(
    kind: type[psycopg.Error],
) -> None:
    error = translated(kind('prepared statement "_pg3_0" already exists'), False)
    assert ADVICE in error.detail
