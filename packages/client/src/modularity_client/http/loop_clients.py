"""HTTP clients of event loops: each loop has its own, for as long as it is open."""

import asyncio
from collections.abc import Callable

import httpx


class LoopClients:
    """One client for each event loop that asks, made by ``make``.

    A client holds connections of its loop, and so the loop itself. Those of loops that
    are closed can't be used or closed any more: they are dropped when another loop
    asks, and their sockets end with them.
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient]) -> None:
        self._make = make
        self._clients: dict[asyncio.AbstractEventLoop, httpx.AsyncClient] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def get(self) -> httpx.AsyncClient:
        """Return the running loop's client."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            # In place, since loops of other threads may add theirs meanwhile.
            for other in list(self._clients):
                if other.is_closed():
                    self._clients.pop(other, None)
            client = self._clients[loop] = self._make()
        return client

    async def close(self) -> None:
        """Close the running loop's client, if it has one. Idempotent."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def all(self) -> tuple[httpx.AsyncClient, ...]:
        """Return the clients of all loops."""
        return tuple(self._clients.values())
