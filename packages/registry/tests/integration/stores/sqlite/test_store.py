"""How an SQLite store commits, and for whom at once."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from integration.stores.sqlite.support import SECONDS, locked, wait_until
from modularity_registry.errors import (
    StoreConflict,
)
from modularity_registry.stores.conformance.contract import snapshot_of
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


def together(
    store: SqliteStore, path: Path, writes: list[Callable[[], object]]
) -> list[Future[object]]:
    """Run ``writes`` so that all but the first wait for the same commit."""
    with ThreadPoolExecutor(len(writes)) as pool:
        with locked(path):
            first = pool.submit(writes[0])
            wait_until(
                lambda: store._writers._has_leader and not store._writers._waiting
            )
            rest = [pool.submit(write) for write in writes[1:]]
            wait_until(lambda: len(store._writers._waiting) == len(rest))
        return [first, *rest]


def test_writers_that_wait_share_one_commit(store: SqliteStore, path: Path) -> None:
    statements: list[str] = []
    store._file.driver.set_trace_callback(statements.append)
    recorder = Recorder()
    store.watch(recorder)
    done = together(
        store,
        path,
        [partial(store.put, f"services/{n}", b"") for n in range(32)],
    )
    assert sorted(int(str(write.result())) for write in done) == list(range(1, 33))
    # The first one tried before it had to wait.
    assert sum(statement.startswith("INSERT") for statement in statements) == 1 + 2
    assert store.commits == 2
    assert [change.revision for change in recorder.changes] == list(range(1, 33))


def test_free_writers_share_commits(store: SqliteStore) -> None:
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda n: store.put(f"services/{n}", b"x" * 400), range(1_600)))
    assert len(snapshot_of(store).records) == 1_600
    assert store.commits < 1_600


def test_a_put_that_returned_is_committed_and_synced(
    store: SqliteStore, path: Path
) -> None:
    revision = store.put("services/a", b"1")
    with closing(sqlite3.connect(path)) as other:
        rows = other.execute("SELECT revision, value FROM record WHERE key <> ''")
        assert rows.fetchall() == [(revision, b"1")]
    [[synchronous]] = store._file.execute("PRAGMA synchronous")
    [[mode]] = store._file.execute("PRAGMA journal_mode")
    assert (synchronous, mode) == (2, b"wal")


def test_a_conflict_fails_only_its_own_writer(store: SqliteStore, path: Path) -> None:
    mine: list[Callable[[], object]] = [lambda: store.put("services/first", b"")]
    mine += [lambda: store.put("services/a", b"", expected=0)] * 5
    mine += [lambda: store.put("services/b", b""), lambda: store.delete("services/x")]
    done = together(store, path, mine)
    failures = [write.exception() for write in done]
    conflicts = [failure for failure in failures if failure is not None]
    assert len(conflicts) == 4
    held = {record.key: record.revision for record in snapshot_of(store).records}
    assert set(held) == {"services/first", "services/a", "services/b"}
    for conflict in conflicts:
        assert isinstance(conflict, StoreConflict)
        assert conflict.actual == held["services/a"]


def test_all_that_happens_to_a_key_in_one_commit_is_told(
    store: SqliteStore, path: Path
) -> None:
    store.put("services/a", b"old")
    recorder = Recorder()
    store.watch(recorder)
    turns: list[Callable[[], object]] = [lambda: store.put("services/b", b"")]
    for n in range(6):
        turns.append(partial(store.put, "services/a", b"%d" % n))
        turns.append(lambda: store.delete("services/a"))
    for write in together(store, path, turns):
        write.result()
    changes = recorder.changes
    assert [change.revision for change in changes] == list(range(2, 2 + len(changes)))
    assert sum(change.value is not None for change in changes) == 7
    held = {r.key: r for r in snapshot_of(store).records}
    assert held == recorder.held()


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("", b"", ValueError),
        ("services/\ud800", b"", ValueError),
        ("services/a", b"12345", ValueError),
        ("services/a", "text", TypeError),
    ],
)
def test_a_bad_write_does_not_poison_a_batch(
    store: SqliteStore,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    value: bytes,
    error: type[Exception],
) -> None:
    monkeypatch.setattr(sqlite, "LARGEST_VALUE", 4)
    with pytest.raises(error):
        store.put(key, value)
    assert store.put("services/a", b"1234") == 1
