"""Files that are written completely or not at all, and standard input and output."""

import os
import stat
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from modularity_registry.transfer.jsonl import BadFile

PRIVATE: Final = 0o600

STREAM: Final = "-"
"""In place of a file's name: standard output or input."""


@contextmanager
def writing(output: str) -> Iterator[BinaryIO]:
    """Open the output for writing; a file is complete on disk when the block ends.

    If that fails, the old file is still there. Raises `BadFile` with the reason.
    """
    try:
        if output == STREAM:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
            return
        path = Path(os.path.realpath(output))
        # A pipe or a device is written to, not replaced by a file.
        special = path.exists() and not path.is_file()
        with path.open("wb") if special else _replacing(path) as stream:
            yield stream
    except BrokenPipeError:
        raise  # the reader has enough; the command ends in silence
    except OSError as error:
        name = "to standard output" if output == STREAM else output
        raise BadFile(f"can't write {name}: {error.strerror or error}") from error


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces ``path`` when the block succeeds.

    It is for its owner only, unless the file that it replaces has another mode.
    """
    draft = path.with_name(f".export-{uuid.uuid4().hex[:12]}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(draft, flags, PRIVATE), "wb") as stream:
            if path.exists():
                os.chmod(draft, stat.S_IMODE(path.stat().st_mode))
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
        _sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # Some systems can't open or sync a folder; the file itself is safe.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def reading(source: str) -> Iterator[BinaryIO]:
    """Open the input for reading; raises `BadFile` with the reason if that fails."""
    try:
        if source == STREAM:
            yield sys.stdin.buffer
            return
        with open(source, "rb") as stream:
            yield stream
    except OSError as error:
        name = "standard input" if source == STREAM else source
        raise BadFile(f"can't read {name}: {error.strerror or error}") from error
