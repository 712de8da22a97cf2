"""Reads the lines of an audit from all its files, the oldest first."""

import glob
import gzip
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from modularity_registry.audit.rotating_file import COMPRESSED

PAUSE = 0.2
"""Seconds between two reads while waiting for a new line."""

_STAMPED = b'{"timestamp":"'
_STAMP = slice(len(_STAMPED), len(_STAMPED) + len("2026-01-02T03:04:05.678901Z"))


class Line(NamedTuple):
    """A line with its line end, and where it stands."""

    file: Path
    number: int
    data: bytes


class InvalidLine(Exception):
    """A line that is not valid in an audit."""


class LineFilter:
    """Decides which lines match; None or empty matches any.

    ``since`` and ``until`` are written as in a line. ``event`` may be the first part of
    one, such as ``token``.
    """

    def __init__(
        self,
        service: str | None = None,
        who: str | None = None,
        event: str | None = None,
        since: str = "",
        until: str = "~",  # after every digit
    ) -> None:
        self._service, self._who, self._event = service, who, event
        self._since, self._until = since, until
        # A text that is not in a line's bytes can't match: most need no decoding.
        texts = (service, who, event)
        self._needles = [text.encode() for text in texts if text and _plain(text)]
        self._range = since.encode(), until.encode()

    def read(self, line: bytes) -> dict[str, Any] | None:
        """Return a line as an object; None if it doesn't match.

        Raises `InvalidLine`.
        """
        if line.startswith(_STAMPED) and line.endswith(b"}\n"):
            first, last = self._range
            if not first <= line[_STAMP] <= last:
                return None
            if not all(needle in line for needle in self._needles):
                return None
        try:
            event = _decode(line)
        except (ValueError, msgspec.MsgspecError):
            raise InvalidLine from None
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise InvalidLine
        return event if self._matches(event) else None

    def _matches(self, event: dict[str, Any]) -> bool:
        name = event["event"]
        return (
            self._since <= str(event.get("timestamp")) <= self._until
            and self._service in (None, event.get("service_id"))
            and self._who in (None, event.get("who"), event.get("token"))
            and (self._event in (None, name) or name.startswith(f"{self._event}."))
        )


_decode = msgspec.json.Decoder().decode
_plain = re.compile(r"[A-Za-z0-9._:/-]*").fullmatch


class _File:
    """An open file of an audit; ``name`` is the one that it was opened by."""

    def __init__(self, name: Path) -> None:
        self.name = name
        self.compressed = name.suffix == COMPRESSED
        # `lines` and `follow` close it.
        opener: Callable[[Path, str], Any] = gzip.open if self.compressed else open
        self._file: BinaryIO = opener(name, "rb")
        self.status = os.fstat(self._file.fileno())
        self._number = 0
        self._rest = b""
        self._end = 0

    def lines(self) -> Iterator[Line]:
        """Yield the whole lines from the last position to the present end."""
        for part in self._file:
            self._rest += part
            if self._rest.endswith(b"\n"):
                line, self._rest = self._rest, b""
                self._end += len(line)
                self._number += 1
                yield Line(self.name, self._number, line)

    def rest(self) -> Iterator[Line]:
        """Yield the last line if it has no line end."""
        if self._rest:
            yield Line(self.name, self._number + 1, self._rest)
            self._rest = b""

    def rewind(self) -> None:
        """Start over if the file was truncated."""
        if self.compressed:
            return
        size = os.fstat(self._file.fileno()).st_size
        if size < self._end:
            self._number = self._end = 0
        if size < self._file.tell():
            # If the end has not moved, half a line was undone.
            self._file.seek(self._end)
            self._rest = b""

    def is_called(self, path: Path) -> bool:
        """Return whether ``path`` still leads to this file."""
        try:
            return os.path.samestat(self.status, path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        self._file.close()


def lines(path: Path, since: float = 0.0) -> Iterator[Line]:
    """Yield the lines of the audit at ``path``, the oldest first.

    Skips files that were last written before ``since`` (seconds since 1970).
    Raises `OSError`, and as `gzip` does for a compressed file.
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
    """Yield the same, then each new line, until ``over(seconds)`` is true.

    Yields None while there is no new line. When the file is renamed it goes on in the
    next one, and when it is truncated, from its start.
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
                # Read once more, for lines written before the file was renamed.
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
    """Return the files that follow ``last``; all if ``last`` is gone."""
    files = _opened(path, since=0.0)
    for index, file in enumerate(files):
        if last and os.path.samestat(file.status, last[0].status):
            _close(files[: index + 1])
            return files[index + 1 :]
    return files


def _opened(path: Path, since: float) -> list[_File]:
    """Return the open files of an audit written after ``since``, the oldest first.

    Opens the newest first: a file that is renamed meanwhile is seen twice, not never.
    """
    opened: list[_File] = []
    tried: set[Path] = set()
    try:
        while names := [name for name in _names(path) if name not in tried]:
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
    recent = [file for file in opened if file.status.st_mtime >= since - 1]
    _close([file for file in opened if file not in recent])
    return recent[::-1]


def _close(files: list[_File]) -> None:
    for file in files:
        file.close()


def _names(path: Path) -> list[Path]:
    """Return the names of an audit's files, the newest first.

    Rotated files end in a number, and in ``.gz`` if they were compressed since.
    """
    rotated = []
    for file in path.parent.glob(f"{glob.escape(path.name)}.*"):
        number = file.name.removeprefix(f"{path.name}.").removesuffix(COMPRESSED)
        if number.isascii() and number.isdecimal():
            rotated.append((int(number), file))
    return [path, *(file for _, file in sorted(rotated))]
