"""A small disk of its own for a store: a file system in memory that can be filled."""

import errno
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A file system at ``folder``, which everyone may enter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Take all the room that is left."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def free(self) -> None:
        """Give it back. Idempotent."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk(megabytes: int) -> Iterator[SmallDisk]:
    """Give a disk of this size, which is gone after the block.

    Skips the test where none can be mounted.
    """
    # Not in the tests' own folder, which another user can't enter.
    with tempfile.TemporaryDirectory(prefix="small-disk-") as name:
        command = ("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755")
        made = subprocess.run((*command, "tmpfs", name), capture_output=True, text=True)
        if made.returncode:
            pytest.skip("only root can mount a disk, and only where it may")
        try:
            yield SmallDisk(Path(name))
        finally:
            subprocess.run(("umount", "--lazy", name), check=True)
