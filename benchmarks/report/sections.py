"""The sections of docs/benchmarks.md: what each measures, and how long that takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from benchmarks.harness.plan import Plan

# Seconds, about: of a service that is written to a store or to another system, that a
# registry reads at its start, that is registered over HTTP, or that is checked.
STORED, PUT, READ, REGISTERED, CHECKED = 90e-6, 200e-6, 60e-6, 300e-6, 330e-6
SYSTEMS = 6
"""In `growth`, at most."""

TURN = 0.7
"""Seconds of a turn beside its load: replies that are verified, and programs."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section: the row that has its figures, and the parts of the page with them.

    ``estimate`` returns the seconds that it takes, within a factor of two.
    """

    row: str
    parts: tuple[str, ...]
    estimate: Callable[[Plan], float]


def _growth(plan: Plan) -> float:
    most = max(plan.sizes)
    steps = [b - a for a, b in zip((0, *plan.sizes), plan.sizes, strict=False)]
    peers = sum(3 * PUT * n for n in steps if PUT * n < plan.fill_limit)
    starts = sum(
        (plan.repeats if size <= 100_000 else 1) * (1.5 + READ * size)
        for size in plan.sizes
    )
    turns = len(plan.sizes) * SYSTEMS * plan.repeats
    return STORED * most + peers + starts + turns * _turn(plan)


def _turn(plan: Plan) -> float:
    return plan.warmup + plan.seconds + TURN


def _saturation(plan: Plan) -> float:
    fill = 3 * PUT * plan.services + REGISTERED * plan.services + 10
    ceiling = 4 * (plan.seconds + TURN)
    closed = 4 * plan.repeats * (plan.warmup + TURN)
    offers = 4 * len(plan.load_shares) * plan.repeats * (plan.seconds + TURN)
    return fill + ceiling + closed + offers


def _fanout(plan: Plan) -> float:
    # A start, opening, five to twenty changes with their pauses, and slow systems.
    each = [6 + count / 1_500 for count in plan.fanouts]
    return 3 * plan.repeats * sum(each)


def _memory(plan: Plan) -> float:
    repeats = min(plan.repeats, 2)
    return repeats * (4 + plan.many_services * (REGISTERED + CHECKED))


def _checks(plan: Plan) -> float:
    fill = 10 + plan.checked_services * (REGISTERED + 2 * CHECKED)
    return 2 * (fill + plan.repeats * plan.seconds)


def _stores(plan: Plan) -> float:
    return 6 * (6 + plan.repeats * (2 * _turn(plan) + 2))


def _million(plan: Plan) -> float:
    # Two stores are filled and read, and a snapshot is written.
    passes = plan.million * (STORED + PUT + 2.5 * READ + STORED)
    return passes + 90 + 2 * plan.repeats * _turn(plan) + 4 * plan.repeats


SECTIONS: Mapping[str, Section] = MappingProxyType(
    {
        each.row: each
        for each in (
            Section("growth", ("lookups", "memory", "start"), _growth),
            Section("saturation", ("load",), _saturation),
            Section("fanout", ("watchers",), _fanout),
            Section("memory", ("checked memory",), _memory),
            Section("checks", ("checks",), _checks),
            Section("stores", ("stores",), _stores),
            Section("million", ("million",), _million),
        )
    }
)
