"""A machine with one registry over SQLite, whose process or power ends."""

import json
import os
import random
import signal
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import requests

from faults.sqlite import disk
from faults.sqlite.writes import Held
from modularity_registry.catalog import documents
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.sqlite.store import SqliteStore
from support import PROGRAMS, TESTS
from support.registry import eventually
from support.serving import HOST, alive, free_port

NAME = "registry.db"


class View(NamedTuple):
    """What a registry says that it holds."""

    held: Held
    revision: int
    epoch: str


class Moment(NamedTuple):
    """What a power cut ``at`` a time (nanoseconds, monotonic) left of a folder."""

    at: int
    files: dict[str, bytes]


class Machine:
    """Starts the registry again and again, over the disk as it was left."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.disk = folder / "disk"
        self.disk.mkdir()
        self._log = folder / "log"
        self._log.touch()
        self._read = 0  # of the log, in bytes
        self._replay = disk.Disk(self.disk)
        library = disk.build(folder)
        self._forks = subprocess.Popen(
            [sys.executable, PROGRAMS / "forks.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **disk.environ(library, self.disk, self._log),
                "PYTHONPATH": str(TESTS),
            },
        )
        self._pid = 0
        assert self._line() == "ready"

    def start(self) -> None:
        """Start the registry, and return when it is ready."""
        settings = {"port": self.port, "store": f"sqlite:///{self.disk / NAME}"}
        assert self._forks.stdin is not None
        print(json.dumps(settings), file=self._forks.stdin, flush=True)
        self._pid = int(self._line())
        eventually(self._is_ready)

    def crash(self, rng: random.Random, power: bool, moments: int) -> list[Moment]:
        """Kill the registry, and with ``power`` leave what a power cut would leave.

        Returns what a cut at that many moments since the last crash would have left.
        """
        self._kill()
        entries = list(disk.read_log(self._log, self._read))
        self._read = self._log.stat().st_size
        chosen = set(rng.sample(range(len(entries)), min(moments, len(entries))))
        found = []
        for number, entry in enumerate(entries):
            self._replay.take(entry)
            if number in chosen:
                found.append(Moment(entry.at, self._replay.after_cut(rng)))
        if power:
            disk.put_back(self.disk, self._replay.after_cut(rng))
            self._replay = disk.Disk(self.disk)
        return found

    def ask(self) -> View:
        """Return what the registry holds."""
        reply = requests.get(f"http://{HOST}:{self.port}/api/services?limit=1000")
        services = reply.json()["services"]
        epoch = (self.disk / f"{NAME}.identity").read_text().split()[0]
        held = {service["id"]: service["version"] for service in services}
        return View(held, int(reply.headers["X-Registry-Revision"]), epoch)

    def close(self) -> None:
        """End everything."""
        self._kill()
        self._forks.kill()
        self._forks.communicate()

    def _kill(self) -> None:
        if self._pid and alive(self._pid):
            os.kill(self._pid, signal.SIGKILL)
            eventually(lambda: not alive(self._pid))
        self._pid = 0

    def _is_ready(self) -> bool:
        assert alive(self._pid)
        with suppress(requests.ConnectionError):
            return requests.get(f"http://{HOST}:{self.port}/ready").status_code == 200
        return False

    def _line(self) -> str:
        assert self._forks.stdout is not None
        return self._forks.stdout.readline().strip()


def held_by(path: Path) -> Held:
    """Return what the services in a store file have as their versions, by id."""
    with closing(SqliteStore(path)) as store:
        records = snapshot_of(store).records
    services = [
        documents.decode(record.key, record.value)
        for record in records
        if documents.id_of(record.key) is not None
    ]
    return {
        service.registration.id: service.registration.version for service in services
    }
