"""A real registry to run other programs against."""

import json
from typing import Any

import requests

from support.programs.registry import main
from support.registry import eventually, registration
from support.servers.forked import Forked
from support.serving import HOST, free_port


class RegistryProcess:
    """A registry in a process of its own, with ``settings``."""

    def __init__(self, port: int | None = None, **settings: Any) -> None:
        self.port = port or free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.process = self.launch({"port": self.port, **settings})
        eventually(self._answers)

    def launch(self, settings: dict[str, Any]) -> Forked:
        """Start the process."""
        return Forked(main, json.dumps(settings))

    def _answers(self) -> bool:
        assert self.process.poll() is None
        try:
            return requests.get(f"{self.url}/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        """Ask it to end, and wait until it did, in order. Idempotent."""
        self.process.terminate()
        assert self.process.wait(20) == 0


class Registered(RegistryProcess):
    """One whose services are registered by their place, and that may be killed."""

    def register(self, service_id: str, place: str, **changes: Any) -> None:
        """Register a service of mode http at ``place``, its host and port."""
        body = registration(service_id, location=f"http://{place}", **changes)
        reply = requests.post(f"{self.url}/api/register", json=body, timeout=5)
        assert reply.status_code in (200, 201), reply.text

    def metrics(self) -> str:
        """Return what it shows to Prometheus."""
        return requests.get(f"{self.url}/metrics", timeout=5).text

    def unregister(self, service_id: str) -> None:
        """Take a service out."""
        url = f"{self.url}/api/services/{service_id}"
        assert requests.delete(url, timeout=5).status_code == 200

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait(20)

    def stop(self) -> None:
        """Ask it to end, unless it was killed, and wait until it did. Idempotent."""
        self.process.terminate()
        self.process.wait(20)
