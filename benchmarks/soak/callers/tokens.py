"""Tokens that are made, rotated and revoked, also while they are in use."""

import asyncio
import random
from collections.abc import Sequence

from benchmarks.soak.callers.calls import Client
from benchmarks.soak.callers.pace import Actor
from benchmarks.soak.callers.population import work

GRACE = 30
"""Seconds for which the former text of a rotated token works."""

RIGHTS = ["read", "register", "track"]


class Tokens:
    """What an admin does: tokens for others, and splits."""

    def __init__(self, admin: Client, rng: random.Random) -> None:
        self._admin = admin
        self._rng = rng
        self._holders: dict[str, Client] = {}
        self._number = 0

    async def create(self, name: str, holder: Client) -> None:
        """Create a token in the holder's namespace; its holder uses it from now on."""
        holder.token = self._admin.token  # until it has its own
        body = {"name": name, "rights": RIGHTS}
        reply = await holder.call("token", "POST", "/api/tokens", body, (201,))
        self._holders[name] = holder
        holder.token = reply.json()["token"]

    def actors(self) -> Sequence[Actor]:
        """Return what is done."""
        return [
            Actor("rotate tokens", 0.05, self._rotate),
            Actor("tokens come and go", 0.5, self._passing, 2),
            Actor("split", 0.2, self._split),
        ]

    async def _rotate(self) -> None:
        """Give a token that is in use a new text; the former works a while longer."""
        name = next(iter(self._holders))
        # Its turn comes again after all others: the former text must not be in use.
        self._holders[name] = self._holders.pop(name)
        holder = self._holders[name]
        reply = await self._admin.call(
            "token",
            "POST",
            holder.path(f"/api/tokens/{name}/rotate"),
            {"grace": GRACE},
        )
        holder.token = reply.json()["token"]
        await asyncio.sleep(GRACE)

    async def _passing(self) -> None:
        """Create a token, use it, rotate it at once, and revoke it."""
        self._number += 1
        name = f"passing-{self._number}"
        body = {"name": name, "rights": ["read"], "expires_in": 3_600}
        reply = await self._admin.call("token", "POST", "/api/tokens", body, (201,))
        await self._whoami(reply.json()["token"], 200)
        path = f"/api/tokens/{name}"
        rotated = await self._admin.call("token", "POST", f"{path}/rotate")
        await self._whoami(rotated.json()["token"], 200)
        await self._admin.call("token", "GET", "/api/tokens")
        await self._admin.call("token", "DELETE", path)
        if self._rng.random() < 0.2:
            await self._whoami(rotated.json()["token"], 401)

    async def _whoami(self, token: str, status: int) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        # Of an address that often sends bad ones, they are not even looked up.
        expect = (401, 429) if status == 401 else (status,)
        path = "/api/whoami"
        await self._admin.call("token", "GET", path, None, expect, headers)

    async def _split(self) -> None:
        """Split the calls of a capability, change that, and end it."""
        path = f"/api/capabilities/{work(self._rng.randrange(3))}/split"
        for share in (10, 50):
            body = {"v1": 100 - share, "v2": share}
            await self._admin.call("split", "PUT", path, body, (200, 201))
        await self._admin.call("split", "GET", path)
        await self._admin.call("split", "DELETE", path)
