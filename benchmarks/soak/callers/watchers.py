"""Watchers who come, stay, go, resume, are cut off, or don't read."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Mapping, Sequence

import aiohttp

from benchmarks.soak.callers.calls import Client
from benchmarks.soak.callers.pace import Actor
from benchmarks.soak.callers.population import GROUPS, stable_id, work

STAYING = 15
SILENCE = 60.0
"""Seconds without a line after which a stream is dead: there is one every fifteen."""

QUERIES = (
    *("", "", "?capability=soak.churn-1&capability=soak.churn-2"),
    *("?service=soak-crew-1",),
    *("?type=service.registered&type=service.unregistered", "?capability=soak.leased"),
)
STREAM = aiohttp.ClientTimeout(total=None, sock_read=SILENCE)
SLOW_SECONDS = 20.0, 90.0


class Watchers:
    """Streams and waiting reads of one client."""

    def __init__(self, client: Client, admin: Client, rng: random.Random) -> None:
        self._client = client
        self._admin = admin
        self._rng = rng
        self._revoked = 0

    def actors(self) -> Sequence[Actor]:
        """Return what they do."""
        return [
            Actor("stay", 2, self._stay, STAYING),
            Actor("come and go", 1, self._visit, 20),
            Actor("resume", 0.2, self._resume, 5),
            Actor("wait", 1, self._wait, 15),
            Actor("wait, cut off", 0.5, self._give_up, 5),
            Actor("read slowly", 0.1, self._read_nothing, 8),
            Actor("watch, revoked", 0.1, self._lose_token, 3),
        ]

    async def _stay(self) -> None:
        """Follow for ever; the stream may end only after it said what is missing."""
        last, kind = "", ""
        while True:
            query, headers = self._rng.choice(QUERIES), self._client.headers()
            async for event in self._follow(query, last, headers):
                last, kind = event.get("id", last), event.get("event", kind)
            # It ends as well when the grace of a former token is over.
            if kind != "resync" and headers == self._client.headers():
                self._client.tally.fault("a stream has ended by itself")

    async def _visit(self) -> None:
        """Follow for some seconds, and leave in order or not."""
        query = self._rng.choice(QUERIES)
        await self._some(query, "", self._rng.uniform(2, 15))

    async def _resume(self) -> None:
        """Follow, go, and come back for what was missed: it must all be there."""
        last = (await self._some("", "", 3))[-1].get("id", "")
        await asyncio.sleep(self._rng.uniform(1, 10))
        events = await self._some("", last, 3)
        if any(event.get("event") == "resync" for event in events):
            self._client.tally.fault(f"events after {last} are missing")

    async def _some(
        self, query: str, last: str, seconds: float
    ) -> list[Mapping[str, str]]:
        """Return the events of so many seconds; the first says where they begin."""
        events: list[Mapping[str, str]] = []
        try:
            async with asyncio.timeout(seconds) as limit:
                stream = self._follow(query, last, self._client.headers())
                async for event in stream:
                    events.append(event)
        except TimeoutError:
            if not limit.expired():
                raise
        return events or [{}]

    async def _follow(
        self, query: str, last: str, headers: Mapping[str, str]
    ) -> AsyncIterator[Mapping[str, str]]:
        """Yield events with their fields; raises when there is no line for too long."""
        client = self._client
        client.tally.calls["stream"] += 1
        asked = {**headers, **({"Last-Event-ID": last} if last else {})}
        path = client.path(f"/api/events{query}")
        async with client.session.get(path, headers=asked, timeout=STREAM) as reply:
            if reply.status != 200:
                client.tally.fault(f"a stream was refused with {reply.status}")
                return
            fields: dict[str, str] = {}
            async for line in reply.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif fields:
                    client.tally.calls["event"] += 1
                    if "data" in fields:
                        json.loads(fields["data"])
                    yield fields
                    fields = {}

    def _waiting(self) -> str:
        name = work(self._rng.randrange(GROUPS))
        return self._rng.choice((
            "/api/services", "/api/services?capability=soak.churn-3",
            "/api/capabilities", f"/api/capabilities/{name}/services",
            f"/api/services?name={stable_id(1)}",
        ))  # fmt: skip

    async def _wait(self) -> None:
        """Read a list, and again when it has changed."""
        path = self._waiting()
        joint = "&" if "?" in path else "?"
        first = await self._client.call("wait", "GET", f"{path}{joint}limit=1")
        revision = first.headers["X-Registry-Revision"]
        seconds = self._rng.uniform(1, 15)
        query = f"{joint}limit=1&wait={seconds:.1f}&revision={revision}"
        await self._client.call("wait", "GET", path + query)

    async def _give_up(self) -> None:
        """Wait for what never changes, and cut the connection."""
        path = "/api/services?name=nobody&wait=60&revision="
        reply = await self._client.call("wait", "GET", "/api/services?limit=1")
        path += reply.headers["X-Registry-Revision"]
        try:
            async with asyncio.timeout(self._rng.uniform(0.5, 5)) as limit:
                await self._client.call("wait, cut off", "GET", path)
        except TimeoutError:
            if not limit.expired():
                raise

    async def _read_nothing(self) -> None:
        """Open a stream of everything, and read none of it."""
        self._client.tally.calls["slow stream"] += 1
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sock.bind((self._client.address, 0))
            await loop.sock_connect(sock, ("127.0.0.1", self._client.port))
            head = f"GET {self._client.path('/api/events')} HTTP/1.1\r\nHost: a\r\n"
            head += f"Authorization: Bearer {self._client.token}\r\n\r\n"
            await loop.sock_sendall(sock, head.encode())
            await asyncio.sleep(self._rng.uniform(*SLOW_SECONDS))

    async def _lose_token(self) -> None:
        """Follow with a token that is revoked: that must end the stream."""
        self._revoked += 1
        name = f"watching-{self._revoked}"
        body = {"name": name, "rights": ["read"]}
        reply = await self._admin.call("token", "POST", "/api/tokens", body, (201,))
        headers = {"Authorization": f"Bearer {reply.json()['token']}"}
        stream = self._follow("", "", headers)
        await anext(stream)
        await self._admin.call("token", "DELETE", f"/api/tokens/{name}")
        try:
            async with asyncio.timeout(SILENCE):
                async for _ in stream:
                    pass
        except TimeoutError:
            self._client.tally.fault(f"the stream of {name} goes on, though revoked")
