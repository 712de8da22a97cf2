"""Several processes write one audit, and some of their writes fail."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from modularity_registry.audit import AuditFile
from support import PROGRAMS
from support.access.audit import acts

WRITER = PROGRAMS / "audit.py"


def start(path: Path, who: str, count: int, **more: Any) -> "subprocess.Popen[str]":
    wish = {"path": str(path), "who": who, "count": count, **more}
    return subprocess.Popen(
        [sys.executable, str(WRITER), json.dumps(wish)],
        stdout=subprocess.PIPE,
        text=True,
    )


def end(writer: "subprocess.Popen[str]") -> list[int]:
    said, _ = writer.communicate(timeout=60)
    assert writer.returncode == 0
    failed: list[int] = json.loads(said)
    return failed


def numbers(path: Path, who: str) -> list[int]:
    return [each["number"] for each in acts(path) if each["who"] == who]


def line(number: int) -> bytes:
    return b'{"event":"test","who":"me","number":%d}\n' % number


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_processes_and_threads_lose_no_line_while_files_are_put_aside(
    path: Path,
) -> None:
    names = ("a", "b", "c")
    writers = [start(path, who, 400, most=20_000, kept=50) for who in names]
    file = AuditFile(path, 20_000, 50)

    def write(first: int) -> None:
        for number in range(first, first + 100):
            file.append(line(number))

    threads = [threading.Thread(target=write, args=(n * 100,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [end(each) for each in writers] == [[], [], []]
    for who in names:
        assert numbers(path, who) == list(range(400)), who
    assert sorted(numbers(path, "me")) == list(range(400))
    sizes = [each.stat().st_size for each in path.parent.iterdir()]
    assert len(sizes) > 5
    assert max(sizes) <= 20_000


def test_a_write_that_fails_half_way_is_taken_back(path: Path) -> None:
    failed = end(start(path, "full", 60, limit=4_000))
    written = numbers(path, "full")
    assert failed == list(range(min(failed), 30))  # all but those that had room
    assert written == [n for n in range(60) if n not in failed]
    assert len(failed) > 5


def test_others_lines_stay_whole_beside_one_who_fails_half_way(path: Path) -> None:
    other = start(path, "other", 400)
    failed = [end(start(path, f"full{n}", 60, limit=3_000)) for n in range(2)]
    assert end(other) == []
    assert numbers(path, "other") == list(range(400))
    assert all(failed)
