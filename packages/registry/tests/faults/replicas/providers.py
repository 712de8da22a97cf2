"""Services that live until a test lets them die."""

import selectors
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from modularity_client import Registry
from modularity_client.errors import RegistryError
from support.registry import registration
from support.serving import free_port

CAPABILITY = "greet"
TTL = 5.0
BRIEF, BRIEF_TTL = "brief", 1.0
"""One that is soon removed when its heartbeats end."""


class Providers:
    """Some that take connections, each at an address of its own, and some with leases.

    ``gone`` has when (monotonic) each that is no more died or was unregistered.
    """

    def __init__(self, checked: int, leased: int, network: str = "127.77.0") -> None:
        self.gone: dict[str, float] = {}
        self.leased = {f"leased-{number}": TTL for number in range(leased)}
        self.leased |= {f"brief-{number}": BRIEF_TTL for number in range(leased)}
        self.leased[BRIEF] = BRIEF_TTL
        self._port = free_port()
        self._listening: dict[str, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._ending = threading.Event()
        for number in range(1, checked + 1):
            self._listen(f"checked-{number}", f"{network}.{number}")
        self._threads = [threading.Thread(target=self._serve)]

    @property
    def checked(self) -> list[str]:
        """Those that are checked and alive."""
        return sorted(self._listening)

    def register(self, registry: Registry) -> None:
        """Register all of them, and begin with their heartbeats."""
        for service_id in self.checked:
            host = self._listening[service_id].getsockname()[0]
            registry.put(
                **_body(service_id, mode="tcp", location=f"tcp://{host}:{self._port}")
            )
        for service_id, ttl in self.leased.items():
            registry.put(**_body(service_id, mode="standalone", ttl=ttl))
        self._threads += [
            threading.Thread(target=self._beat, args=(registry, service_id, ttl / 3))
            for service_id, ttl in self.leased.items()
        ]
        for thread in self._threads:
            thread.start()

    def die(self, service_id: str) -> None:
        """Let one end without a word."""
        if service_id in self._listening:
            listener = self._listening.pop(service_id)
            self._selector.unregister(listener)
            listener.close()
        self.gone[service_id] = time.monotonic()

    def leave(self, registry: Registry, service_id: str) -> None:
        """Unregister one."""
        self.die(service_id)
        registry.unregister(service_id)

    def close(self) -> None:
        """End all of them."""
        self._ending.set()
        for thread in self._threads:
            thread.join()
        for listener in self._listening.values():
            listener.close()
        self._selector.close()

    def _listen(self, service_id: str, address: str) -> None:
        listener = socket.create_server((address, self._port), backlog=64)
        listener.setblocking(False)
        self._listening[service_id] = listener
        self._selector.register(listener, selectors.EVENT_READ)

    def _serve(self) -> None:
        while not self._ending.is_set():
            for key, _ in self._selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                with suppress(OSError):
                    key.fileobj.accept()[0].close()

    def _beat(self, registry: Registry, service_id: str, pause: float) -> None:
        while service_id not in self.gone and not self._ending.wait(pause):
            with suppress(RegistryError):
                registry.heartbeat(service_id)


def _body(service_id: str, **changes: Any) -> Any:
    return registration(service_id, capabilities=[CAPABILITY], **changes)
