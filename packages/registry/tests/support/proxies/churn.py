"""Providers that come and go behind a proxy, and callers who must not notice."""

import http.server
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from support.registry import eventually
from support.servers.program import Program
from support.servers.registry import Registered
from support.serving import HOST, free_port

CALLS = 40
"""So many calls in a row show who gets some."""

CHECKED = {"health_check_interval": 1.0, "health_check_fall": 1}
"""Settings of a registry that soon finds out who is dead."""


class Provider:
    """An HTTP server that says its name."""

    def __init__(self, name: str, port: int | None = None, host: str = HOST) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.place = f"{host}:{port or free_port()}"
        address = host, int(self.place.rpartition(":")[2])
        self._server = http.server.ThreadingHTTPServer(address, Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def kill(self) -> None:
        """End it without a word to anybody. Idempotent."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Site:
    """A registry, and its providers by name."""

    def __init__(self, **settings: Any) -> None:
        self.settings = {**CHECKED, **settings}
        self.registry = Registered(**self.settings)
        self.providers: dict[str, Provider] = {}

    def start(self, name: str, host: str = HOST, **changes: Any) -> None:
        """Start a provider of ``greet``, and register it."""
        if name not in self.providers:
            self.providers[name] = Provider(name, host=host)
        self.registry.register(name, self.providers[name].place, **changes)

    def kill(self, name: str) -> None:
        """End a provider that stays registered."""
        self.providers.pop(name).kill()

    def put(self, path: str, body: Any = None) -> None:
        """Make a call that changes something."""
        reply = requests.put(f"{self.registry.url}{path}", json=body, timeout=10)
        assert reply.ok, reply.text

    def drain(self, name: str) -> None:
        """Take a provider out of discovery; it still runs."""
        self.put(f"/api/services/{name}/drain")

    def split(self, **groups: int) -> None:
        """Split the calls of ``greet``."""
        self.put("/api/capabilities/greet/split", groups)

    def restart_registry(self) -> None:
        """Kill the registry, and start another one there, which knows nobody."""
        self.registry.kill()
        self.registry = Registered(self.registry.port, **self.settings)

    def close(self) -> None:
        """End all of it."""
        self.registry.stop()
        for provider in self.providers.values():
            provider.kill()


@contextmanager
def site(**settings: Any) -> Iterator[Site]:
    """A registry until the end of the block."""
    found = Site(**settings)
    try:
        yield found
    finally:
        found.close()


class Command(Program):
    """The command line, against a registry, for as long as a test takes."""

    def __init__(self, site: Site, folder: Path, *arguments: str | Path) -> None:
        line = (sys.executable, "-m", "modularity_registry", *arguments)
        place = {"REGISTRY_URL": site.registry.url}
        super().__init__(line, folder / f"{arguments[0]}.log", place)

    def says(self, text: str) -> None:
        """Return once it has said something."""
        self.wait_until(lambda: text in self.log.read_text())


def answer(url: str) -> str | None:
    """Return who answers, or the status; None while nothing listens."""
    try:
        reply = requests.get(url, timeout=10)
    except requests.ConnectionError:
        return None
    return reply.text if reply.ok else str(reply.status_code)


def answers(url: str, calls: int = CALLS) -> Counter[str | None]:
    """Return how many of some calls each one answers."""
    return Counter(answer(url) for _ in range(calls))


def answering(url: str) -> set[str | None]:
    """Return who answers, of some calls."""
    return set(answers(url, 12))


class Callers:
    """Somebody who calls without a pause; ``failures`` are what was no answer."""

    def __init__(self, url: str) -> None:
        self.failures: list[str | None] = []
        self.calls = 0
        self._url = url
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._call)

    def _call(self) -> None:
        while not self._ended.wait(0.005):
            name = answer(self._url)
            self.calls += 1
            if name is None or name.isdecimal():
                self.failures.append(name)

    def __enter__(self) -> "Callers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def no_call_fails_while_providers_come_and_go(site: Site, url: str) -> None:
    """One joins, one drains and ends, one dies; no caller notices.

    Needs a registry that nobody is registered at, and leaves ``three`` and ``four``.
    """
    site.start("one")
    site.start("two")
    eventually(lambda: answering(url) == {"one", "two"})
    with Callers(url) as callers:
        site.start("three")
        eventually(lambda: answering(url) == {"one", "two", "three"})
        site.drain("one")
        eventually(lambda: answering(url) == {"two", "three"})
        site.kill("one")
        site.registry.unregister("one")
        site.start("four")
        site.kill("two")
        eventually(lambda: answering(url) == {"three", "four"})
        eventually(lambda: callers.calls > 50)
    assert callers.failures == [], callers.failures
    site.registry.unregister("two")
