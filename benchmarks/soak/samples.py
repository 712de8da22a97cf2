"""What the registry's process needs, measured every few seconds."""

import asyncio
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.processes import Server
from benchmarks.harness.results import BenchmarkError
from benchmarks.soak.callers.pace import becomes

MIB = 1 << 20
COUNT_SECONDS = 60.0
"""Seconds within which the process must have counted what it holds."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement; ``seconds`` and ``cpu`` (seconds used) since the load began.

    ``anonymous`` memory is what the process has for itself alone; in ``proportional``
    (PSS) and ``resident`` (RSS) memory are also the libraries, which others may have
    mapped as well. They and ``disk`` (the store with its log, and the audit) are in
    MiB. What the others are, `programs/counted_registry.py` says.
    """

    seconds: float
    anonymous: float
    proportional: float
    resident: float
    threads: int
    descriptors: int
    objects: int
    tasks: int
    blocks: int
    cpu: float
    disk: float


class Process:
    """The registry's process, started by ``programs/counted_registry.py``."""

    def __init__(self, server: Server, counts: Path, data: Path) -> None:
        self.server = server
        self._pid = server.process.pid
        self._counts = counts
        self._data = data
        self._began = asyncio.get_running_loop().time()
        self._cpu = server.cpu_seconds()

    def begin(self) -> None:
        """Count times from now on."""
        self._began = asyncio.get_running_loop().time()
        self._cpu = self.server.cpu_seconds()

    def descriptors(self) -> int:
        """Return how many files and connections it has open."""
        return len(os.listdir(f"/proc/{self._pid}/fd"))

    async def count(self, number: signal.Signals = signal.SIGUSR2) -> dict[str, int]:
        """Return what it holds; SIGUSR1 makes it collect garbage before."""
        self._counts.unlink(missing_ok=True)
        self.server.process.send_signal(number)

        async def counted() -> bool:
            if self.server.process.poll() is not None:
                last = self.server.last_log_line()
                raise BenchmarkError(f"the registry has ended: {last}")
            return self._counts.exists()

        if not await becomes(counted, COUNT_SECONDS, pause=0.02):
            raise BenchmarkError("the registry stands still")
        counts: dict[str, int] = json.loads(self._counts.read_text())
        return counts

    async def sample(self) -> Sample:
        """Return the present figures."""
        counts = await self.count()
        memory = _fields(Path(f"/proc/{self._pid}/smaps_rollup"))
        status = _fields(Path(f"/proc/{self._pid}/status"))
        return Sample(
            seconds=asyncio.get_running_loop().time() - self._began,
            anonymous=memory["Anonymous"] / 1024,
            proportional=memory["Pss"] / 1024,
            resident=memory["Rss"] / 1024,
            threads=status["Threads"],
            descriptors=self.descriptors(),
            cpu=self.server.cpu_seconds() - self._cpu,
            disk=sum(_size(path) for path in self._data.rglob("*")) / MIB,
            **counts,
        )


def _fields(path: Path) -> dict[str, int]:
    """Return the numbers of a file of /proc, mostly in KiB."""
    fields = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdecimal():
            fields[name] = int(words[0])
    return fields


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # renamed or removed meanwhile
        return 0
