"""Warnings about files that others on this machine may read or write."""

import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

_OTHERS = stat.S_IROTH | stat.S_IWOTH


def warnings(files: Mapping[str, Path]) -> list[str]:
    """Return a sentence for each file, by what it is, that everybody may open.

    A group may: it is given access on purpose. Files that are not there are left out.
    """
    messages = []
    for name, path in files.items():
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if os.name == "posix" and mode & _OTHERS:
            access = [
                verb
                for bit, verb in ((stat.S_IROTH, "read"), (stat.S_IWOTH, "change"))
                if mode & bit
            ]
            messages.append(
                f"all users of this machine may {' and '.join(access)} the {name}"
                f" {path}; run chmod o-rw {shlex.join(_with_siblings(path))}"
            )
    return messages


def _with_siblings(path: Path) -> list[str]:
    # SQLite gave its other files the mode that the database had.
    names = (f"{path}{end}" for end in ("", "-wal", "-shm"))
    return [name for name in names if os.path.exists(name)]
