"""How an SQLite store commits, and for whom at once."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from integration.stores.sqlite.support import SECONDS
from modularity_registry.stores.base import Write, put
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.sqlite import store as sqlite
from modularity_registry.stores.sqlite.store import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(path, busy_seconds=SECONDS)) as store:
        yield store


def test_a_batch_is_one_commit(store: SqliteStore) -> None:
    statements: list[str] = []
    store._file.driver.set_trace_callback(statements.append)
    recorder = Recorder()
    store.watch(recorder)
    statements.clear()
    batch = [Write(f"services/{n}", b"") for n in range(32)]
    assert store.commit(batch) == list(range(1, 33))
    assert [statement.split()[0] for statement in statements] == ["INSERT"]
    assert [change.revision for change in recorder.changes] == list(range(1, 33))


def test_a_put_that_returned_is_committed_and_synced(
    store: SqliteStore, path: Path
) -> None:
    revision = put(store, "services/a", b"1")
    with closing(sqlite3.connect(path)) as other:
        rows = other.execute("SELECT revision, value FROM record WHERE key <> ''")
        assert rows.fetchall() == [(revision, b"1")]
    [[synchronous]] = store._file.execute("PRAGMA synchronous")
    [[mode]] = store._file.execute("PRAGMA journal_mode")
    assert (synchronous, mode) == (2, b"wal")


@pytest.mark.parametrize(
    ("key", "value"),
    [("", b""), ("services/\ud800", b""), ("services/b", b"12345")],
)
def test_a_bad_write_writes_nothing(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, key: str, value: bytes
) -> None:
    monkeypatch.setattr(sqlite, "LARGEST_VALUE", 4)
    with pytest.raises(ValueError):
        store.commit([Write("services/a", b"1"), Write(key, value)])
    assert put(store, "services/a", b"1234", expected=0) == 1
