"""Reads an audit: the files in the order of their lines, from the oldest on."""

import glob
import gzip
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from modularity_registry.audit.rotating_file import PACKED

PAUSE = 0.2
"""Seconds between two looks for a new line."""


_STAMPED = b'{"timestamp":"'
_STAMP = slice(len(_STAMPED), len(_STAMPED) + len("2026-01-02T03:04:05.678901Z"))


class Line(NamedTuple):
    """A line with its end, and where it is."""

    file: Path
    number: int
    data: bytes


class Broken(Exception):
    """A line that is no line of an audit."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines are looked for; None or empty for any.

    ``since`` and ``until`` are as the lines have their time. ``event`` may be the
    first part of one, such as ``token``.
    """

    service: str | None = None
    who: str | None = None
    event: str | None = None
    since: str = ""
    until: str = "~"  # after every digit
    _needles: tuple[bytes, ...] = field(init=False, default=(), repr=False)
    _range: tuple[bytes, bytes] = field(init=False, default=(b"", b""), repr=False)

    def __post_init__(self) -> None:
        # What is not in a line's bytes is not in what they mean: most need no reading.
        texts = (self.service, self.who, self.event)
        needles = tuple(text.encode() for text in texts if text and _plain(text))
        object.__setattr__(self, "_needles", needles)
        ends = self.since.encode(), self.until.encode()
        object.__setattr__(self, "_range", ends)

    def read(self, line: bytes) -> dict[str, Any] | None:
        """Return a line as an object; None if it is not wanted; raises `Broken`."""
        if line.startswith(_STAMPED) and line.endswith(b"}\n"):
            first, last = self._range
            if not first <= line[_STAMP] <= last:
                return None
            for needle in self._needles:
                if needle not in line:
                    return None
        try:
            found = _decode(line)
        except (ValueError, msgspec.MsgspecError):
            raise Broken from None
        if not isinstance(found, dict) or not isinstance(found.get("event"), str):
            raise Broken
        return found if self._passes(found) else None

    def _passes(self, found: dict[str, Any]) -> bool:
        event = found["event"]
        return (
            self.since <= str(found.get("timestamp")) <= self.until
            and self.service in (None, found.get("service_id"))
            and self.who in (None, found.get("who"), found.get("token"))
            and (self.event in (None, event) or event.startswith(f"{self.event}."))
        )


_decode = msgspec.json.Decoder().decode
_plain = re.compile(r"[A-Za-z0-9._:/-]*").fullmatch


class _File:
    """One file of an audit, open, under the name that it had then."""

    def __init__(self, name: Path) -> None:
        self.name = name
        self.packed = name.suffix == PACKED
        # Closed by whoever reads on in the next one.
        opener: Callable[[Path, str], Any] = gzip.open if self.packed else open
        self._file: BinaryIO = opener(name, "rb")
        self.status = os.fstat(self._file.fileno())
        self._number = 0
        self._rest = b""
        self._end = 0

    def lines(self) -> Iterator[Line]:
        """Yield the whole lines from where it was left to the end that it has now."""
        for part in self._file:
            self._rest += part
            if self._rest.endswith(b"\n"):
                line, self._rest = self._rest, b""
                self._end += len(line)
                self._number += 1
                yield Line(self.name, self._number, line)

    def rest(self) -> Iterator[Line]:
        """Yield the line without an end, if the file has one."""
        if self._rest:
            yield Line(self.name, self._number + 1, self._rest)
            self._rest = b""

    def rewind(self) -> None:
        """Begin anew if somebody has emptied the file."""
        if self.packed:
            return
        size = os.fstat(self._file.fileno()).st_size
        if size < self._end:
            self._number = self._end = 0
        if size < self._file.tell():
            # Else it was half a line that was taken back.
            self._file.seek(self._end)
            self._rest = b""

    def is_called(self, path: Path) -> bool:
        """Say whether ``path`` still leads to it."""
        try:
            return os.path.samestat(self.status, path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        self._file.close()


def lines(path: Path, since: float = 0.0) -> Iterator[Line]:
    """Yield the lines of the audit at ``path``, the oldest first.

    Files that were last written before ``since`` (seconds since 1970) are left out.
    Raises `OSError`, and as `gzip` does for a file that something packed.
    """
    files = _opened(path, since)
    try:
        for file in files:
            yield from file.lines()
            yield from file.rest()
    finally:
        _close(files)


def follow(
    path: Path, since: float, over: Callable[[float], bool]
) -> Iterator[Line | None]:
    """Yield the same, then each line that comes, until ``over(seconds)`` is true.

    None where there is no other line for now. Goes on in the next file when one is put
    aside, and from the start when one is emptied.
    """
    files = _opened(path, since)
    try:
        while True:
            if len(files) > 1:
                yield from files[0].lines()
                yield from files[0].rest()
                files.pop(0).close()
                continue
            if files:
                yield from files[0].lines()
            if not files or not files[0].is_called(path):
                files += _after(files, path)
                # It is read once more: for what came before its name went away.
                if len(files) > 1:
                    continue
            yield None
            if over(PAUSE):
                return
            for file in files:
                file.rewind()
    finally:
        _close(files)


def _after(last: list[_File], path: Path) -> list[_File]:
    """Return the files that came after ``last``; all if it is not there any more."""
    found = _opened(path, since=0.0)
    for place, each in enumerate(found):
        if last and os.path.samestat(each.status, last[0].status):
            _close(found[: place + 1])
            return found[place + 1 :]
    return found


def _opened(path: Path, since: float) -> list[_File]:
    """Return the files of an audit, open, the oldest first, but for those too old.

    Opened is the newest first: one that is renamed meanwhile is met twice, not never.
    """
    opened: list[_File] = []
    tried: set[Path] = set()
    try:
        while names := [each for each in _names(path) if each not in tried]:
            tried.update(names)
            for name in names:
                with suppress(FileNotFoundError):
                    file = _File(name)
                    if any(os.path.samestat(file.status, o.status) for o in opened):
                        file.close()
                    else:
                        opened.append(file)
    except BaseException:
        _close(opened)
        raise
    recent = [each for each in opened if each.status.st_mtime >= since - 1]
    _close([each for each in opened if each not in recent])
    return recent[::-1]


def _close(files: list[_File]) -> None:
    for file in files:
        file.close()


def _names(path: Path) -> list[Path]:
    """Return the names of an audit's files, the newest first.

    Those that were put aside end in a number, and in ``.gz`` if something has packed
    them since.
    """
    found = []
    for each in path.parent.glob(f"{glob.escape(path.name)}.*"):
        number = each.name.removeprefix(f"{path.name}.").removesuffix(PACKED)
        if number.isascii() and number.isdecimal():
            found.append((int(number), each))
    return [path, *(each for _, each in sorted(found))]
