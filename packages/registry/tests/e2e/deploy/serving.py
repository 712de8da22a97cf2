"""The registry as a container starts it: by its command, with settings as variables."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support import PROGRAMS
from support.servers.program import Program


@contextmanager
def serving(log: Path, settings: Mapping[str, str]) -> Iterator[Program]:
    """Start it, without waiting until it answers; stop it at the end of the block."""
    command = [sys.executable, str(PROGRAMS / "cli.py"), "serve"]
    program = Program(command, log, settings)
    try:
        yield program
    finally:
        program.stop()
