"""What can go wrong with an SQLite store while it runs."""

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from integration.stores.sqlite.support import SECONDS, locked, run, wait_until
from modularity_registry.errors import (
    OutcomeUnknown,
    StoreConflict,
    StoreError,
    StoreUnavailable,
)
from modularity_registry.stores.base import (
    Change,
    Event,
    Lost,
    Record,
    Snapshot,
    Write,
    delete,
    put,
)
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.sqlite import creation, feed
from modularity_registry.stores.sqlite import store as sqlite
from modularity_registry.stores.sqlite.connection import Connection
from modularity_registry.stores.sqlite.store import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(path, busy_seconds=SECONDS)) as store:
        yield store


def test_a_locked_file_fails_the_batch_and_then_works(path: Path) -> None:
    store = SqliteStore(path, busy_seconds=0.2)
    recorder = Recorder()
    store.watch(recorder)
    with locked(path), pytest.raises(StoreUnavailable) as caught:
        store.commit([Write(f"services/{n}", b"") for n in range(8)])
    assert f"{path} is locked by another program" in caught.value.detail
    assert recorder.changes == []
    assert put(store, "services/a", b"") == 1
    assert recorder.changes == [Change("services/a", b"", 1)]
    store.close()


def test_a_locked_file_does_not_open_and_then_does(path: Path) -> None:
    SqliteStore(path).close()
    with locked(path), pytest.raises(StoreUnavailable, match="is locked by"):
        SqliteStore(path, busy_seconds=0.1)
    SqliteStore(path).close()


def test_a_full_disk_changes_nothing_and_passes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(path)
    recorder = Recorder()
    store.watch(recorder)
    before = put(store, "services/a", b"1")
    [[pages]] = store._file.execute("PRAGMA page_count")
    store._file.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="the disk is full; make room"):
            put(store, "services/big", b"x" * 100_000)
    assert [record.key for record in snapshot_of(store).records] == ["services/a"]
    assert put(store, "services/a", b"2") == before + 1
    store._file.execute("PRAGMA max_page_count = 100000")
    last = put(store, "services/big", b"x" * 100_000)
    assert [change.revision for change in recorder.changes] == [1, 2, last]
    store.close()
    with closing(SqliteStore(path)) as again:
        assert snapshot_of(again).revision == last == 3


FILE_SIZE_PROGRAM = """
import resource, sys
from modularity_registry.errors import OutcomeUnknown
from modularity_registry.stores.base import put
from modularity_registry.stores.sqlite.store import SqliteStore
from modularity_registry.stores.conformance.contract import snapshot_of
store = SqliteStore(sys.argv[1])
first = put(store, "services/a", b"1")
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
refused = 0
for _ in range(3):
    try:
        put(store, "services/big", b"x" * 400_000)
    except OutcomeUnknown as error:
        refused += 1
        assert "can't be read or written" in error.detail, error.detail
assert refused == 3
assert [r.key for r in snapshot_of(store).records] == ["services/a"]
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
store.ping()
second = put(store, "services/big", b"x" * 400_000, expected=0)
assert second > first
store.close()
store = SqliteStore(sys.argv[1])
assert [r.revision for r in snapshot_of(store).records] == [first, second]
store.close()
"""


def test_a_write_that_the_system_refuses_changes_nothing_and_passes(path: Path) -> None:
    run(FILE_SIZE_PROGRAM, path)


