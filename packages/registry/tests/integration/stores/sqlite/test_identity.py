"""A store file that is not as a registry left it gets a new epoch."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from integration.stores.sqlite.support import child, wait_until
from modularity_registry.stores.base import put, snapshot_of
from modularity_registry.stores.sqlite.store import SqliteStore

WRITER = """
import sys
from modularity_registry.stores.base import put
from modularity_registry.stores.sqlite.store import SqliteStore
store = SqliteStore(sys.argv[1])
store.watch(lambda event: None)
print(store.epoch, flush=True)
for line in sys.stdin:
    print(put(store, "services/" + line.strip(), b""), flush=True)
"""


class Running:
    """A process that has the file open, until it is killed."""

    def __init__(self, path: Path) -> None:
        self._context = child(WRITER, path)
        self._process = self._context.__enter__()
        self.epoch = self._line()

    def put(self, name: str) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n".encode())
        self._process.stdin.flush()
        return int(self._line())

    def kill(self) -> None:
        self._context.__exit__(None, None, None)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()


@contextmanager
def running(path: Path) -> Iterator[Running]:
    process = Running(path)
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


@pytest.fixture
def epoch(path: Path) -> str:
    """The epoch of a file that was closed with one record."""
    with closing(SqliteStore(path)) as store:
        put(store, "services/a", b"")
        return store.epoch


def epoch_of(path: Path) -> str:
    with closing(SqliteStore(path)) as store:
        return store.epoch


def marked_revision(path: Path) -> int:
    return int(Path(f"{path}.identity").read_text().split()[3])


def test_a_file_that_was_closed_keeps_its_epoch(path: Path, epoch: str) -> None:
    assert [epoch_of(path) for _ in range(3)] == [epoch] * 3


def test_a_killed_process_leaves_a_file_with_its_epoch(path: Path, epoch: str) -> None:
    for name in ("b", "c"):
        with running(path) as process:
            process.put(name)
        assert Path(f"{path}-wal").exists()
    assert epoch_of(path) == epoch


def test_one_of_several_that_is_killed_changes_no_epoch(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        for name in ("b", "c"):
            with running(path) as process:
                process.put(name)
                assert process.epoch == store.epoch
        put(store, "services/d", b"")
        epoch = store.epoch
    assert epoch_of(path) == epoch


def test_a_log_that_was_deleted_is_a_new_epoch(path: Path, epoch: str) -> None:
    with running(path) as process:
        process.put("b")
    Path(f"{path}-wal").unlink()
    assert epoch_of(path) != epoch


def test_a_log_that_was_deleted_after_a_checkpoint_is_a_new_epoch(
    path: Path, epoch: str
) -> None:
    with running(path) as process:
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        process.put("b")
    Path(f"{path}-wal").unlink()
    assert epoch_of(path) != epoch


@pytest.mark.parametrize("how", ["renamed", "copied over"])
def test_a_backup_that_was_restored_is_a_new_epoch(
    path: Path, epoch: str, how: str
) -> None:
    backup = path.with_name("backup.db")
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(backup)) as new:
        old.backup(new)
    with closing(SqliteStore(path)) as store:
        put(store, "services/b", b"")
        assert store.epoch == epoch
    if how == "renamed":
        os.replace(backup, path)
    else:
        shutil.copyfile(backup, path)
    with closing(SqliteStore(path)) as store:
        assert store.epoch != epoch
        assert [record.key for record in snapshot_of(store).records] == ["services/a"]
        epoch = store.epoch
    assert epoch_of(path) == epoch


def test_an_earlier_state_of_the_same_run_is_a_new_epoch(
    path: Path, epoch: str
) -> None:
    with running(path) as process:
        process.put("b")
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", f"{path}.copy{end}")
        last = process.put("c")
        wait_until(lambda: marked_revision(path) == last)
    for end in ("", "-wal"):
        shutil.copyfile(f"{path}.copy{end}", f"{path}{end}")
    Path(f"{path}-shm").unlink()
    with closing(SqliteStore(path)) as store:
        assert store.epoch != epoch
        keys = [record.key for record in snapshot_of(store).records]
        assert keys == ["services/a", "services/b"]


def test_a_copy_is_a_new_epoch_and_the_file_keeps_its_own(
    path: Path, epoch: str
) -> None:
    copy = path.with_name("copy.db")
    for end in ("", ".identity"):
        shutil.copyfile(f"{path}{end}", f"{copy}{end}")
    assert epoch_of(copy) != epoch
    assert epoch_of(path) == epoch


def test_a_file_that_went_on_elsewhere_is_a_new_epoch(path: Path, epoch: str) -> None:
    copy = path.with_name("copy.db")
    shutil.copyfile(path, copy)
    epoch_of(copy)
    shutil.copyfile(copy, path)
    assert epoch_of(path) != epoch


@pytest.mark.parametrize("content", [b"", b"something else\n", None])
def test_a_file_without_a_mark_is_a_new_epoch(
    path: Path, epoch: str, content: bytes | None
) -> None:
    mark = Path(f"{path}.identity")
    mark.unlink()
    if content is not None:
        mark.write_bytes(content)
    epoch = epoch_of(path)
    assert epoch_of(path) == epoch


def test_a_mark_that_is_a_link_is_not_followed(path: Path, epoch: str) -> None:
    target = path.with_name("precious")
    target.write_text("precious")
    mark = Path(f"{path}.identity")
    mark.unlink()
    mark.symlink_to(target)
    assert epoch_of(path) != epoch
    assert target.read_text() == "precious"
