"""An SQLite store on a disk that is full: what goes on, and what is said."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from integration.stores.sqlite.support import child
from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import put
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.sqlite.store import SqliteStore

VALUE = b"x" * 3_500

READER = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("BEGIN")
print(file.execute("SELECT count(*) FROM record").fetchone(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 3 MB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        pytest.skip("only root can mount a small file system, and only where it may")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_one_record_replaced_without_end_needs_no_more_room(small_disk: Path) -> None:
    with closing(SqliteStore(small_disk / "registry.db")) as store:
        # Twice what fits, before the -wal begins again by itself.
        for number in range(1_500):
            assert put(store, "services/a", VALUE) == number + 1
        assert [record.value for record in snapshot_of(store).records] == [VALUE]


def test_a_full_disk_is_the_reason_until_there_is_room(small_disk: Path) -> None:
    with closing(SqliteStore(small_disk / "registry.db")) as store:
        last = put(store, "services/a", VALUE)
        rest = small_disk / "rest"
        with rest.open("wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"x" * 4_096)
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="the disk is full; make room"):
                put(store, "services/b", VALUE * 10)
        assert [record.key for record in snapshot_of(store).records] == ["services/a"]
        rest.unlink()
        assert put(store, "services/b", VALUE * 10) == last + 1


def test_room_that_a_reader_holds_is_taken_when_it_is_free(small_disk: Path) -> None:
    path = small_disk / "registry.db"
    with closing(SqliteStore(path)) as store:
        put(store, "services/a", VALUE)
        with child(READER, path) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline()
            with pytest.raises(StoreUnavailable, match="the disk is full; make room"):
                for _ in range(1_500):
                    put(store, "services/a", VALUE)
        for _ in range(1_500):
            put(store, "services/a", VALUE)
