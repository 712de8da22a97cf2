"""Which services the demo has, what each provides, and which it calls."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Final

ENTRANCE: Final = "demo.page"
"""The capability that visitors of the shop call."""

REASON: Final = "model file missing"
"""Why the service that flaps is unhealthy."""

WELL_FIRST, FAILING, PERIOD = 10.0, 15.0, 40.0
"""Seconds: until the first failure, that each lasts, and from one to the next."""


@dataclass(frozen=True, slots=True)
class Role:
    """What a service does: the chance that it needs each other capability in a call.

    Its own work takes ``seconds``.
    """

    name: str
    capability: str
    seconds: float
    needs: Mapping[str, float] = field(default_factory=dict)


# The prefix keeps callers of real services away from these, and these from real ones.
ROLES: Final = (
    Role("ranking", "demo.rank", 0.008, {"demo.search": 1}),
    Role("catalog", "demo.search", 0.004, {"demo.price": 1, "demo.stock": 1}),
    Role(
        "web",
        ENTRANCE,
        0.002,
        {"demo.search": 1, "demo.rank": 0.8, "demo.cart": 0.5, "demo.order": 0.2},
    ),
    Role("cart", "demo.cart", 0.002, {"demo.price": 1}),
    Role("prices", "demo.price", 0.001),
    Role("stock", "demo.stock", 0.003),
    Role(
        "checkout",
        "demo.order",
        0.005,
        {"demo.cart": 1, "demo.payment": 1, "demo.delivery": 1},
    ),
    Role("payments", "demo.payment", 0.03),
    Role("shipping", "demo.delivery", 0.01, {"demo.stock": 1, "demo.mail": 1}),
    Role("mail", "demo.mail", 0.005),
)
FEWEST, MOST = 3, 50


@dataclass(frozen=True, slots=True)
class Planned:
    """A service to start; ``flaps`` if it fails for a while, again and again."""

    id: str
    role: Role
    flaps: bool


def plan(count: int) -> list[Planned]:
    """Return ``count`` services: one of each role, then a second of each, and so on.

    The last service of the ranking flaps.
    """
    roles = list(islice(cycle(ROLES), count))
    total, numbers = Counter(role.name for role in roles), Counter[str]()
    planned = []
    for role in roles:
        numbers[role.name] += 1
        number = numbers[role.name]
        flaps = role is ROLES[0] and number == total[role.name]
        planned.append(Planned(f"demo-{role.name}-{number}", role, flaps))
    return planned


def is_failing(elapsed: float) -> bool:
    """Return whether the service that flaps fails, ``elapsed`` seconds after start."""
    return WELL_FIRST <= elapsed % PERIOD < WELL_FIRST + FAILING
