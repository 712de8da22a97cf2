"""A server with several workers, each of which joins with the same id."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from client_support import SUPPORT
from client_support.harness import HOST, RegistryProcess, eventually
from support.serving import free_port

WORKERS = 3


COMMANDS = {
    "uvicorn": "uvicorn worker_app:app --port {port} --workers 3 --log-level warning",
    "gunicorn": "gunicorn flask_app:app -b 127.0.0.1:{port} -w 3 -c python:flask_app",
    "gevent": "gunicorn flask_app:app -b 127.0.0.1:{port} -w 3 -c python:flask_app"
    " -k gevent",
}


class Workers:
    """A server with several workers, and what the registry knows of them."""

    def __init__(self, registry: RegistryProcess, server: str, log: Path) -> None:
        self.registry = registry
        self.location = f"http://{HOST}:{free_port()}"
        environ = {
            **os.environ,
            "PYTHONPATH": str(SUPPORT),
            "REGISTRY_URL": registry.url,
            "MODULE_LOCATION": self.location,
        }
        port = self.location.rpartition(":")[2]
        command = COMMANDS[server].format(port=port).split()
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command], env=environ, stderr=file
            )

    def instances(self) -> list[str]:
        found = self.registry.get("/api/services/web")
        return list(found.get("instances", []))

    def pid(self) -> int:
        """Return the process id of a worker, as one of them says it."""
        call = {"capability": "pid", "params": {}}
        reply = requests.post(f"{self.location}/_module/invoke", json=call, timeout=10)
        result: int = reply.json()["result"]
        return result


@pytest.fixture(params=COMMANDS)
def workers(
    own: Callable[[], RegistryProcess], request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Workers]:
    registry = own()
    registry.start()
    running = Workers(registry, request.param, tmp_path / "log")
    try:
        eventually(lambda: len(running.instances()) == WORKERS)
        yield running
    finally:
        running.process.terminate()
        running.process.wait(30)


def test_one_that_leaves_takes_nobody_with_it_and_the_last_ends_the_service(
    workers: Workers,
) -> None:
    first = set(workers.instances())
    over, gone = threading.Event(), []

    def watch() -> None:
        while not over.wait(0.01):
            if not workers.instances():
                gone.append(1)

    watching = threading.Thread(target=watch)
    watching.start()
    os.kill(workers.pid(), signal.SIGTERM)
    # Its place is taken by a new one.
    eventually(lambda: len(set(workers.instances()) - first) == 1)
    eventually(lambda: len(workers.instances()) == WORKERS)
    over.set()
    watching.join()
    assert gone == [], "it was unregistered in between"
    assert workers.registry.status("web") == "healthy"
    workers.process.terminate()
    assert workers.process.wait(30) in (0, -signal.SIGTERM)
    assert workers.registry.status("web") is None
    log = workers.log.read_text()
    assert "Traceback" not in log and "Exception ignored" not in log, log
