"""A file that several processes append whole lines to, and that rotates when full.

A line is written under an exclusive `flock` of the file itself, once its name is sure
to lead to it: another worker or logrotate may have renamed it. A write that fails half
way is undone. `logging.handlers.WatchedFileHandler` has no lock and undoes nothing.
concurrent-log-handler was tried: on a full disk it leaves half a line in front of
another process's, and both are lost; a line takes it 14 us, and this 6.
"""

import os
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

from modularity_registry.errors import BadSetting

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

COMPRESSED = ".gz"
"""How the name of a rotated file ends that was compressed since."""

MODE = 0o600
"""For the registry's user alone: the files tell who has which rights."""

PATIENCE = 2.0
"""Seconds to wait for another process's write, which takes microseconds."""

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOCTTY", 0)
_TRIES = 100
_FIRST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.01


def check(path: str) -> None:
    """Create the file; raises `BadSetting` if no audit can be written there."""
    if fcntl is None:
        raise BadSetting("--audit-file needs flock, which Windows lacks; leave it out")
    file = Path(path).resolve()
    if not file.parent.is_dir():
        raise BadSetting(
            f"--audit-file {path}: there is no folder {str(file.parent)!r}; create it,"
            " or name another file"
        )
    if file.exists() and not file.is_file():
        raise BadSetting(f"--audit-file {path}: it is not a regular file; name another")
    opened = AuditFile(file, most_bytes=0, kept=0)
    try:
        begins = opened.first_byte()
    except OSError as error:
        raise BadSetting(
            f"--audit-file {path}: it can't be written: {error.strerror}; let the"
            " registry's user write it, or name another file"
        ) from None
    finally:
        opened.close()
    if begins not in (b"", b"{"):
        raise BadSetting(
            f"--audit-file {path}: it holds something else than an audit; name another"
            " file"
        )


class AuditFile:
    """Appends lines to ``path``, and keeps ``kept`` earlier files: ``path.1`` and on.

    ``path.1`` is the newest. The file rotates before it exceeds ``most_bytes``. For any
    number of threads and processes; a process must not fork after it has written.
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
        self.rotation_error: str | None = None
        """Why the full file can't be rotated, so that it grows on; else None."""

    def append(self, lines: bytes, patience: float = PATIENCE) -> None:
        """Write ``lines``, each with its line end: all of them or none.

        The operating system has them when it returns. Raises `OSError`, also if another
        process keeps the file locked for ``patience`` seconds.
        """
        # I/O under a lock: the lines of all threads go through one descriptor.
        with self._lock:
            try:
                fd, size = self._hold(patience)
                # Other processes may fill the next file before this one locks it.
                while size and size + len(lines) > self._most and self._rotate():
                    self._close()
                    fd, size = self._hold(patience)
                self._write(fd, size, lines)
                fcntl.flock(fd, fcntl.LOCK_UN)
            except OSError:
                # Closing the file releases its lock.
                self._close()
                raise

    def first_byte(self) -> bytes:
        """Return the first byte, empty if the file is; raises `OSError`."""
        with self._lock:
            try:
                fd, _ = self._hold(PATIENCE)
                return os.pread(fd, 1, 0)
            finally:
                self._close()

    def close(self) -> None:
        """Close the file; the next `append` opens it again. Idempotent."""
        with self._lock:
            self._close()

    def _hold(self, patience: float) -> tuple[int, int]:
        """Return the file that has the name now, locked, and its size in bytes."""
        until = time.monotonic() + patience
        for _ in range(_TRIES):
            if self._fd is None:
                self._fd = os.open(self._path, _FLAGS, MODE)
                self._held = os.fstat(self._fd)
                self._end = -1
                if not stat.S_ISREG(self._held.st_mode):
                    raise OSError(0, "it is no longer a regular file")
            _lock(self._fd, until, self._pause)
            with suppress(FileNotFoundError):
                present = os.stat(self._path)
                if os.path.samestat(self._held, present):
                    return self._fd, present.st_size
            self._close()
        raise OSError(0, "other programs keep replacing the file")

    def _write(self, fd: int, size: int, lines: bytes) -> None:
        # A process that was killed may have left half a line: this ends it, so that no
        # other line is spoilt.
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

    def _rotate(self) -> bool:
        """Rename the files and delete the oldest; return whether that succeeded.

        Renames from the oldest on, down from the first number that is free: wherever
        it is interrupted, every line is still in a file of the audit.
        """
        numbers = range(1, self._kept)
        last = next((n for n in numbers if not self._endings(n)), self._kept)
        try:
            for ending in self._endings(last):
                os.unlink(f"{self._path}.{last}{ending}")
            for n in range(last - 1, 0, -1):
                for ending in self._endings(n):
                    os.replace(
                        f"{self._path}.{n}{ending}", f"{self._path}.{n + 1}{ending}"
                    )
            os.replace(self._path, f"{self._path}.1")
        except OSError as error:
            self.rotation_error = error.strerror
            return False
        self.rotation_error = None
        return True

    def _endings(self, number: int) -> list[str]:
        """Return the endings under which the rotated file of this number exists."""
        name = f"{self._path}.{number}"
        return [end for end in ("", COMPRESSED) if os.path.exists(name + end)]

    def _close(self) -> None:
        if self._fd is not None:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = None


def _lock(fd: int, until: float, pause: threading.Event) -> None:
    """Lock a file; raises `OSError` if it is still locked at ``until``."""
    seconds = _FIRST_PAUSE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= until:
                raise OSError(error.errno, "another program keeps it locked") from None
        # Not a wait without end: the process that holds the lock may be suspended.
        pause.wait(seconds)
        seconds = min(seconds * 2, _LONGEST_PAUSE)
