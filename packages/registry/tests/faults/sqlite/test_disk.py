"""The disk that loses what was not synced does lose it, and nothing else."""

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from faults.sqlite import disk

PROGRAM = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("PRAGMA journal_mode = WAL")
file.execute("PRAGMA synchronous = FULL")
file.execute("CREATE TABLE kept (number)")
file.execute(f"PRAGMA synchronous = {sys.argv[2]}")
for number in range(100):
    file.execute("INSERT INTO kept VALUES (?)", (number,))
sys.stdout.write("done")
sys.stdout.flush()
sys.stdin.read()
"""
CUTS = 40


def rows_after_cuts(folder: Path, synchronous: str) -> list[int]:
    """Return how many of 100 rows there are after each of some power cuts."""
    home, log = folder / "disk", folder / "log"
    home.mkdir()
    replay = disk.Disk(home)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, home / "some.db", synchronous],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **disk.environ(disk.build(folder), home, log)},
    )
    assert process.stdout is not None
    assert process.stdout.read(4) == b"done"
    process.kill()
    process.communicate()
    for entry in disk.read_log(log):
        replay.take(entry)
    for name, content in replay.without_cut().items():
        if not name.endswith("-shm"):
            assert (home / name).read_bytes() == content
    found = []
    for seed in range(CUTS):
        disk.put_back(home, replay.after_cut(random.Random(seed)))
        with closing(sqlite3.connect(home / "some.db")) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            numbers = [row for (row,) in file.execute("SELECT number FROM kept")]
        assert numbers == list(range(len(numbers)))
        found.append(len(numbers))
    return found


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_without_syncs_it_loses_what_was_acknowledged(
    tmp_path: Path, synchronous: str
) -> None:
    found = rows_after_cuts(tmp_path, synchronous)
    assert min(found) == 0
    assert max(found) == 100
    assert any(0 < count < 100 for count in found)


def test_what_was_synced_it_keeps(tmp_path: Path) -> None:
    assert set(rows_after_cuts(tmp_path, "FULL")) == {100}
