"""No line is lost, torn or mixed with another: by many, over files, on full disks."""

import fcntl
import gzip
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from modularity_registry.audit import AuditFile, check
from modularity_registry.audit.reader import follow, lines
from modularity_registry.errors import BadSetting
from support.access.audit import acts

MANY = 10**9


def numbers(path: Path, who: str) -> list[int]:
    return [each["number"] for each in acts(path) if each["who"] == who]


def line(number: int) -> bytes:
    return b'{"event":"test","who":"me","number":%d}\n' % number


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_half_a_line_of_one_who_was_killed_spoils_no_other(path: Path) -> None:
    path.write_bytes(line(1) + b'{"event":"te')
    AuditFile(path, MANY, 1).append(line(2))
    assert path.read_bytes() == line(1) + b'{"event":"te\n' + line(2)


def test_the_oldest_files_go_and_no_others(path: Path) -> None:
    file = AuditFile(path, 100, 2)
    for number in range(12):
        file.append(line(number))
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "audit.jsonl",
        "audit.jsonl.1",
        "audit.jsonl.2",
    ]
    assert numbers(path, "me") == list(range(6, 12))
    # As after a crash between two renames: the gap is filled, and nothing goes.
    path.with_name("audit.jsonl.1").rename(path.with_name("kept"))
    file.append(line(12))
    path.with_name("kept").unlink()
    assert numbers(path, "me") == [6, 7, 10, 11, 12]


def test_files_are_their_owners_alone(path: Path) -> None:
    file = AuditFile(path, 50, 1)
    file.append(line(1))
    file.append(line(2))
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}


def test_it_goes_on_when_somebody_moves_empties_or_deletes_the_file(
    path: Path,
) -> None:
    file = AuditFile(path, MANY, 1)
    file.append(line(1))
    moved = path.with_name("audit.jsonl.1")
    path.rename(moved)
    path.touch(0o640)
    file.append(line(2))
    assert (moved.read_bytes(), path.read_bytes()) == (line(1), line(2))
    assert path.stat().st_mode & 0o777 == 0o640
    shutil.copy(path, moved)
    os.truncate(path, 0)
    file.append(line(3))
    assert path.read_bytes() == line(3)
    path.unlink()
    file.append(line(4))
    assert path.read_bytes() == line(4)


def test_a_link_stays_and_what_it_leads_to_is_put_aside(path: Path) -> None:
    (path.parent / "disk").mkdir()
    path.symlink_to(path.parent / "disk" / "audit.jsonl")
    file = AuditFile(path, 50, 1)
    file.append(line(1))
    file.append(line(2))
    assert path.is_symlink()
    assert len(list((path.parent / "disk").iterdir())) == 2


def test_who_keeps_it_locked_is_waited_for_but_not_for_ever(path: Path) -> None:
    file = AuditFile(path, MANY, 1)
    file.append(line(1))
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="another program keeps it locked"):
            file.append(line(2), patience=0.05)
        waiting = threading.Thread(target=file.append, args=(line(3), 30.0))
        waiting.start()
        fcntl.flock(other, fcntl.LOCK_UN)
        waiting.join(30)
    assert numbers(path, "me") == [1, 3]


def test_a_full_file_that_can_not_be_put_aside_grows_on(path: Path) -> None:
    # Nobody can rename a file over a folder that is not empty.
    (path.with_name("audit.jsonl.1") / "in the way").mkdir(parents=True)
    file = AuditFile(path, 50, 1)
    for number in range(3):
        file.append(line(number))
    assert path.read_bytes().count(b"\n") == 3
    assert file.rotation_error
    shutil.rmtree(path.with_name("audit.jsonl.1"))
    file.append(line(3))
    assert file.rotation_error is None
    assert numbers(path, "me") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none/audit.jsonl", "there is no folder"),
        ("", "it is not a regular file"),
        ("registry.db", "it holds something else"),
        ("/proc/audit.jsonl", "it can't be written"),
    ],
)
def test_what_can_not_be_an_audit_is_refused(
    tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "registry.db").write_bytes(b"SQLite format 3\0")
    with pytest.raises(BadSetting, match=said):
        check(str(tmp_path / name))
    assert (tmp_path / "registry.db").read_bytes() == b"SQLite format 3\0"


def test_an_audit_goes_on_after_a_restart(path: Path) -> None:
    check(str(path))
    AuditFile(path, MANY, 1).append(line(1))
    check(str(path))
    AuditFile(path, MANY, 1).append(line(2))
    assert numbers(path, "me") == [1, 2]


# Reading


def test_it_is_read_in_order_packed_or_not(path: Path) -> None:
    for number, name in enumerate((".10", ".9", ".2", ".1", "")):
        path.with_name(path.name + name).write_bytes(line(number))
    packed = path.with_name("audit.jsonl.9")
    with gzip.open(f"{packed}.gz", "wb") as file:
        file.write(packed.read_bytes())
    packed.unlink()
    path.with_name("audit.jsonl.old").write_bytes(line(99))
    assert [json.loads(each.data)["number"] for each in lines(path)] == [0, 1, 2, 3, 4]


def test_who_follows_misses_nothing_and_sees_nothing_twice(path: Path) -> None:
    file = AuditFile(path, 300, 9)
    file.append(line(0))
    left = iter(range(1, 40))
    seen: list[int] = []

    def write(_seconds: float) -> bool:
        """In place of a pause: some lines come, over several rotations at times."""
        some = list(islice(left, len(seen) % 17 + 1))
        for number in some:
            file.append(line(number))
        return not some

    for each in follow(path, 0.0, write):
        if each is not None:
            seen.append(json.loads(each.data)["number"])
    assert seen == list(range(40))


def test_who_follows_sees_it_go_on_when_it_is_moved_or_emptied(path: Path) -> None:
    file = AuditFile(path, MANY, 1)
    file.append(line(0))

    def move() -> None:
        file.append(line(1))
        path.rename(path.with_name("audit.jsonl.1"))

    steps: Iterator[Callable[[], object]] = iter(
        [
            move,
            lambda: file.append(line(2)),
            lambda: os.truncate(path, 0),
            lambda: file.append(line(3)),
            lambda: AuditFile(path, MANY, 1).append(line(4)[:9]),
            lambda: file.append(line(4)),
        ]
    )

    def step(_seconds: float) -> bool:
        now = next(steps, None)
        if now is not None:
            now()
        return now is None

    seen = [each.data for each in follow(path, 0.0, step) if each is not None]
    assert seen[:4] == [line(0), line(1), line(2), line(3)]
    assert seen[4:] == [line(4)[:9] + b"\n", line(4)]
