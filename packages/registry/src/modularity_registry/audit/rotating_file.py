"""A file that several processes append whole lines to, and put aside when it is full.

A line is written under an exclusive `flock` of the file itself, after a look whether
its name still leads to it: so it makes no difference whether another worker or
logrotate put it aside. A write that fails half way is taken back. The library for
this, concurrent-log-handler, was tried: on a full disk it leaves half a line in front
of another process's, and both are lost; it takes 14 us for a line, and this 6.
"""

import fcntl
import os
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

from modularity_registry.errors import BadSetting

PACKED = ".gz"
"""How a file's name ends that somebody has packed since it was put aside."""

MODE = 0o600
"""Whose the files are that it makes: they tell who is where, and may do what."""

PATIENCE = 2.0
"""Seconds to wait for another process that is writing; that takes microseconds."""

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
_TRIES = 100
_FIRST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.01


def check(path: str) -> None:
    """Raise `BadSetting` unless an audit can be kept there; makes the file."""
    file = Path(path).resolve()
    if not file.parent.is_dir():
        raise BadSetting(
            f"--audit-file {path}: there is no folder {str(file.parent)!r}; make it, or"
            " name another file"
        )
    if file.exists() and not file.is_file():
        raise BadSetting(f"--audit-file {path}: that is no file; name another")
    opened = AuditFile(file, most_bytes=0, kept=0)
    try:
        begins = opened.first_byte()
    except OSError as error:
        raise BadSetting(
            f"--audit-file {path}: it can't be written: {error.strerror}; give the"
            " registry's user the right to, or name another file"
        ) from None
    finally:
        opened.close()
    if begins not in (b"", b"{"):
        raise BadSetting(
            f"--audit-file {path}: that file holds something else; name another"
        )


class AuditFile:
    """Lines go to ``path``; ``kept`` earlier files are ``path.1``, the newest, and on.

    Put aside before it is larger than ``most_bytes``. For any number of threads and
    processes; one that forks must not have written before.
    """

    def __init__(self, path: Path, most_bytes: int, kept: int) -> None:
        self._path = path.resolve()
        self._most = most_bytes
        self._kept = kept
        self._lock = threading.Lock()
        self._pause = threading.Event()
        self._fd: int | None = None
        self._held: os.stat_result
        self._end = 0
        self.stuck: str | None = None
        """Why a full file could not be put aside: it grows on; None when it could."""

    def append(self, lines: bytes, patience: float = PATIENCE) -> None:
        """Write ``lines``, each with its end, all or none of them.

        They are with the operating system when it returns. Raises `OSError`, after
        ``patience`` seconds as well if another process keeps the file locked.
        """
        # Under a lock, since their order is what the file is for.
        with self._lock:
            try:
                fd, size = self._hold(patience)
                # Others may have filled the next one before this has it.
                while size and size + len(lines) > self._most and self._put_aside():
                    self._close()
                    fd, size = self._hold(patience)
                self._write(fd, size, lines)
                fcntl.flock(fd, fcntl.LOCK_UN)
            except OSError:
                # With the file, its lock is given up.
                self._close()
                raise

    def first_byte(self) -> bytes:
        """Return what the file begins with, none if it is empty; raises `OSError`."""
        with self._lock:
            try:
                fd, _ = self._hold(PATIENCE)
                return os.pread(fd, 1, 0)
            finally:
                self._close()

    def close(self) -> None:
        """Close the file; a later line opens it again. Idempotent."""
        with self._lock:
            self._close()

    def _hold(self, patience: float) -> tuple[int, int]:
        """Return the file that has the name now, locked, and its size."""
        until = time.monotonic() + patience
        for _ in range(_TRIES):
            if self._fd is None:
                self._fd = os.open(self._path, _FLAGS, MODE)
                self._held = os.fstat(self._fd)
                self._end = -1
                if not stat.S_ISREG(self._held.st_mode):
                    raise OSError(0, "it is no file any more")
            _lock(self._fd, until, self._pause)
            with suppress(FileNotFoundError):
                found = os.stat(self._path)
                if os.path.samestat(self._held, found):
                    return self._fd, found.st_size
            self._close()
        raise OSError(0, "its name leads to another file each time")

    def _write(self, fd: int, size: int, lines: bytes) -> None:
        # A process that was killed may have left half a line, which is to be the only
        # one that can't be read.
        if size not in (0, self._end) and os.pread(fd, 1, size - 1) != b"\n":
            lines = b"\n" + lines
        done = 0
        try:
            while done < len(lines):
                done += os.write(fd, lines[done:])
        except OSError:
            if done and os.fstat(fd).st_size > size:
                os.ftruncate(fd, size)
            raise
        self._end = size + done

    def _put_aside(self) -> bool:
        """Rename the files, the oldest one away; say whether that could be done.

        From the oldest on, up to the first name that is free: wherever it is
        interrupted, every line is still in a file that has a name.
        """
        present = [n for n in range(1, self._kept + 1) if any(self._aside(n).values())]
        free = (n for n in range(1, self._kept + 1) if n not in present)
        last = next(free, self._kept)
        try:
            if last in present:
                for suffix, is_there in self._aside(last).items():
                    if is_there:
                        os.unlink(f"{self._path}.{last}{suffix}")
            for number in range(last, 1, -1):
                for suffix, is_there in self._aside(number - 1).items():
                    if is_there:
                        self._rename(f".{number - 1}{suffix}", f".{number}{suffix}")
            self._rename("", ".1")
        except OSError as error:
            self.stuck = error.strerror
            return False
        self.stuck = None
        return True

    def _aside(self, number: int) -> dict[str, bool]:
        """Return under which endings a file that was put aside is there."""
        name = f"{self._path}.{number}"
        return {end: os.path.exists(name + end) for end in ("", PACKED)}

    def _rename(self, old: str, new: str) -> None:
        os.replace(f"{self._path}{old}", f"{self._path}{new}")

    def _close(self) -> None:
        if self._fd is not None:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = None


def _lock(fd: int, until: float, pause: threading.Event) -> None:
    """Lock a file; raises `OSError` when that was not possible ``until`` then."""
    seconds = _FIRST_PAUSE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= until:
                raise OSError(error.errno, "another program holds it locked") from None
        # A wait without end could be one for a process that was stopped.
        pause.wait(seconds)
        seconds = min(seconds * 2, _LONGEST_PAUSE)
