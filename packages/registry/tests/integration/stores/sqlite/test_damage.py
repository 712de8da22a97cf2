"""Damaged files are refused, and what was acknowledged survives a kill."""

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from modularity_registry.errors import StoreCorrupt
from modularity_registry.stores.base import Snapshot, delete, put
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.sqlite.store import SqliteStore

PAGE = 4_096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


def fill(path: Path, mark: bytes) -> Snapshot:
    """Put some 300 records there, in part for a second time; return what is held."""
    with closing(SqliteStore(path)), closing(SqliteStore(path)) as store:
        for number in range(120):
            put(store, f"services/{number:03}", mark * (1 + number % 5) * 100)
        put(store, "services/large", mark * 20_000)
        for number in range(0, 120, 7):
            delete(store, f"services/{number:03}")
        return snapshot_of(store)


def found(path: Path) -> Snapshot | None:
    """Return what the file holds, or None when the store refuses it as damaged."""
    try:
        store = SqliteStore(path)
    except StoreCorrupt:
        return None
    with closing(store):
        return snapshot_of(store)


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_byte_is_never_a_wrong_answer(path: Path, seed: int) -> None:
    true = fill(path, b"a")
    whole = path.read_bytes()
    chance = random.Random(seed)
    refused = 0
    for number in range(60):
        place = chance.randrange(len(whole))
        flip = 1 << chance.randrange(8)
        damaged = bytearray(whole)
        damaged[place] ^= flip
        copy = path.with_name(f"copy-{number}.db")
        copy.write_bytes(damaged)
        held = found(copy)
        where = f"seed {seed}: byte {place} ^ {flip}"
        assert held is None or held == true, where
        refused += held is None
    # What is left are bytes that mean nothing: free space, unused header fields.
    print(f"seed {seed}: {refused} of 60 refused")
    assert refused > 30


@pytest.mark.parametrize("flip", [0x04, 0xFF])
def test_a_damaged_header_is_never_a_wrong_answer(path: Path, flip: int) -> None:
    true = fill(path, b"a")
    whole = path.read_bytes()
    for place in range(100):
        damaged = bytearray(whole)
        damaged[place] ^= flip
        copy = path.with_name(f"copy-{place}.db")
        copy.write_bytes(damaged)
        held = found(copy)
        assert held is None or held == true, f"byte {place} ^ {flip}"


def test_a_page_from_another_time_is_never_a_wrong_answer(path: Path) -> None:
    fill(path, b"a")
    old = path.read_bytes()
    true = fill(path, b"b")
    new = path.read_bytes()
    refused = 0
    for begin in range(0, min(len(old), len(new)), PAGE):
        copy = path.with_name(f"copy-{begin}.db")
        copy.write_bytes(new[:begin] + old[begin : begin + PAGE] + new[begin + PAGE :])
        held = found(copy)
        assert held is None or held == true, f"page {begin // PAGE + 1}"
        refused += held is None
    assert refused > 10


@pytest.mark.parametrize(
    "left", [0, 1, 16, 100, 1_000, PAGE, PAGE + 1, 5 * PAGE, -PAGE]
)
def test_a_truncated_file_is_refused(path: Path, left: int) -> None:
    fill(path, b"a")
    path.write_bytes(path.read_bytes()[:left])
    left = path.stat().st_size
    with pytest.raises(StoreCorrupt) as caught:
        SqliteStore(path)
    assert str(path) in caught.value.detail
    assert "to start empty" in caught.value.detail
    assert path.stat().st_size == left


@pytest.mark.parametrize(
    "content", [b"hello\n", b"# settings\n" * 1_000, b"\0" * 9_999]
)
def test_a_file_of_another_kind_is_refused_and_left(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt, match="not an SQLite database"):
        SqliteStore(path)
    assert path.read_bytes() == content


