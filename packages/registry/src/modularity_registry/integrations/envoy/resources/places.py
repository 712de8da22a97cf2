"""Where a provider listens, as Envoy needs it: an address, never a name alone."""

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from modularity_registry import tasks
from modularity_registry.catalog import documents
from modularity_registry.catalog.entry import Entry
from modularity_registry.errors import AddressRefused
from modularity_registry.model.location import InvalidLocation, Location
from modularity_registry.model.service import CHECKED_MODES
from modularity_registry.model.sidecar import MTLS
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.name_lookup import NameLookup, NameNotResolved

log = logging.getLogger(__name__)

LOOK_AGAIN: Final = 30.0
"""Seconds between two lookups of a host name."""

MOST_NAMES: Final = 10_000
"""So many host names are looked up again and again; providers at more are left out."""

AT_ONCE: Final = 8
"""Names that are looked up side by side: one that has no answer takes seconds."""

MOST_ADDRESSES: Final = 8
"""Of one host name."""


_HASHED: Final = "capability-"
# No address, and nothing that programs write in another way.
_HOST: Final = re.compile(
    rf"(?!{_HASHED}|.*\.(\.|$))[A-Za-z0-9._-]*[A-Za-z_-][A-Za-z0-9._-]*"
)


class Destination(NamedTuple):
    """Where a provider is registered, and how much it takes.

    ``mtls`` says that it takes calls by mutual TLS alone.
    """

    location: Location
    weight: int
    mtls: bool = False


class _Metadata(msgspec.Struct):
    mesh: Any = None


_metadata: Final = msgspec.json.Decoder(_Metadata).decode


def server_name(capability: str) -> str:
    """Return by which name the providers of a capability show that they provide it.

    It can stand as a host, and no two capabilities have the same.
    """
    if _HOST.fullmatch(capability):
        return capability
    return _HASHED + hashlib.sha256(capability.encode()).hexdigest()[:32]


@lru_cache(16_384)
def _target(service_id: str, document: bytes) -> Destination | None:
    registration = documents.decode(documents.key_of(service_id), document).registration
    try:
        location = registration.parsed_location
    except InvalidLocation:
        # Stored by another version, which accepted what this one refuses.
        return None
    mtls = _metadata(registration.metadata).mesh == MTLS
    return Destination(location, registration.weight, mtls)


def destination_of(entry: Entry) -> Destination | None:
    """Return where to send calls to a provider; None if there is no such place.

    A provider that others call within their own process has none.
    """
    if entry.mode not in CHECKED_MODES:
        return None
    return _target(entry.id, entry.document)


class HostNames:
    """The addresses of the host names of providers, looked up in the background.

    ``changed`` is called with a host's name when its addresses are others than before.
    A name that can't be looked up any more keeps the addresses that it had.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        lookup: NameLookup,
        changed: Callable[[str], None],
    ) -> None:
        self._policy = policy
        self._lookup = lookup
        self._changed = changed
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._locations: dict[str, Location] = {}
        self._new: list[str] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def want(self, location: Location) -> None:
        """Look the host of a location up, now and from time to time."""
        host = location.host
        if host not in self._locations and len(self._locations) < MOST_NAMES:
            self._locations[host] = location
            self._new.append(host)
            self._news.set()

    def forget(self, host: str) -> None:
        """Look a host up no more."""
        self._locations.pop(host, None)
        self._addresses.pop(host, None)

    def addresses(self, location: Location) -> tuple[str, ...]:
        """Return the host's addresses; none if they are not known, or not yet."""
        if location.address is not None:
            return (location.host,)
        return self._addresses.get(location.host, ())

    def start(self) -> None:
        """Look names up from now on."""
        self._task = tasks.start("envoy-host-names", self._run())

    async def stop(self) -> None:
        """Look nothing up any more. Idempotent."""
        task, self._task = self._task, None
        await tasks.cancel(task)

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_AGAIN):
                    await self._news.wait()
            except TimeoutError:
                await self._look_up(list(self._locations))
                continue
            self._news.clear()
            hosts, self._new = self._new, []
            await self._look_up(hosts)

    async def _look_up(self, hosts: list[str]) -> None:
        slots = asyncio.Semaphore(AT_ONCE)

        async def look_up(host: str) -> None:
            async with slots:
                await self._look_up_one(host)

        await asyncio.gather(*map(look_up, hosts))

    async def _look_up_one(self, host: str) -> None:
        location = self._locations.get(host)
        if location is None:
            return
        try:
            found = await self._lookup.addresses(location)
            self._policy.check_addresses(found, caller_is_local=True)
        except NameNotResolved as error:
            log.debug("Envoy is not told of %s: %s", host, error.detail)
            return
        except AddressRefused as error:
            log.warning("Envoy is not told of %s: %s", host, error.detail)
            found = ()
        if host in self._locations:
            self._keep(host, tuple(found[:MOST_ADDRESSES]))

    def _keep(self, host: str, addresses: tuple[str, ...]) -> None:
        before = self._addresses.get(host, ())
        if set(addresses) != set(before):
            self._addresses[host] = addresses
            self._changed(host)
