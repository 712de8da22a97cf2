"""Programs that carry out orders: a line of JSON in, a line of JSON out."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.harness.processes import cpu_seconds, family
from benchmarks.harness.results import BenchmarkError


class Program:
    """One of the programs beside this file, on a core, until it is left."""

    def __init__(
        self,
        core: int,
        script: Path,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        orderly: bool = False,
    ) -> None:
        """Start it; ``orderly`` for one with servers of its own to stop at its end."""
        self._name = script.stem
        self._orderly = orderly
        # The kernel ends it should this process be killed outright.
        ending = "TERM" if orderly else "KILL"
        prefix = ["setpriv", "--pdeathsig", ending, "taskset", "-c", str(core)]
        self._process = subprocess.Popen(
            [*prefix, sys.executable, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            text=True,
            # Ctrl-C reaches the caller alone, which then ends all in order.
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._orderly:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
        self._process.kill()
        self._process.communicate()

    def ask(self, **order: object) -> dict[str, Any]:
        """Have an order carried out, and return what it found."""
        assert self._process.stdin is not None
        # Should it have ended, what it said last tells why.
        with suppress(BrokenPipeError):
            print(json.dumps(order), file=self._process.stdin, flush=True)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Return the next answer; raises when there is none."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line or '{"error": "it ended"}')
        if "error" in found:
            raise BenchmarkError(f"{self._name}: {found['error']}")
        return found

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used so far."""
        return cpu_seconds(self.pids())

    def pids(self) -> list[int]:
        """Return the pids of the program and of all that it started."""
        return family(self._process.pid)
