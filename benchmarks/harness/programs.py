"""Runs the programs of `benchmarks/programs`: a JSON command in, a JSON reply out."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from benchmarks.harness.processes import cpu_seconds, process_tree
from benchmarks.harness.results import BenchmarkError


class Program:
    """A running program on a core; leaving the ``with`` block ends it."""

    def __init__(
        self,
        core: int,
        script: Path,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        graceful: bool = False,
    ) -> None:
        """Start it; ``graceful`` lets it stop servers of its own at its end."""
        self._name = script.stem
        self._graceful = graceful
        # The kernel ends it if this process is killed.
        death_signal = "TERM" if graceful else "KILL"
        prefix = ["setpriv", "--pdeathsig", death_signal, "taskset", "-c", str(core)]
        self._process = subprocess.Popen(
            [*prefix, sys.executable, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            text=True,
            # Ctrl-C reaches the caller only, which then ends all in order.
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._graceful:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
        self._process.kill()
        self._process.communicate()

    def ask(self, **command: object) -> dict[str, Any]:
        """Send a command and return the reply."""
        self.send(**command)
        return self.reply()

    def send(self, **command: object) -> None:
        """Send a command without waiting for its reply."""
        assert self._process.stdin is not None
        # If it has ended, its last reply says why.
        with suppress(BrokenPipeError):
            print(json.dumps(command), file=self._process.stdin, flush=True)

    def reply(self) -> dict[str, Any]:
        """Return the next reply; raises when it is an error or there is none."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        reply: dict[str, Any] = json.loads(line or '{"error": "it ended"}')
        if "error" in reply:
            raise BenchmarkError(f"{self._name}: {reply['error']}")
        return reply

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used so far."""
        return cpu_seconds(self.pids())

    def pids(self) -> list[int]:
        """Return the pids of the program and of its descendants."""
        return process_tree(self._process.pid)
