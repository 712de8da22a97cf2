"""The file with the password by which the authority's keys are kept in the store."""

from pathlib import Path
from typing import Final

LEAST: Final = 16
"""Bytes that such a password has at least."""


def read_key_file(path: Path) -> bytes:
    """Return the password in a file, without the line break at its end.

    Raises `OSError`, and `ValueError` for one that is too short.
    """
    password = path.read_bytes().strip()
    if len(password) < LEAST:
        raise ValueError(
            f"it has fewer than {LEAST} bytes; make one with: openssl rand -hex 32"
        )
    return password
