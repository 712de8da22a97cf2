"""Finds a server's program and runs it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

from support.registry import eventually


def find(names: Sequence[str], package: tuple[str, str] | None, debian: str) -> Path:
    """Return the first program found: in a Python package, then on the path.

    ``package`` is an importable name and the folder in it; ``debian`` names the
    package to install where there is none. Skips the test then.
    """
    folders = []
    if package is not None:
        spec = find_spec(package[0])
        if spec is not None and spec.submodule_search_locations:
            folders = [Path(spec.submodule_search_locations[0]) / package[1]]
    for name in names:
        found = shutil.which(name, path=os.pathsep.join(map(str, folders)))
        found = found or shutil.which(name) or shutil.which(name, path="/usr/sbin")
        if found:
            return Path(found)
    missing(names[0], debian)


def missing(what: str, debian: str) -> NoReturn:
    """Skip the test: its server is not installed."""
    pytest.skip(f"{what} is not installed; Debian has it in the package {debian}")


class Program:
    """A server that runs, with everything that it says in ``log``."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [str(each) for each in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **(environ or {})},
                # Ctrl-C is for the tests; what they started they stop themselves.
                start_new_session=True,
            )

    def wait_until(self, answers: Callable[[], bool]) -> None:
        """Return when it answers; fail with what it said when it ended instead."""
        eventually(lambda: self.process.poll() is not None or answers())
        assert self.process.poll() is None, self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it alone."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash would. Idempotent."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)

    def stop(self) -> None:
        """Ask it to end, and see that it did. Idempotent."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
