"""A registry, providers in processes of their own, and who calls them through Envoy."""

import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import requests

from support import PROGRAMS
from support.registry import eventually, registration
from support.servers.envoy import Envoy
from support.servers.program import Program
from support.servers.registry import Registered
from support.serving import HOST, free_port

SECONDS = 30.0
"""So long Envoy may take to follow."""

SETTINGS: dict[str, Any] = {
    "integrations": ["envoy"],
    "health_check_interval": 0.25,
    "health_check_timeout": 2.0,
    "health_check_fall": 2,
}


class Mesh:
    """A registry with a store that lasts, and what is registered in it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.xds_port = folder, free_port()
        self._settings = {
            **SETTINGS,
            "xds_port": self.xds_port,
            "store": f"sqlite:///{folder}/registry.db",
            **settings,
        }
        self.registry = Registered(**self._settings)
        self.providers: dict[str, Program] = {}

    def restart(self) -> None:
        """Kill the registry, and start it again at the same ports."""
        self.registry.kill()
        self.registry = Registered(self.registry.port, **self._settings)

    def start(self, name: str, program: str = "http", **changes: Any) -> int:
        """Start a provider, and register it; return its port."""
        port = free_port()
        command = [sys.executable, PROGRAMS / f"{program}_provider.py", port, name]
        provider = Program([str(part) for part in command], self.folder / f"{name}.log")
        self.providers[name] = provider
        provider.wait_until(lambda: _accepts(port))
        location = f"{program}://{HOST}:{port}"
        self.register(name, {"mode": program, "location": location, **changes})
        return port

    def register(self, name: str, changes: dict[str, Any]) -> None:
        """Register a provider."""
        self.call("POST", "register", registration(name, **changes))

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the registry's own API; return what it answers."""
        url = f"{self.registry.url}/api/{path}"
        reply = requests.request(method, url, json=body, timeout=20)
        assert reply.ok, reply.text
        return reply.json()

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Return what is shown of each node, by its id."""
        shown = self.call("GET", "stats")["integrations"]["envoy"]["shown"]
        return {row["id"]: row for row in shown}

    def clear(self) -> None:
        """Take all services out, and end their providers."""
        for name in list(self.providers):
            self.providers.pop(name).kill()
        for service in self.call("GET", "services")["services"]:
            self.registry.unregister(service["id"])

    def stop(self) -> None:
        """End everything. Idempotent."""
        for provider in self.providers.values():
            provider.kill()
        self.registry.kill()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1).close()
        return True
    except OSError:
        return False


class Caller:
    """Calls a capability through an Envoy, again and again, in a thread."""

    def __init__(self, envoy: Envoy, headers: dict[str, str]) -> None:
        self.failures: list[str] = []
        self._answers: list[str] = []
        self._envoy, self._headers = envoy, headers
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with requests.Session() as session:
            while not self._ended.wait(0.01):
                try:
                    reply = session.get(
                        self._envoy.url, headers=self._headers, timeout=10
                    )
                except requests.RequestException as error:
                    self.failures.append(repr(error))
                    continue
                if reply.status_code == 200:
                    self._answers.append(reply.text)
                else:
                    self.failures.append(f"{reply.status_code} {reply.text}")

    def latest(self, calls: int = 12) -> Counter[str]:
        """Return who answered the next calls; none may have failed."""
        before = len(self._answers)
        eventually(lambda: len(self._answers) >= before + calls or bool(self.failures))
        assert not self.failures, (self._envoy.name, self.failures[:3])
        return Counter(self._answers[before : before + calls])

    def wait_for(self, names: set[str]) -> None:
        """Return when all of these answer, and nobody else does."""
        self._wait_until(lambda latest: latest.keys() == names, names)

    def wait_for_share(self, name: str, least: float, most: float) -> None:
        """Return when ``name`` answers a share between these of 80 calls."""
        wanted = name, least, most
        self._wait_until(lambda latest: least < latest[name] / 80 < most, wanted, 80)

    def _wait_until(
        self, holds: Callable[[Counter[str]], bool], wanted: object, calls: int = 12
    ) -> None:
        began = time.monotonic()
        while not holds(latest := self.latest(calls)):
            waited = time.monotonic() - began
            assert waited < SECONDS, (self._envoy.name, latest, wanted)

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()


class Callers:
    """One caller for each Envoy."""

    def __init__(self, callers: list[Caller]) -> None:
        self._callers = callers

    def wait_for(self, *names: str) -> None:
        """Return when all of these answer all of them, and nobody else does."""
        for caller in self._callers:
            caller.wait_for(set(names))

    def wait_for_shares(self, name: str, least: float, most: float) -> None:
        """Return when ``name`` answers a share between these of all calls of each."""
        for caller in self._callers:
            caller.wait_for_share(name, least, most)

    @property
    def failures(self) -> list[str]:
        return [text for caller in self._callers for text in caller.failures]


def until(envoys: list[Envoy], condition: Callable[[Envoy], bool]) -> None:
    """Return when the condition holds for each of them."""
    for envoy in envoys:
        eventually(partial(condition, envoy))


@contextmanager
def calling(
    envoys: list[Envoy], capability: str = "greet", header: str = "Host"
) -> Iterator[Callers]:
    """Call a capability through each Envoy; at the end, no call may have failed."""
    headers = {header: capability}
    until(envoys, lambda envoy: status(envoy, headers) == 200)
    callers = [Caller(envoy, headers) for envoy in envoys]
    try:
        yield Callers(callers)
    finally:
        for caller in callers:
            caller.stop()
    failures = {
        caller._envoy.name: caller.failures[:3] for caller in callers if caller.failures
    }
    assert not failures


def status(envoy: Envoy, headers: dict[str, str]) -> int:
    try:
        return requests.get(envoy.url, headers=headers, timeout=5).status_code
    except requests.ConnectionError:
        return 0
