"""Made systems for the call graph: services in tiers that call those below them."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from e2e.dashboard.browser import RegistryProcess
from support.registry import registration

# From those that users call to those that keep data.
TIERS = (
    ("web", "mobile-gateway", "partner-api", "admin"),
    (
        *("accounts", "basket", "browse", "checkout", "orders", "profile"),
        *("reviews", "search", "support", "wishlist"),
    ),
    (
        *("catalogue", "discounts", "fraud", "geocoder", "inventory", "invoices"),
        *("loyalty", "payments", "pricing", "recommender", "returns", "shipping"),
        *("tax", "warehouse"),
    ),
    ("documents", "emails", "exports", "images", "ledger", "sessions", "sms", "queue"),
    ("archive", "audit-log", "feature-flags", "secrets"),
)
TIER_NAMES = ("edge", "journey", "domain", "support", "platform")
MAX_REPORT = 1_000  # invocations in a call

Calls = tuple[str, str, int, int, float]


@dataclass(frozen=True, slots=True)
class System:
    """A made system.

    ``services`` are id, name and tier; ``calls`` are consumer, provider, the number of
    calls, of errors among them, and the latency.
    """

    seed: int
    services: tuple[tuple[str, str, int], ...]
    calls: tuple[Calls, ...]
    unhealthy: tuple[str, ...]

    @property
    def names(self) -> dict[str, str]:
        """The name of each id."""
        return {service_id: name for service_id, name, _ in self.services}

    @property
    def pairs(self) -> set[tuple[str, str]]:
        """The pairs of names of which one calls the other."""
        names = self.names
        return {
            (names[consumer], names[provider]) for consumer, provider, *_ in self.calls
        }


def forty(seed: int = 40) -> System:
    """Return 40 services of as many names, with 150 edges."""
    chance = random.Random(seed)
    names = _names(TIERS)
    edges = list(itertools.islice(_pairs(names, chance), 150))
    services = [(name, name) for name in names]
    return _system(seed, services, names, edges, errors=3, unhealthy=2, size=4)


def five_hundred(seed: int = 500) -> System:
    """Return 500 instances of 40 names, with some 2,000 edges."""
    chance = random.Random(seed)
    names = _names(TIERS)
    instances = {name: [f"{name}-1"] for name in names}
    for name in chance.choices(list(names), k=500 - len(names)):
        instances[name].append(f"{name}-{len(instances[name]) + 1}")
    edges = {
        (chance.choice(instances[caller]), chance.choice(instances[provider]))
        for caller, provider in itertools.islice(_pairs(names, chance), 150)
        for _ in range(14)
    }
    services = [(each, name) for name in instances for each in instances[name]]
    return _system(seed, services, names, sorted(edges), errors=6, unhealthy=4)


def five_hundred_names(seed: int = 501) -> System:
    """Return 500 services of as many names, with 1,500 edges."""
    chance = random.Random(seed)
    tiers = [[f"{name}-{n:02}" for n in range(13) for name in tier] for tier in TIERS]
    names = dict(itertools.islice(_names(tiers).items(), 500))
    edges = list(itertools.islice(_pairs(names, chance), 1_500))
    services = [(name, name) for name in names]
    return _system(seed, services, names, edges, errors=5, unhealthy=4)


def _names(tiers: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return the tier of each name."""
    return {name: tier for tier, names in enumerate(tiers) for name in names}


def _pairs(tier_of: dict[str, int], chance: random.Random) -> Iterator[tuple[str, str]]:
    """Yield distinct pairs without end: each name twice, then mostly one tier down."""
    made: set[tuple[str, str]] = set()
    names = list(tier_of)
    uncalled = {name for name in names if tier_of[name] > 0}
    for caller in itertools.chain(names, names, iter(lambda: chance.choice(names), "")):
        down = chance.choices((1, 2, 0, -1), (74, 18, 6, 2))[0]
        below = [each for each in names if tier_of[each] == tier_of[caller] + down]
        # Each is called by somebody, and a few by many.
        first = [each for each in below if each in uncalled]
        popular = below[: max(1, len(below) // 4)]
        others = first or (popular if chance.random() < 0.4 else below)
        provider = chance.choice(others or [caller])
        if provider != caller and (caller, provider) not in made:
            made.add((caller, provider))
            uncalled.discard(provider)
            yield caller, provider


def _system(
    seed: int,
    services: list[tuple[str, str]],
    tier_of: dict[str, int],
    edges: list[tuple[str, str]],
    *,
    errors: int,
    unhealthy: int,
    size: float = 2.2,
) -> System:
    """Return a system; ``errors`` edges have some, ``size`` says how many calls."""
    chance = random.Random(seed)
    shares = dict(zip(chance.sample(edges, errors), itertools.cycle((0.3, 0.04))))
    calls = []
    for edge in edges:
        number = max(2, int(chance.lognormvariate(size, 1.4)))
        if edge in shares:
            number = max(25, number)
        latency = round(chance.uniform(2, 180), 1)
        calls.append((*edge, number, round(number * shares.get(edge, 0)), latency))
    made = [(each, name, tier_of[name]) for each, name in services]
    sick = chance.sample([each for each, _ in services], unhealthy)
    return System(seed, tuple(made), tuple(calls), tuple(sick))


def start(registry: RegistryProcess, system: System) -> None:
    """Register the system's services and report its calls."""
    print("seed of the made system:", system.seed)
    with requests.Session() as session:
        for service_id, name, tier in system.services:
            body = _registration(service_id, name, tier)
            _post(session, registry, "/api/register", body)
        for service_id in system.unhealthy:
            problem = {"status": "unhealthy", "note": "the disk is full"}
            _post(session, registry, f"/api/heartbeat/{service_id}", problem)
    report(registry, system.calls)


def report(registry: RegistryProcess, calls: Sequence[Calls]) -> None:
    """Report calls, as those of a `System`."""
    invocations = [each for call in calls for each in _invocations(*call)]
    with requests.Session() as session:
        for first in range(0, len(invocations), MAX_REPORT):
            batch = {"invocations": invocations[first : first + MAX_REPORT]}
            _post(session, registry, "/api/track/invocations", batch)


def _post(
    session: requests.Session, registry: RegistryProcess, path: str, body: Any
) -> None:
    reply = session.post(f"{registry.url}{path}", json=body, timeout=30)
    assert reply.ok, reply.text


def _registration(service_id: str, name: str, tier: int) -> dict[str, Any]:
    return registration(
        service_id,
        name=name,
        capabilities=[f"{TIER_NAMES[tier]}/{name[0]}", name],
        mode="standalone",
        location="somewhere",
    )


def _invocations(
    consumer: str, provider: str, number: int, errors: int, latency: float
) -> Iterator[dict[str, Any]]:
    for index in range(number):
        yield {
            "consumer_id": consumer,
            "provider_id": provider,
            "capability": provider.rstrip("-0123456789"),
            "success": index >= errors,
            "latency_ms": latency,
        }
