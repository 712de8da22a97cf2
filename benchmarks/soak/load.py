"""The whole load: who calls, from which address, and how often."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from benchmarks.soak.callers.bad_callers import BadCallers
from benchmarks.soak.callers.calls import Client, Tally
from benchmarks.soak.callers.churn import Churn
from benchmarks.soak.callers.leases import Leases
from benchmarks.soak.callers.pace import Actor, run
from benchmarks.soak.callers.population import FILL, Population
from benchmarks.soak.callers.providers import Providers
from benchmarks.soak.callers.readers import Readers
from benchmarks.soak.callers.tokens import Tokens
from benchmarks.soak.callers.watchers import Watchers

NAMESPACE = "team-a"
ADDRESSES = {
    "writer": "127.0.0.2",
    "team": "127.0.0.3",
    "reader": "127.0.0.4",
    "watcher": "127.0.0.5",
    "stranger": "127.0.0.6",
    "admin": "127.0.0.7",
}
FEW = 30
"""Services that stay in the namespace."""

ANSWERS = 5_000
"""More than DNS keeps, if all is filled."""

CHURN = 6.0
"""New services a second; in the namespace a third of it."""


class Load:
    """Everybody who calls one registry; a context within an event loop."""

    def __init__(
        self, port: int, dns_port: int, admin: str, seed: int, tally: Tally
    ) -> None:
        self._port = port
        self._dns_port = dns_port
        self._admin = admin
        self._rng = random.Random(seed)
        self._tally = tally
        self._actors: list[Actor] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Load":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def prepare(self, fill: int) -> None:
        """Register what stays, and fill what remembers ``fill`` changes."""
        clients = {name: await self._client(name) for name in ADDRESSES}
        admin = clients["admin"]
        admin.token = self._admin
        tokens = Tokens(admin, self._chance())
        for name, client in clients.items():
            if client is not admin:
                await tokens.create(name, client)
        writer, team = clients["writer"], clients["team"]
        providers = Providers(writer, self._chance())
        await providers.start()
        self._stack.push_async_callback(providers.stop)
        population = Population(writer, providers, self._chance())
        # What is remembered is bounded in each namespace by itself.
        both = population, Population(team, providers, self._chance(), FEW)
        for one in both:
            await asyncio.to_thread(one.register)
            await asyncio.to_thread(one.fill, fill)
        # One client is not given all of the threads.
        calls = (asyncio.to_thread(one.occupy_threads) for one in both)
        await asyncio.gather(*calls)
        readers = Readers(clients["reader"], self._dns_port, self._chance())
        await readers.fill(ANSWERS * fill // FILL)
        leases = Leases(writer, self._chance())
        await providers.register()
        await leases.register()
        bad_callers = BadCallers(clients["stranger"], admin, self._chance())
        self._stack.push_async_callback(asyncio.to_thread, bad_callers.close)
        others: Sequence[Callable[[], Sequence[Actor]]] = (
            Churn(writer, providers, self._chance(), CHURN).actors,
            Churn(team, providers, self._chance(), CHURN / 3).actors,
            readers.actors,
            Watchers(clients["watcher"], admin, self._chance()).actors,
        )
        for actors in (
            *(tokens.actors, providers.actors, population.actors, leases.actors),
            *(bad_callers.actors, *others),
        ):
            self._actors += actors()

    async def run(self, seconds: float) -> None:
        """Let everybody call for so long."""
        await run(self._actors, seconds, self._rng, self._tally)

    async def _client(self, name: str) -> Client:
        namespace = NAMESPACE if name == "team" else "default"
        client = Client(self._port, self._tally, ADDRESSES[name], namespace)
        self._stack.push_async_callback(client.close)
        return client

    def _chance(self) -> random.Random:
        return random.Random(self._rng.random())
