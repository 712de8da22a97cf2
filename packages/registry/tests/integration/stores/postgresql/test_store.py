"""The store contract on PostgreSQL, and what is special about it."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from modularity_registry.stores.conformance.breakable_proxy import BreakableProxy
from modularity_registry.stores.conformance.contract import (
    OpenStore,
    RemoteStoreContract,
)
from modularity_registry.stores.postgresql.store import PostgresStore
from support.servers.stores.postgres import Postgres, running

TIMEOUT = 1.5  # seconds; everything happens on this machine

_prefixes = (f"store-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running() as postgres:
        yield postgres


@pytest.fixture
def prefix() -> str:
    return next(_prefixes)


class TestPostgresStore(RemoteStoreContract):
    @pytest.fixture
    def open_new(self, postgres: Postgres) -> OpenStore:
        return lambda: PostgresStore(postgres.server(next(_prefixes)), TIMEOUT)

    @pytest.fixture
    def open_same(self, postgres: Postgres, prefix: str) -> OpenStore:
        return lambda: PostgresStore(postgres.server(prefix), TIMEOUT)

    @pytest.fixture
    def proxy(self, postgres: Postgres) -> Iterator[BreakableProxy]:
        proxy = BreakableProxy(postgres.port)
        yield proxy
        proxy.close()

    @pytest.fixture
    def open_through_proxy(
        self, postgres: Postgres, prefix: str, proxy: BreakableProxy
    ) -> OpenStore:
        return lambda: PostgresStore(postgres.server(prefix, proxy.port), TIMEOUT)

    @pytest.fixture
    def forget(self, postgres: Postgres, prefix: str) -> Callable[[], None]:
        def forget() -> None:
            postgres.sql(
                f'UPDATE "{prefix}".ledger SET floor = revision;'
                f' DELETE FROM "{prefix}".change'
            )

        return forget

    @pytest.fixture
    def wipe(self, postgres: Postgres, prefix: str) -> Callable[[], None]:
        return lambda: drop(postgres, prefix)


def drop(postgres: Postgres, prefix: str) -> None:
    postgres.sql(f'DROP SCHEMA "{prefix}" CASCADE')
