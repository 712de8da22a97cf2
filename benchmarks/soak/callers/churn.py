"""Services and instances that come and go, are replaced and drained."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.soak.callers.calls import Client
from benchmarks.soak.callers.pace import Actor
from benchmarks.soak.callers.population import ZONES
from benchmarks.soak.callers.providers import Providers

MOST = 60
"""So many are registered at once."""

CREWS = 8
"""Services of several instances, each with at most `INSTANCES`."""

INSTANCES = 5
SHARED = 20


class Churn:
    """New ids all the time, in one namespace."""

    def __init__(
        self, client: Client, providers: Providers, rng: random.Random, rate: float
    ) -> None:
        self._client = client
        self._providers = providers
        self._rng = rng
        self._rate = rate
        self._number = 0
        self._present: list[str] = []
        self._busy: set[str] = set()
        self._crews: dict[str, list[str]] = {}
        self._free = [f"soak-crew-{number}" for number in range(CREWS)]

    def actors(self) -> Sequence[Actor]:
        """Return what they do."""
        name = self._client.namespace
        return [
            Actor(f"{name} come", self._rate, self._come, 4),
            Actor(f"{name} replace", self._rate / 2, self._replace, 4),
            Actor(f"{name} drain", self._rate / 10, self._drain, 2),
            Actor(f"{name} crews", self._rate / 4, self._crew, 2),
        ]

    async def _come(self) -> None:
        """Register one, and let one leave when there are enough."""
        self._number += 1
        service_id = f"soak-churn-{self._number}"
        body = self._body(service_id)
        path = self._rng.choice(("/api/register", f"/api/services/{service_id}"))
        method = "POST" if path == "/api/register" else "PUT"
        await self._client.call("register", method, path, body, (201,))
        self._present.append(service_id)
        if len(self._present) > MOST:
            await self._leave()

    async def _leave(self) -> None:
        with self._taken() as service_id:
            if service_id is None:
                return
            path = f"/api/services/{service_id}"
            if self._rng.random() < 0.3:
                await self._client.call("drain", "PUT", f"{path}/drain")
            other = f"/api/unregister/{service_id}"
            await self._client.call(
                "unregister", "DELETE", self._rng.choice((path, other))
            )
            await self._client.call("read", "GET", path, expect=(404,))
            self._present.remove(service_id)

    async def _replace(self) -> None:
        with self._taken() as service_id:
            if service_id is None:
                return
            path = f"/api/services/{service_id}"
            reply = await self._client.call("read", "GET", path)
            condition = {"If-Match": f'"{reply.json()["revision"]}"'}
            if self._rng.random() < 0.7:
                condition = {}
            body = self._body(service_id)
            # A verdict on its health may have come in between.
            expect = (200, 412) if condition else (200,)
            await self._client.call("replace", "PUT", path, body, expect, condition)

    async def _drain(self) -> None:
        with self._taken() as service_id:
            if service_id is None:
                return
            path = f"/api/services/{service_id}"
            reason = {"reason": "an upgrade"}
            await self._client.call("drain", "PUT", f"{path}/drain", reason)
            reply = await self._client.call("read", "GET", path)
            if reply.json()["status"] != "draining":
                self._client.tally.fault(f"{service_id} does not drain")
            await self._client.call("drain", "DELETE", f"{path}/drain")

    async def _crew(self) -> None:
        """Let an instance of a service come, or go."""
        if not self._free:
            return
        service_id = self._free.pop(self._rng.randrange(len(self._free)))
        instances = self._crews.setdefault(service_id, [])
        try:
            if len(instances) < self._rng.randint(0, INSTANCES):
                self._number += 1
                instance = f"instance-{self._number}"
                body = self._body(service_id, 0) | {"instance": instance}
                expect = (200,) if instances else (201,)
                await self._client.call("join", "POST", "/api/register", body, expect)
                instances.append(instance)
            elif instances:
                instance = instances.pop(self._rng.randrange(len(instances)))
                path = f"/api/services/{service_id}?instance={instance}"
                reply = await self._client.call("leave", "DELETE", path)
                status = "left" if instances else "unregistered"
                if reply.json()["status"] != status:
                    self._client.tally.fault(f"{instance} has not {status}")
        finally:
            self._free.append(service_id)

    @contextmanager
    def _taken(self) -> Iterator[str | None]:
        """Yield one that nobody else does anything with meanwhile."""
        free = [one for one in self._present if one not in self._busy]
        if not free:
            yield None
            return
        service_id = self._rng.choice(free)
        self._busy.add(service_id)
        try:
            yield service_id
        finally:
            self._busy.discard(service_id)

    def _body(self, service_id: str, size: int | None = None) -> dict[str, object]:
        region, zone = self._rng.choice(ZONES)
        length = self._rng.randint(500, 2_500) if size is None else size
        place: dict[str, object] = {"mode": "standalone", "location": service_id}
        if size is None and self._rng.random() < 0.3:
            place = self._providers.fields(service_id, self._rng.randrange(24))
        return {
            "id": service_id,
            "name": f"Churn {service_id}",
            "version": f"1.{self._rng.randrange(50)}.{self._rng.randrange(50)}",
            "capabilities": [
                f"soak.only-{service_id}", f"soak.churn-{self._rng.randrange(SHARED)}"
            ],
            "region": region,
            "zone": zone,
            "metadata": {"runtime": "python", "blob": "x" * length},
            **place,
        }  # fmt: skip
