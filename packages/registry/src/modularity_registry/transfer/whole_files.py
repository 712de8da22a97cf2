"""Files that are written whole or not at all, and standard input and output."""

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from modularity_registry.transfer.jsonl import BadFile

STREAM: Final = "-"
"""In place of a file's name: standard output or input."""


@contextmanager
def writing(output: str) -> Iterator[BinaryIO]:
    """Give what to write to; a file is complete on the disk when the block ends.

    When it fails, the old file is still there. Raises `BadFile` with the reason.
    """
    try:
        if output == STREAM:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
            return
        path = Path(os.path.realpath(output))
        # A pipe or a device is written to: a file in its place would do harm.
        special = path.exists() and not path.is_file()
        with path.open("wb") if special else _replacing(path) as stream:
            yield stream
    except BrokenPipeError:
        raise  # who reads it has enough; the command line ends in silence
    except OSError as error:
        name = "to standard output" if output == STREAM else output
        raise BadFile(f"can't write {name}: {error.strerror or error}") from error


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a new file that takes the place of ``path`` when the block ends well."""
    draft = path.with_name(f".export-{uuid.uuid4().hex[:12]}")
    try:
        with draft.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
        _sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # Not everywhere can a folder be opened or synced; the file itself is safe.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def reading(source: str) -> Iterator[BinaryIO]:
    """Give what to read from; raises `BadFile` with the reason when that fails."""
    try:
        if source == STREAM:
            yield sys.stdin.buffer
            return
        with open(source, "rb") as stream:
            yield stream
    except OSError as error:
        name = "standard input" if source == STREAM else source
        raise BadFile(f"can't read {name}: {error.strerror or error}") from error
