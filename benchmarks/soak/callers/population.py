"""Services that stay for the whole run, and the fill of all bounded memory.

The registry remembers up to so many changes, calls and names that are gone. If these
filled up only during the run, that would look like growth. So they are full before it.
"""

import json
import random
from collections.abc import Iterable, Sequence

from benchmarks.harness.http import request, send_all
from benchmarks.soak.callers.calls import Client
from benchmarks.soak.callers.pace import Actor
from benchmarks.soak.callers.providers import Providers

SERVICES = 300
GROUPS = 30
ZONES = (("eu-1", "eu-1a"), ("eu-1", "eu-1b"), ("us-1", "us-1a"))
FILL = 10_000
"""As many as the registry remembers: changes, and capabilities without a provider.

The other figures are for what else it remembers, if so much is filled.
"""

PAIRS = 20_000
HEADS = 17_000
BATCH = 1_000


def work(number: int) -> str:
    """Return the capability of a group of ten stable services."""
    return f"soak.work-{number % GROUPS}"


def stable_id(number: int) -> str:
    """Return the id of a stable service."""
    return f"soak-stable-{number}"


class Population:
    """The services that stay; each capability has some that are never checked."""

    def __init__(
        self,
        client: Client,
        providers: Providers,
        rng: random.Random,
        count: int = SERVICES,
    ) -> None:
        self.count = count
        self._client = client
        self._providers = providers
        self._rng = rng
        self._consumers = 0

    def body(self, number: int) -> dict[str, object]:
        """Return the registration of a stable service."""
        # Each capability has one provider of each of ten kinds.
        kind = number // GROUPS
        region, zone = ZONES[kind % len(ZONES)]
        place: dict[str, object] = {"mode": "standalone", "location": "worker 7"}
        if kind % 5 == 0:
            place = self._providers.fields(stable_id(number), number)
        return {
            "id": stable_id(number),
            "name": f"Stable {number}",
            "version": ("1.4.2", "2.0.1")[kind % 2],
            "capabilities": [work(number), "soak.all"],
            "region": region,
            "zone": zone,
            "weight": 1 + kind,
            "priority": int(kind % 5 == 4),
            "metadata": {
                "runtime": ("python", "go")[kind // 2 % 2],
                "blob": "x" * 1_500,
            },
            **place,
        }

    def register(self) -> None:
        """Register all of them; blocks."""
        bodies = [self.body(number) for number in range(self.count)]
        self._send("POST", (("/api/register", body) for body in bodies))

    def fill(self, count: int) -> None:
        """Fill what remembers ``count`` changes and names, and the calls; blocks."""
        bodies = (self._passing(number) for number in range(count))
        self._send("POST", (("/api/register", body) for body in bodies))
        paths = (f"/api/services/soak-fill-{number}" for number in range(count))
        lookup = f"/api/capabilities/{work(1)}?strategy=hash"
        self._send("DELETE", ((path, None) for path in paths))
        batches = range(PAIRS * count // FILL // BATCH + 1)
        path = "/api/track/invocations"
        self._send("POST", ((path, self._calls(BATCH)) for _ in batches))
        # Heads of requests are remembered until there are too many: then all go.
        heads = (f"{lookup}&key={number}" for number in range(HEADS * count // FILL))
        self._send("GET", ((head, None) for head in heads))

    def occupy_threads(self) -> None:
        """Start the share of the registry's threads that a client may have; blocks."""
        # These calls take their time.
        paths = (f"/api/graph?capability={work(1)}" for _ in range(32))
        self._send("GET", ((path, None) for path in paths))

    def _send(
        self,
        method: str,
        calls: Iterable[tuple[str, object]],
    ) -> None:
        header = f"Authorization: Bearer {self._client.token}\r\n"
        requests = (
            request(
                method,
                self._client.path(path),
                None if body is None else json.dumps(body),
                header,
            )
            for path, body in calls
        )
        self._client.tally.calls["fill"] += send_all(self._client.port, requests)

    def actors(self) -> Sequence[Actor]:
        """Return what they do."""
        return [Actor("report calls", 2, self._report)]

    async def _report(self) -> None:
        """Report calls of services that are new to the registry, and of others."""
        self._client.tally.calls["reported"] += 40
        body = self._calls(40)
        await self._client.call("track", "POST", "/api/track/invocations", body)

    def _calls(self, count: int) -> dict[str, object]:
        return {"invocations": [self._call() for _ in range(count)]}

    def _call(self) -> dict[str, object]:
        number = self._rng.randrange(self.count)
        consumer = stable_id(self._rng.randrange(self.count))
        if self._rng.random() < 0.75:
            self._consumers += 1
            consumer = f"soak-consumer-{self._consumers}"
        return {
            "consumer_id": consumer,
            "provider_id": stable_id(number),
            "capability": work(number),
            "success": self._rng.random() < 0.9,
            "latency_ms": self._rng.expovariate(0.1),
        }

    def _passing(self, number: int) -> dict[str, object]:
        """Return a registration with a name, a place and a capability of its own."""
        service_id = f"soak-fill-{number}"
        return {
            **self._providers.fields(service_id, 0),
            "id": service_id,
            "name": f"Fill {number}",
            "capabilities": [f"soak.only-{service_id}"],
            "health": {"enabled": False},
            "checks": [],
            "metadata": {"blob": "x" * (500 + number % 2_000)},
        }
