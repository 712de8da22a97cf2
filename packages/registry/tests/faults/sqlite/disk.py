"""A disk that loses what was not synced.

`disk_log.c` is preloaded into the processes under test and logs what they do to a
folder. From that log a `Disk` knows what a power cut at any moment may leave:

- what was written to a file before a sync of the file began is there when the sync is
  done;
- of what was written since, any of the sectors of 512 bytes may be there; a sector is
  written whole or not at all;
- names that were made, changed or removed since the last sync of the folder are there
  up to any one of them, in order, as journals of file systems keep them.
"""

import os
import random
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from support.servers.program import find

SOURCE: Final = Path(__file__).with_name("disk_log.c")
SECTOR: Final = 512
_HEAD: Final = struct.Struct("=6Q")

Apply = Callable[[bytearray], None]
Names = dict[str, "_File"]


def build(folder: Path) -> Path:
    """Return the library to preload; skips the test where there is no compiler."""
    library = folder / "disk_log.so"
    compiler = find(["gcc", "cc"], None, "gcc")
    options = ("-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl")
    made = subprocess.run((compiler, *options), capture_output=True, text=True)
    if "dlfcn.h" in made.stderr:
        pytest.skip("the C library's headers are not installed; Debian: libc6-dev")
    assert made.returncode == 0, made.stderr
    return library


def environ(library: Path, folder: Path, log: Path) -> dict[str, str]:
    """Return the variables with which a process logs what it does to ``folder``."""
    return {
        "LD_PRELOAD": str(library),
        "DISK_FOLDER": os.path.realpath(folder),
        "DISK_LOG": str(log),
    }


class Entry(NamedTuple):
    """One line of the log; ``at`` in nanoseconds, monotonic."""

    kind: str
    at: int
    thread: int
    inode: int
    offset: int
    data: bytes


def read_log(log: Path, start: int = 0) -> Iterator[Entry]:
    """Yield what was logged after the first ``start`` bytes, in order."""
    with log.open("rb") as file:
        file.seek(start)
        while head := file.read(_HEAD.size):
            kind, at, thread, inode, offset, length = _HEAD.unpack(head)
            yield Entry(chr(kind), at, thread, inode, offset, file.read(length))


class _File:
    def __init__(self, content: bytes = b"") -> None:
        self.synced = bytearray(content)
        self.since: list[Entry] = []
        self.count = 0  # of all changes

    def change(self, entry: Entry) -> None:
        self.since.append(entry)
        self.count += 1

    def sync(self, until: int) -> None:
        """Make the first ``until`` of all changes durable."""
        done = max(0, until - self.count + len(self.since))
        for entry in self.since[:done]:
            _apply(self.synced, entry)
        del self.since[:done]

    def after_cut(self, rng: random.Random) -> bytes:
        content = bytearray(self.synced)
        how = rng.choice(("none", "first", "any", "all"))
        last = rng.randint(0, len(self.since)) if how == "first" else len(self.since)
        for entry in self.since[:last] if how != "none" else ():
            for part in _sectors(entry) if how == "any" else (entry,):
                if how != "any" or rng.random() < 0.5:
                    _apply(content, part)
        return bytes(content)

    def without_cut(self) -> bytes:
        content = bytearray(self.synced)
        for entry in self.since:
            _apply(content, entry)
        return bytes(content)


class Disk:
    """A folder on such a disk, as the log tells it."""

    def __init__(self, folder: Path) -> None:
        """Begin with what the folder holds now, all of it synced."""
        self._folder = folder.stat().st_ino
        self._by_inode: dict[int, _File] = {}
        self._names: Names = {}
        for path in folder.iterdir():
            file = _File(path.read_bytes())
            self._names[path.name] = self._by_inode[path.stat().st_ino] = file
        # The names after each change of them, and which of these are on the disk.
        self._history = [self._names]
        self._synced = 0
        self._begun: dict[tuple[int, int], int] = {}

    def take(self, entry: Entry) -> None:
        """Take the next entry of the log."""
        if entry.kind in "lru":
            self._rename(entry)
        elif entry.kind in "bs":
            self._sync(entry)
        else:
            self._by_inode.setdefault(entry.inode, _File()).change(entry)

    def after_cut(self, rng: random.Random) -> dict[str, bytes]:
        """Return the files that are left when the power goes now."""
        names = rng.choice(self._history[self._synced :])
        return {name: file.after_cut(rng) for name, file in names.items()}

    def without_cut(self) -> dict[str, bytes]:
        """Return the files as the processes see them."""
        return {name: file.without_cut() for name, file in self._names.items()}

    def _rename(self, entry: Entry) -> None:
        names = dict(self._names)
        name, _, new = entry.data.decode().partition("/")
        if entry.kind == "l":
            if name in names and names[name] is self._by_inode.get(entry.inode):
                return
            # An inode without this name is a new file: numbers are used again.
            names[name] = self._by_inode[entry.inode] = _File()
        elif name not in names:
            return
        elif entry.kind == "r":
            names[new] = names.pop(name)
        else:
            del names[name]
        self._names = names
        self._history.append(names)

    def _sync(self, entry: Entry) -> None:
        key = entry.thread, entry.inode
        is_folder = entry.inode == self._folder
        file = self._by_inode.setdefault(entry.inode, _File())
        if entry.kind == "b":
            self._begun[key] = len(self._history) if is_folder else file.count
        elif is_folder:
            self._synced = max(self._synced, self._begun.pop(key) - 1)
        else:
            file.sync(self._begun.pop(key))


def put_back(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder hold these files alone, but for ``-shm``, which is memory.

    Files that are there keep their inodes.
    """
    kept = {name: files[name] for name in files if not name.endswith("-shm")}
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink()
    for name, content in kept.items():
        (folder / name).write_bytes(content)


def _apply(content: bytearray, entry: Entry) -> None:
    end = entry.offset + len(entry.data)
    if entry.kind == "t":
        del content[entry.offset :]
        end = entry.offset
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[entry.offset : end] = entry.data


def _sectors(entry: Entry) -> Iterator[Entry]:
    if entry.kind == "t":
        yield entry
    start = 0
    while start < len(entry.data):
        end = start + SECTOR - (entry.offset + start) % SECTOR
        part = entry._replace(offset=entry.offset + start, data=entry.data[start:end])
        start = end
        yield part
