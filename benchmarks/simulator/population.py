"""The services that are simulated, as the registry keeps them."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

import msgspec

from benchmarks.harness import workload
from modularity_registry.model import rendezvous
from modularity_registry.model.service import Registration, Service

PER_HOST = 20
"""Services at one host."""

ZONES = 3

LEASED_EVERY = 10
"""One service in so many is not checked but has a lease."""

TTL = 30.0
"""Seconds of a lease; a heartbeat comes after a third of it."""

HEARTBEAT = TTL / 3


def host_of(number: int) -> int:
    """Return the host that a service runs at."""
    return number // PER_HOST


def zone_of(number: int) -> int:
    """Return the zone of a service's host: 0, 1 or 2."""
    return host_of(number) % ZONES


def is_leased(number: int) -> bool:
    """Say whether a service has a lease in place of checks."""
    return number % LEASED_EVERY == LEASED_EVERY - 1


def phase(service_id: str) -> float:
    """Return by how many seconds a service's heartbeats are shifted."""
    return int(service_id.rpartition("-")[2]) * 0.618 % HEARTBEAT


def service_id(number: int) -> str:
    """Return the id of a service."""
    return f"inst-{number:09d}"


def service(number: int, registered_at: datetime, leases: bool = True) -> Service:
    """Return a service as it is stored; without ``leases``, all are checked."""
    model = workload.service(number)
    leased = leases and is_leased(number)
    host = host_of(number)
    address = f"10.{host >> 16 & 255}.{host >> 8 & 255}.{host & 255}"
    registration = Registration(
        id=service_id(number),
        name=f"orders service {model.group}",
        version="1.4.2",
        capabilities=(model.capability, f"{model.capability}/batch"),
        location=f"http://{address}:{8000 + number % PER_HOST}",
        mode="standalone" if leased else "http",
        metadata=msgspec.Raw(msgspec.json.encode(model.metadata)),
        ttl=TTL if leased else None,
    )
    return Service(registration, registered_at, registered_at)


def replica_names(count: int) -> list[str]:
    """Return the ids of so many replicas."""
    return [f"box-{number:06x}" for number in range(count)]


class Ownership:
    """Who watches over whom, for one set of replicas after the other.

    `rendezvous.pick` decides. From one set to the next, only those that can move are
    picked again: the services of a replica that left, and, when some came, each service
    between its owner and them. That is the rule's own promise.
    """

    def __init__(self, count: int) -> None:
        self.ids = [service_id(number) for number in range(count)]
        self._alive: tuple[str, ...] = ()
        self._owners: list[str] = []
        self._views: dict[tuple[str, ...], list[str]] = {}

    def of(self, alive: Sequence[str]) -> list[str]:
        """Return the owner of each service, by number, among ``alive`` replicas."""
        key = tuple(sorted(alive))
        if key not in self._views:
            if len(self._views) > 3:
                self._views.pop(next(iter(self._views)))
            self._views[key] = self._moved(key)
            self._alive, self._owners = key, self._views[key]
        return self._views[key]

    def _moved(self, alive: tuple[str, ...]) -> list[str]:
        if not self._owners or not set(alive) & set(self._alive):
            candidates = [named(name) for name in alive]
            return [rendezvous.pick(key, candidates).id for key in self.ids]
        gone = frozenset(self._alive) - set(alive)
        come = [named(name) for name in sorted(set(alive) - set(self._alive))]
        everybody = [named(name) for name in alive]
        owners = []
        for key, owner in zip(self.ids, self._owners, strict=True):
            if owner in gone:
                owner = rendezvous.pick(key, everybody).id
            elif come:
                owner = rendezvous.pick(key, [named(owner), *come]).id
            owners.append(owner)
        return owners


@lru_cache(maxsize=1024)
def named(name: str) -> rendezvous.Named:
    """Return a replica as `rendezvous.pick` takes it."""
    return rendezvous.Named(name)
