"""A registry on a host of its own, and the cable between it and its store."""

import asyncio
import socket
from contextlib import ExitStack, suppress
from functools import partial

import requests

from modularity_registry.stores.conformance.breakable_proxy import BreakableProxy
from support.faults.namespaces import Network
from support.faults.proxy import FaultyProxy
from support.registry import eventually
from support.serving import HOST, free_port

ADDRESS = "10.213.1.1"
"""Where stores are, as that host sees them."""


class Cable:
    """Joins the host with stores of this one; the stack takes it down.

    Skips the test where no namespaces can be made.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.network = Network()
        stack.callback(self.network.close)
        self.network.add_address(ADDRESS)
        self.host = self.network.add_host("registry")

    def cut(self) -> None:
        """Lose all that the host sends to stores, without a word to it."""
        self.network.cut_off(self.host, f"{ADDRESS}/32")

    def mend(self) -> None:
        """Join them again."""
        self.network.reconnect(self.host, f"{ADDRESS}/32")

    def start(self, store: str) -> "DistantRegistry":
        """Return a registry on the host, which answers; its stop is the caller's."""
        registry = DistantRegistry(self, store)
        eventually(registry.answers)
        return registry


class Inlet(FaultyProxy):
    """A port at `ADDRESS` that leads to one of this host."""

    def __init__(self, cable: Cable, port: int) -> None:
        self._cable = cable
        super().__init__(port)

    async def _open(self) -> asyncio.Server:
        # A socket belongs to the namespace of the thread that makes it.
        listen = partial(socket.create_server, (ADDRESS, self.port))
        listener = self._cable.network.run(listen)
        return await asyncio.start_server(self._forward, sock=listener)


class Outlet(BreakableProxy):
    """A port of this host that leads to one of the cable's host."""

    def __init__(self, cable: Cable, port: int) -> None:
        self._cable = cable
        super().__init__(port, cable.host.address)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connect = partial(socket.create_connection, self.target, timeout=20)
        near = await asyncio.to_thread(self._cable.network.run, connect)
        return await asyncio.open_connection(sock=near)


class DistantRegistry:
    """A registry on the cable's host; its ``port`` is one of this host."""

    def __init__(self, cable: Cable, store: str) -> None:
        port = free_port()
        settings = {"host": cable.host.address, "port": port, "store": store}
        self._process = cable.host.start_registry(settings)
        self._outlet = Outlet(cable, port)
        self.port = self._outlet.port

    def answers(self) -> bool:
        """Say whether it is ready; fail if it has ended."""
        assert self._process.poll() is None
        with suppress(requests.ConnectionError):
            url = f"http://{HOST}:{self.port}/ready"
            return requests.get(url, timeout=20).status_code == 200
        return False

    def stop(self) -> None:
        """End it. Idempotent."""
        self._process.terminate()
        self._process.wait(20)
        self._outlet.close()