def test_a_commit_that_landed_with_an_error_is_found_out(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    put(store, "services/a", b"1")
    with failing_execute(monkeypatch, after=True), pytest.raises(OutcomeUnknown):
        put(store, "services/b", b"2")
    assert len(recorder.changes) == 1
    assert put(store, "services/c", b"3") == 3
    announced, change = recorder.events[-2:]
    assert isinstance(announced, Snapshot)
    assert announced.revision == 2
    assert [record.key for record in announced.records] == ["services/a", "services/b"]
    assert change == Change("services/c", b"3", 3)


def test_a_commit_that_failed_in_doubt_is_found_undone(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    put(store, "services/a", b"1")
    with failing_execute(monkeypatch, after=False), pytest.raises(OutcomeUnknown):
        put(store, "services/b", b"2")
    with pytest.raises(StoreConflict):
        put(store, "services/b", b"2", expected=2)
    assert put(store, "services/b", b"2", expected=0) == 2
    assert [change.revision for change in recorder.changes] == [1, 2]
    assert len(recorder.events) == 3


def test_a_delete_that_fails_leaves_no_transaction_open(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "services/a", b"1")
    with failing_execute(monkeypatch, after=False), pytest.raises(OutcomeUnknown):
        delete(store, "services/a")
    with locked(path):
        pass  # nobody else holds it
    assert [record.key for record in snapshot_of(store).records] == ["services/a"]
    assert delete(store, "services/a") == 2


def test_trouble_that_stays_is_told_each_time(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "services/a", b"1")
    with failing_execute(monkeypatch, after=False):
        for call in (lambda: put(store, "services/b", b""), store.ping, store.ping):
            with pytest.raises(StoreError):
                call()
    store.ping()
    assert put(store, "services/b", b"") == 2


def test_a_write_interrupted_after_its_commit_is_told_as_a_snapshot(
    store: SqliteStore,
) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Change):
            raise KeyboardInterrupt

    interrupted = store.watch(interrupt)
    recorder = Recorder()
    store.watch(recorder)
    with pytest.raises(KeyboardInterrupt):
        put(store, "services/a", b"1")
    interrupted.close()
    assert put(store, "services/b", b"2") == 2
    events = recorder.events[1:]
    assert events == [
        Snapshot((Record("services/a", b"1", 1),), 1),
        Change("services/b", b"2", 2),
    ]


def test_a_file_that_is_away_for_long_is_told_and_its_return_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "STAT_SECONDS", -1.0)
    monkeypatch.setattr(feed, "LOST_SECONDS", 0.05)
    with closing(SqliteStore(path)) as store:
        revision = put(store, "services/a", b"1")
        recorder = Recorder()
        store.watch(recorder)
        path.rename(path.with_name("elsewhere.db"))
        recorder.wait(lambda: len(recorder.events) == 2, "word of the loss")
        path.with_name("elsewhere.db").rename(path)
        recorder.wait(lambda: len(recorder.events) == 3, "word of the return")
        snapshot, lost, again = recorder.events
        assert isinstance(lost, Lost)
        assert "was removed or replaced" in lost.reason
        assert again == snapshot
        assert put(store, "services/a", b"2") == revision + 1
        assert recorder.events[3:] == [Change("services/a", b"2", revision + 1)]


def test_a_close_does_not_wait_for_another_program(
    store: SqliteStore, path: Path
) -> None:
    with locked(path), ThreadPoolExecutor(1) as pool:
        writing = pool.submit(put, store, "services/a", b"")
        wait_until(store._turn.locked)
        begun = time.monotonic()
        store.close()
        assert time.monotonic() - begun < SECONDS / 4
        assert isinstance(writing.exception(SECONDS), StoreUnavailable)


@contextmanager
def failing_execute(monkeypatch: pytest.MonkeyPatch, after: bool) -> Iterator[None]:
    """Make every statement end in an I/O error, before or after it is done."""
    execute = Connection.execute

    def fail(self: Connection, sql: str, *rest: Any, **options: Any) -> object:
        if after:
            execute(self, sql, *rest, **options)
        elif sql.startswith("BEGIN"):
            return execute(self, sql)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "execute", fail)
        yield


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_taken_away_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    monkeypatch.setattr(sqlite, "STAT_SECONDS", -1.0)
    store = SqliteStore(path)
    put(store, "services/a", b"1")
    path.rename(path.with_name("elsewhere.db"))
    if replaced:
        creation.create(path.with_name("other.db"))
        path.with_name("other.db").rename(path)
    for call in (lambda: put(store, "services/b", b""), store.ping):
        with pytest.raises(StoreUnavailable, match="was removed or replaced"):
            call()
    path.with_name("elsewhere.db").rename(path)
    store.ping()
    assert put(store, "services/b", b"") == 2
    store.close()
