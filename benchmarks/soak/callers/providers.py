"""Providers that the registry checks: most are well, some fail and recover."""

import random
from collections.abc import Sequence

from aiohttp import web

from benchmarks.soak.callers.calls import Client
from benchmarks.soak.callers.pace import Actor, becomes

# Several hosts, or the registry would take the failure of a few for its own.
HOSTS = tuple(f"127.0.1.{number}" for number in range(1, 7))
FLAKY = 8
NOTICE = 120.0
"""Seconds until a failure, or its end, must have been noticed: it takes ten."""

ANSWERS = {
    "unhealthy": (503, {"status": "unhealthy", "reason": "the disk is full"}),
    "warning": (200, {"status": "warning", "reason": "the queue is long"}),
}


class Providers:
    """One server for the checks of all, at every address of `HOSTS`."""

    def __init__(self, client: Client, rng: random.Random) -> None:
        self.port = 0
        self._client = client
        self._rng = rng
        self._failing: dict[str, str] = {}
        self._flaky = [f"soak-flaky-{number}" for number in range(FLAKY)]

    async def start(self) -> None:
        """Listen at a port that is free on all hosts."""
        application = web.Application()
        application.router.add_get("/{id}/{rest:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        for host in HOSTS:
            site = web.TCPSite(self._runner, host, self.port)
            await site.start()
            self.port = self.port or self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close everything."""
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        state = self._failing.get(request.match_info["id"])
        status, body = ANSWERS.get(state or "", (200, {"status": "healthy"}))
        return web.json_response(body, status=status)

    def fields(self, service_id: str, number: int) -> dict[str, object]:
        """Return where a service is, for its registration: by HTTP, some by TCP."""
        place = f"{HOSTS[number % len(HOSTS)]}:{self.port}"
        if number % 4 == 3:
            return {"mode": "tcp", "location": f"tcp://{place}"}
        return {
            "mode": "http",
            "location": f"http://{place}/{service_id}",
            "checks": [
                {"name": "db", "kind": "http", "path": "/db", "interval": 10},
                {"name": "port", "kind": "tcp", "critical": False, "interval": 10},
            ],
        }

    async def register(self) -> None:
        """Register those that fail now and then."""
        for number, service_id in enumerate(self._flaky):
            body = {
                "id": service_id,
                "name": "Flaky",
                "capabilities": ["soak.flaky"],
                "health": {"interval": 2, "timeout": 5},
                **self.fields(service_id, 4 * number),
            }
            await self._client.call(
                "register", "POST", "/api/register", body, expect=(201,)
            )

    def actors(self) -> Sequence[Actor]:
        """Return what they do."""
        return [Actor("fail and recover", 0.2, self._fail, 4)]

    async def _fail(self) -> None:
        """Fail, or warn, until the registry shows it; then recover."""
        if not self._flaky:
            return
        service_id = self._flaky.pop(self._rng.randrange(len(self._flaky)))
        state = self._rng.choice(list(ANSWERS))
        try:
            self._failing[service_id] = state
            await self._shows(service_id, state)
            del self._failing[service_id]
            await self._shows(service_id, "healthy")
        finally:
            self._failing.pop(service_id, None)
            self._flaky.append(service_id)

    async def _shows(self, service_id: str, status: str) -> None:
        async def shown() -> bool:
            reply = await self._client.call(
                "status", "GET", f"/api/services/{service_id}"
            )
            return bool(reply.json()["status"] == status)

        if not await becomes(shown, NOTICE):
            text = f"{service_id} was not {status} within {NOTICE:.0f} s"
            self._client.tally.fault(text)
