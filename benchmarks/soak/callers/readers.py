"""Lookups, lists, pages, DNS, and whatever else is read."""

import random
from collections.abc import Sequence

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode

from benchmarks.soak.callers.calls import Client
from benchmarks.soak.callers.pace import Actor
from benchmarks.soak.callers.population import GROUPS, SERVICES, ZONES, stable_id, work

LOOKUPS = (
    *("", "?strategy=random", "?strategy=weighted", "?prefer_healthy=false"),
    *("?near=eu-1a", "?near=us-1/us-1a", "?metadata.runtime=go", "?mode=standalone"),
    *("?version=>=1,<3", "?version=2.0.1"),
)
PAGES = (
    *("/health", "/ready", "/openapi.json", "/", "/api/whoami", "/api/namespaces"),
    *("/api/stats", "/api/splits", "/api/sd/prometheus"),
    "/api/graph?capability=soak.work-1",
)
DNS_TRIES = 3
DNS_SECONDS = 10.0


class Readers:
    """Clients who ask what is there. What is asked for by name is always there."""

    def __init__(self, client: Client, dns_port: int, rng: random.Random) -> None:
        self._client = client
        self._dns_port = dns_port
        self._rng = rng
        self._strangers = 0

    async def fill(self, count: int) -> None:
        """Ask DNS for so many names that nobody has: their answers are kept."""
        for _ in range(count):
            await self._ask_for_stranger()

    def actors(self) -> Sequence[Actor]:
        """Return what they do."""
        return [
            Actor("look up", 60, self._look_up, 8),
            Actor("list", 2, self._list, 2),
            Actor("turn pages", 0.1, self._turn_pages),
            Actor("discover", 1, self._discover, 2),
            Actor("read", 2, self._read, 2),
            Actor("scrape", 0.2, self._scrape),
            Actor("ask DNS", 10, self._ask, 4),
        ]

    async def _get(self, kind: str, path: str) -> None:
        await self._client.call(kind, "GET", path)

    def _work(self) -> str:
        return work(self._rng.randrange(GROUPS))

    async def _look_up(self) -> None:
        path = f"/api/capabilities/{self._work()}"
        if self._rng.random() < 0.5:
            # Each makes a head that has not come before: these are remembered.
            key = self._rng.getrandbits(48)
            await self._get("lookup", f"{path}?strategy=hash&key=user-{key}")
        elif self._rng.random() < 0.1:
            headers = {"X-Zone": self._rng.choice(ZONES)[1], "Connection": "close"}
            await self._client.call("lookup", "GET", path, headers=headers)
        else:
            await self._get("lookup", path + self._rng.choice(LOOKUPS))

    async def _list(self) -> None:
        name = self._work()
        path = self._rng.choice((
            f"/api/capabilities/{name}/services", f"/api/capabilities/{name}/explain",
            "/api/capabilities?limit=100", "/api/services?status=active&limit=50",
            "/api/services?zone=eu-1a&limit=20", f"/api/services?capability={name}",
        ))  # fmt: skip
        reply = await self._client.call("list", "GET", path)
        unchanged = {"If-None-Match": reply.headers["ETag"]}
        await self._client.call("list", "GET", path, None, (200, 304), unchanged)

    async def _turn_pages(self) -> None:
        """Read all services page by page: each that stays must be there once."""
        path, cursor = "/api/services?capability=soak.all&limit=50", ""
        ids: list[str] = []
        while True:
            reply = await self._client.call("list", "GET", path + cursor)
            page = reply.json()
            ids += [service["id"] for service in page["services"]]
            if page.get("next") is None:
                break
            cursor = f"&cursor={page['next']}"
        if len(ids) != SERVICES or len(set(ids)) != SERVICES:
            text = f"the pages have {len(ids)} of {SERVICES} services"
            self._client.tally.fault(text)

    async def _discover(self) -> None:
        body = {"capabilities": ["soak.all"], "optional": [self._work()]}
        await self._client.call("discover", "POST", "/api/discover", body)

    async def _read(self) -> None:
        service_id = stable_id(self._rng.randrange(SERVICES))
        path = self._rng.choice((
            f"/api/services/{service_id}", f"/api/services/{service_id}/history",
            f"/api/connections/{service_id}", *PAGES,
        ))  # fmt: skip
        await self._get("read", path)

    async def _scrape(self) -> None:
        await self._get("scrape", "/metrics")

    async def _ask(self) -> None:
        """Ask for a capability, a service, or a name that nobody has."""
        if self._rng.random() < 0.2:
            await self._ask_for_stranger()
        elif self._rng.random() < 0.3:
            service_id = stable_id(self._rng.randrange(SERVICES))
            await self._ask_for(f"{service_id}.service", dns.rcode.NOERROR)
        else:
            await self._ask_for(f"{self._work()}.capability", dns.rcode.NOERROR)

    async def _ask_for_stranger(self) -> None:
        self._strangers += 1
        name = f"stranger-{self._strangers}.capability"
        await self._ask_for(name, dns.rcode.NXDOMAIN)

    async def _ask_for(self, name: str, expected: dns.rcode.Rcode) -> None:
        kind = self._rng.choice(("SRV", "A", "TXT"))
        query = dns.message.make_query(f"{name}.modularity", kind)
        reply = await self._exchange(query, by_tcp=self._rng.random() < 0.2)
        if reply is None:
            self._client.tally.fault(f"DNS: no answer for {name}")
        elif reply.rcode() != expected:
            text = f"DNS: {dns.rcode.to_text(reply.rcode())} for {name} {kind}"
            self._client.tally.fault(text)

    async def _exchange(
        self, query: dns.message.Message, by_tcp: bool
    ) -> dns.message.Message | None:
        ask = dns.asyncquery.tcp if by_tcp else dns.asyncquery.udp
        for _ in range(DNS_TRIES):  # datagrams may be lost
            self._client.tally.calls["DNS"] += 1
            try:
                return await ask(query, "127.0.0.1", DNS_SECONDS, self._dns_port)
            except dns.exception.Timeout:
                continue
        return None
