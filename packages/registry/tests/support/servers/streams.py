"""A registry in a process of its own, and readers of its streams."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from support.registry import registration
from support.servers.registry import RegistryProcess

KEEP_ALIVE = 0.3


class Running(RegistryProcess):
    """A registry whose streams are soon kept alive."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"keep_alive": KEEP_ALIVE, **settings})

    def register(self, service_id: str, **changes: Any) -> int:
        body = registration(service_id, mode="standalone", **changes)
        reply = requests.post(f"{self.url}/api/register", json=body, timeout=5)
        revision: int = reply.json()["revision"]
        return revision

    def watchers(self) -> int:
        reply = requests.get(f"{self.url}/api/stats", timeout=5)
        count: int = reply.json()["watchers"]
        return count


@contextmanager
def running(**settings: Any) -> Iterator[Running]:
    registry = Running(**settings)
    try:
        yield registry
    finally:
        registry.stop()


class Listener:
    """Reads a stream, event by event."""

    def __init__(self, registry: Running, query: str = "", last: str = "") -> None:
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", registry.port, timeout=10
        )
        headers = {"Last-Event-ID": last} if last else {}
        self.connection.request("GET", f"/api/events{query}", headers=headers)
        self.response = self.connection.getresponse()
        self.comments = 0
        self.last_id = ""

    def next(self) -> dict[str, Any] | None:
        """The next event with its `id`; None when the stream has ended."""
        fields: dict[str, str] = {}
        while line := self.response.readline().decode():
            line = line.rstrip("\n")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
                self.last_id = fields.get("id", self.last_id)
            elif "data" in fields:
                data: dict[str, Any] = json.loads(fields["data"])
                assert data["event"] == fields["event"]
                return {**data, "id": fields.get("id", "")}
        return None

    def expect(self, kind: str) -> dict[str, Any]:
        event = self.next()
        assert event is not None
        assert event["event"] == kind
        return event

    def close(self) -> None:
        self.response.close()
        self.connection.close()


@contextmanager
def listening(registry: Running, query: str = "", last: str = "") -> Iterator[Listener]:
    listener = Listener(registry, query, last)
    try:
        yield listener
    finally:
        listener.close()
