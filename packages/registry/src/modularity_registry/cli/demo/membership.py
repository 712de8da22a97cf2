"""The registrations of the demo's services, which last as long as the demo does."""

import asyncio
import secrets
from collections.abc import Sequence

from modularity_client import AsyncRegistry, RegistryError
from modularity_client.errors import NotFound, NotRegistered, RevisionMismatch
from modularity_registry.cli.demo.caller import PASSING
from modularity_registry.cli.demo.service import ShopService

TTL = 6.0
"""Seconds of the lease: killed, the services are gone after ten of these."""


class Members:
    """Registers the services as new ones, renews their leases, unregisters them.

    What others have registered it neither replaces nor unregisters.
    """

    def __init__(self, registry: AsyncRegistry, services: Sequence[ShopService]):
        self._registry = registry
        self._services = services
        self._instance = f"demo-{secrets.token_hex(6)}"
        self._ids: set[str] = set()

    async def register(self) -> None:
        """Register all; raises `RevisionMismatch` for an id that exists already."""
        for service in self._services:
            await self._register(service)

    async def renew(self) -> None:
        """Send a heartbeat for each; register again what the registry has forgotten."""
        await asyncio.gather(*map(self._renew, self._services))

    async def unregister(self) -> int:
        """Unregister all that it registered; return how many it could not."""
        done = await asyncio.gather(*map(self._unregister, sorted(self._ids)))
        return done.count(False)

    async def _register(self, service: ShopService) -> None:
        planned = service.planned
        # Before the call: if the reply is lost, it may be registered.
        self._ids.add(planned.id)
        try:
            await self._registry.put(
                only_new=True,
                id=planned.id,
                name=planned.role.name.capitalize(),
                capabilities=[planned.role.capability],
                location=service.location,
                metadata={"demo": True, "runtime": "python"},
                ttl=TTL,
                instance=self._instance,
            )
        except RevisionMismatch:
            self._ids.discard(planned.id)
            raise

    async def _renew(self, service: ShopService) -> None:
        try:
            await self._registry.heartbeat(service.planned.id)
        except NotRegistered:
            try:
                await self._register(service)
            except (RevisionMismatch, *PASSING):
                return  # another took the id, or the next round tries again
        except PASSING:
            return

    async def _unregister(self, service_id: str) -> bool:
        try:
            await self._registry.unregister(service_id, instance=self._instance)
        except NotFound:
            return True
        except RegistryError:
            return False
        return True
