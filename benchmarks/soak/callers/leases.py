"""Leases that are renewed, leases that lapse, and what services report themselves."""

import asyncio
import random
from collections.abc import Sequence

from benchmarks.soak.callers.calls import Client
from benchmarks.soak.callers.pace import Actor, becomes

RENEWED = 30
REPORTING = 5
TTL = 60.0
BRIEF = 1.0
GONE = 120.0
"""Seconds within which a lease of `BRIEF` must have ended: it takes about twenty."""


class Leases:
    """Services with a ``ttl``. Those that are renewed never end."""

    def __init__(self, client: Client, rng: random.Random) -> None:
        self._client = client
        self._rng = rng
        self._renewed = [f"soak-lease-{number}" for number in range(RENEWED)]
        self._reporting = [f"soak-report-{number}" for number in range(REPORTING)]
        self._next = 0
        self._lapsed = 0

    async def register(self) -> None:
        """Register those that are renewed."""
        for service_id in (*self._renewed, *self._reporting):
            body = _body(service_id, TTL)
            body["checks"] = [{"name": "jobs", "kind": "ttl", "ttl": 10 * TTL}]
            await self._client.call("register", "POST", "/api/register", body, (201,))

    def actors(self) -> Sequence[Actor]:
        """Return what they do; each lease is renewed about every five seconds."""
        everybody = RENEWED + REPORTING
        return [
            Actor("renew", everybody / 5, self._renew, 8),
            Actor("report", 0.5, self._report, REPORTING),
            Actor("lapse", 0.3, self._lapse, 40),
        ]

    async def _renew(self) -> None:
        """Renew the lease whose turn it is, and report its check now and then."""
        everybody = self._renewed + self._reporting
        self._next = (self._next + 1) % len(everybody)
        service_id = everybody[self._next]
        path = f"/api/services/{service_id}/checks/jobs"
        if self._rng.random() < 0.3:
            await self._client.call("report", "POST", path, {"note": "all done"})
        # Not those that report: one may have said meanwhile that it is unwell.
        if service_id in self._renewed:
            await self._client.call("renew", "POST", f"/api/heartbeat/{service_id}")

    async def _report(self) -> None:
        """Report a fault or a warning, and then that all is well."""
        if not self._reporting:
            return
        service_id = self._reporting.pop(0)
        path = f"/api/services/{service_id}"
        try:
            for status in (self._rng.choice(("unhealthy", "warning")), "healthy"):
                body = {"status": status, "note": "said by itself"}
                await self._client.call("renew", "POST", f"{path}/heartbeat", body)
                reply = await self._client.call("read", "GET", path)
                if reply.json()["status"] != status:
                    text = f"{service_id} is not {status} as it said"
                    self._client.tally.fault(text)
        finally:
            self._reporting.append(service_id)

    async def _lapse(self) -> None:
        """Register a service that is not heard of again, until it is gone."""
        self._lapsed += 1
        service_id = f"soak-lapse-{self._lapsed}"
        body = _body(service_id, BRIEF)
        await self._client.call("register", "POST", "/api/register", body, (201,))
        await asyncio.sleep(5 * BRIEF)

        async def gone() -> bool:
            reply = await self._client.call(
                "read", "GET", f"/api/services/{service_id}", expect=(200, 404)
            )
            return reply.status == 404

        if not await becomes(gone, GONE, pause=3.0):
            text = f"{service_id} was there {GONE:.0f} s after its lease had begun"
            self._client.tally.fault(text)


def _body(service_id: str, ttl: float) -> dict[str, object]:
    return {
        "id": service_id,
        "name": f"Leased {service_id}",
        "capabilities": ["soak.leased", f"soak.only-{service_id}"],
        "mode": "standalone",
        "location": "worker 7",
        "ttl": ttl,
    }