def alter(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript(sql)


def test_another_programs_database_is_refused_and_left(path: Path) -> None:
    alter(path, "CREATE TABLE record (key, revision, value, crc)")
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="another program's database"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_a_newer_format_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    alter(path, "PRAGMA user_version = 3")
    with pytest.raises(StoreCorrupt, match="format 3, this version supports 1 and 2"):
        SqliteStore(path)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM record WHERE key = 'services/001'",
        "DELETE FROM record WHERE key = ''",
        "DELETE FROM record",
        "DROP TABLE record",
        "UPDATE record SET value = x'00' WHERE key = 'services/001'",
        "UPDATE record SET revision = revision + 1 WHERE key = 'services/001'",
        "UPDATE record SET key = 'services/x' WHERE key = 'services/001'",
        "UPDATE record SET value = 7, crc = NULL WHERE key = ''",
        "INSERT INTO record VALUES ('services/x', 1, x'00', 0)",
        "UPDATE record SET value = x'00' WHERE typeof(key) = 'blob'",
    ],
)
def test_rows_changed_by_hand_are_noticed(path: Path, sql: str) -> None:
    fill(path, b"a")
    try:
        alter(path, sql)
    except sqlite3.IntegrityError:
        alter(path, sql.replace("NULL", "0"))
    assert found(path) is None


def test_an_empty_file_is_refused_and_its_log_is_left(path: Path) -> None:
    path.touch()
    log = Path(f"{path}-wal")
    log.write_bytes(b"x" * 100)
    with pytest.raises(StoreCorrupt, match="it is empty"):
        SqliteStore(path)
    assert log.exists()


def test_a_lost_file_with_its_log_left_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    path.rename(path.with_name("elsewhere.db"))
    log = Path(f"{path}-wal")
    log.write_bytes(b"x" * 100)
    assert found(path) is None
    assert log.exists()
    log.unlink()
    held = found(path)
    assert held is not None
    assert held.records == ()


def test_an_opening_that_was_cut_short_is_begun_again(path: Path) -> None:
    for end in (".new", ".new-wal", ".new-journal"):
        Path(f"{path}{end}").write_bytes(b"half of something")
    assert found(path) is not None
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "registry.db",
        "registry.db.identity",
        "registry.db.lock",
    ]


WRITING_PROGRAM = """
import os, sys
from modularity_registry.stores.base import Write
from modularity_registry.stores.sqlite.store import SqliteStore
store = SqliteStore(sys.argv[1])
number = 0
while True:
    keys = [f"services/{sys.argv[2]}-{writer}-{number}" for writer in range(8)]
    batch = [Write(key, key.encode() * 20) for key in keys]
    if number % 3 == 2:
        batch += [Write(key[:key.rindex("-")] + f"-{number - 1}", None) for key in keys]
    for (key, value, _), revision in zip(batch, store.commit(batch)):
        verb = "gone" if value is None else "put"
        os.write(1, f"{key} {revision} {verb}\\n".encode())
    number += 1
"""


def test_every_acknowledged_write_survives_a_kill(path: Path) -> None:
    acknowledged: dict[str, int] = {}
    gone: set[str] = set()
    highest = 0
    for turn in range(3):
        for key, revision, verb in killed_in_mid_write(path, turn):
            highest = max(highest, revision)
            acknowledged[key] = revision
            if verb == "gone":
                gone.add(key)
        with closing(SqliteStore(path)) as store:
            snapshot = snapshot_of(store)
            held = {record.key: record for record in snapshot.records}
            for key in acknowledged.keys() - gone:
                # A deletion under way when the kill came may have been done.
                if key in held or not may_be_gone(key):
                    assert held[key].revision == acknowledged[key]
                    assert held[key].value == key.encode() * 20
            assert not gone & held.keys()
            assert snapshot.revision >= highest
            assert put(store, "services/after", b"") > highest
            highest = delete(store, "services/after") or 0


def may_be_gone(key: str) -> bool:
    return int(key.rsplit("-", 1)[1]) % 3 == 1


def killed_in_mid_write(path: Path, turn: int) -> list[tuple[str, int, str]]:
    """Return what a child acknowledged until it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING_PROGRAM, str(path), str(turn)],
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(400)]
        assert lines[-1], "the child ended by itself"
        process.kill()
        lines += process.stdout.readlines()
    fields = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return [(key, int(revision), verb) for key, revision, verb in fields]
