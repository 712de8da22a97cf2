"""SQLite files that an earlier version made."""

import sqlite3
import subprocess
import sys
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from integration.stores.sqlite.support import SECONDS
from modularity_registry.stores.base import Change, put
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.sqlite.store import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


def as_format_1(path: Path, values: dict[str, bytes]) -> None:
    """Make a file as the version before this one made it."""

    def row(key: str, revision: int, value: bytes) -> tuple[object, ...]:
        start = zlib.crc32(b"%d\0%s\0" % (revision, key.encode()))
        return key, revision, value, zlib.crc32(value, start)

    total = sum(range(1, len(values) + 1))
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute(f"PRAGMA application_id = {0x4D6F6452}")
        file.execute("PRAGMA user_version = 1")
        file.execute(
            "CREATE TABLE record (key TEXT PRIMARY KEY NOT NULL,"
            " revision INTEGER NOT NULL, value BLOB NOT NULL, crc INTEGER NOT NULL)"
        )
        rows = [row("", len(values), f"0123456789ab {len(values)} {total}".encode())]
        rows += [row(key, n, value) for n, (key, value) in enumerate(values.items(), 1)]
        file.executemany("INSERT INTO record VALUES (?, ?, ?, ?)", rows)


def test_a_file_of_the_former_format_is_brought_up(path: Path) -> None:
    values = {f"services/{number}": b"%d" % number for number in range(50)}
    as_format_1(path, values)
    with closing(SqliteStore(path)) as one, closing(SqliteStore(path)) as other:
        assert one.epoch == other.epoch
        records = snapshot_of(one).records
        assert {record.key: record.value for record in records} == values
        assert [record.revision for record in records] == list(range(1, 51))
        recorder = Recorder()
        other.watch(recorder)
        assert put(one, "services/0", b"new", expected=1) == 51
        recorder.wait_for_revision(51)
        assert recorder.changes == [Change("services/0", b"new", 51)]
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (2,)


def test_several_bring_up_one_file_at_once(path: Path) -> None:
    as_format_1(path, {"services/a": b"a"})
    program = (
        "import sys\n"
        "from modularity_registry.stores.base import put\n"
        "from modularity_registry.stores.sqlite.store import SqliteStore\n"
        "store = SqliteStore(sys.argv[1])\n"
        "print(store.epoch, put(store, 'services/' + sys.argv[2], b''))\n"
        "store.close()\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), str(number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    outputs = sorted(
        process.communicate(timeout=SECONDS * 3)[0] for process in processes
    )
    epochs, revisions = zip(*map(str.split, outputs), strict=True)
    assert len(set(epochs)) == 1
    assert sorted(revisions) == ["2", "3", "4"]
