"""Three replicas over one store, and what happens to them."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

from modularity_registry.stores.conformance.breakable_proxy import BreakableProxy
from support import PROGRAMS, TESTS
from support.programs.registry import main
from support.registry import eventually
from support.servers.forked import Forked
from support.servers.program import Program
from support.serving import HOST, free_port

INTERVAL = 2.0
"""Seconds between two checks of a service."""


class Replica:
    """A replica at a port of its own; with ``environ`` it is started as a program.

    ``excused``: something is being done to it, so it need not answer.
    """

    def __init__(
        self,
        store: str,
        log: Path,
        environ: Mapping[str, str] | None = None,
        proxy: BreakableProxy | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.excused = True
        self.proxy = proxy
        self._settings = {
            "port": self.port,
            "store": store,
            "health_check_interval": INTERVAL,
        }
        self._log = log
        self._environ = environ
        self._process: Forked | Any = None

    def start(self) -> None:
        """Start it and return when it is ready."""
        text = json.dumps(self._settings)
        if self._environ is None:
            self._process = Forked(main, text)
        else:
            environ = {**self._environ, "PYTHONPATH": str(TESTS)}
            command = (sys.executable, PROGRAMS / "registry.py", text)
            self._process = Program(command, self._log, environ).process
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when its view is current."""
        eventually(self._is_ready, 60)
        self.excused = False

    def send(self, number: signal.Signals) -> None:
        """Send a signal; it need not answer from now on."""
        self.excused = True
        os.kill(self._process.pid, number)

    def end(self, number: signal.Signals) -> None:
        """End it with a signal, and wait until it did."""
        self.send(number)
        self._process.wait(30)

    def stop(self) -> None:
        """End it, whatever its state. Idempotent."""
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGKILL)

    def get(self, path: str) -> Any:
        """Return what it answers."""
        return requests.get(f"{self.url}{path}", timeout=20).json()

    @property
    def id(self) -> str:
        """Its name in the store."""
        return str(self.get("/health")["replica"])

    def _is_ready(self) -> bool:
        assert self._process.poll() is None
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/ready", timeout=5).status_code == 200
        return False


class Fleet:
    """Replicas that are all ready; ``file`` is their store's, if it has one."""

    def __init__(self, replicas: list[Replica]) -> None:
        self.replicas = replicas
        self.file = Path()
        self.urls = [replica.url for replica in replicas]

    def wait_until_settled(self) -> None:
        """Return when all know each other, and hold the same services."""
        eventually(self._is_settled, 60)

    def owned_by(self, replica: Replica, ids: list[str]) -> list[str]:
        """Return the services that a replica checks."""
        name = replica.id

        def owner(service_id: str) -> str:
            service = self.replicas[-1].get(f"/api/services/{service_id}")
            return str(service["evidence"]["checked_by"])

        return [service_id for service_id in ids if owner(service_id) == name]

    def _is_settled(self) -> bool:
        answers = [replica.get("/health") for replica in self.replicas]
        names = [
            {other["id"] for other in answer["replicas"] if other["state"] == "alive"}
            for answer in answers
        ]
        if not all(each == names[0] and len(each) == len(names) for each in names):
            return False
        views = [replica.get("/api/services?limit=1000") for replica in self.replicas]
        statuses = [
            {service["id"]: service["status"] for service in view["services"]}
            for view in views
        ]
        return all(each == statuses[0] for each in statuses)


@contextmanager
def running(replicas: list[Replica]) -> Iterator[Fleet]:
    """Give the replicas, which end with the block."""
    try:
        for replica in replicas:
            replica.start()
        yield Fleet(replicas)
    finally:
        for replica in replicas:
            replica.stop()
