"""Writes the tables of docs/scale.md, and draws its plots."""

from collections.abc import Sequence

from benchmarks.harness.paths import DOCS
from benchmarks.report.markdown import table
from benchmarks.report.rows import number
from benchmarks.simulator import costs, scenarios
from benchmarks.simulator.scenarios import Outcome
from benchmarks.simulator.simulation import Setup

PAGE = DOCS / "scale.md"
WATCHERS = 6_000
"""Streams that a replica has places for, unless more are set."""

CHECK_PLACES = 512


def scenario_table(outcomes: Sequence[Outcome]) -> str:
    """Return a row for each scenario."""
    head = (
        "scenario",
        "store writes/s (busiest second)",
        "death noticed p50 / p99 / max",
        "checks/s a replica",
        "core a replica",
        "changes to a replica/s",
        "events/s to its watchers",
    )
    return table(head, (_scenario_row(each) for each in outcomes))


def _scenario_row(each: Outcome) -> tuple[str, ...]:
    return (
        each.name,
        f"{number(each.writes)} ({number(each.peak_writes)})",
        noticed(each),
        number(each.checks),
        f"{each.core:.0%}",
        _bytes(each.bytes_in),
        f"{number(each.events)}, {_bytes(each.bytes_out)}",
    )


def noticed(each: Outcome) -> str:
    """Return the times until a death was noticed, for people."""
    times = [each.notice(share) for share in (0.5, 0.99, 1.0)]
    if any(time is None for time in times):
        return "not at this interval" if not each.seconds else "none"
    return " / ".join(f"{time:.1f}" for time in times if time is not None) + " s"


def growth_table(outcomes: Sequence[Outcome]) -> str:
    """Return a row for each size; a core above 100 % is how many would be needed."""
    head = (
        "services",
        "replicas",
        "checks/s a replica",
        "core a replica",
        "store writes/s",
        "death noticed p50 / p99 / max",
        "memory a replica",
        "shortest interval",
    )
    return table(head, (_growth_row(each) for each in outcomes))


def _growth_row(each: Outcome) -> tuple[str, ...]:
    return (
        f"{each.setup.services:,}",
        str(each.setup.replicas),
        number(each.checks),
        f"{each.core:.0%}",
        number(each.writes),
        noticed(each),
        _bytes(each.memory, ""),
        f"{shortest_interval(each.setup):.1f} s",
    )


def shortest_interval(setup: Setup) -> float:
    """Return the interval at which checks take 70 % of a replica's core, at least 1."""
    checks = setup.checks_each * setup.interval * setup.costs.check
    return max(1.0, checks / 0.7)


def division(setup: Setup) -> float:
    """Return the seconds of a core for a new division of the services."""
    return setup.services * setup.costs.division(setup.replicas)


def limits_table(setup: Setup) -> str:
    """Return what each resource needs at this size, and what there is."""
    costs_, each = setup.costs, setup.services / setup.replicas
    capacity = 1 / costs_.write
    rolling = setup.services * 2 / scenarios.ROLL
    third = setup.services * 0.9 / 3
    reload = setup.services * costs_.document * setup.replicas
    dead = third / (setup.replicas * 2 / 3)
    hang = dead / CHECK_PLACES * setup.timeout
    rows = [
        ("a new division, when a replica comes or goes", "each replica's core",
         f"{division(setup):.0f} s of it", "an interval, so that checks go on in time"),
        ("reading everything again, after the store was away", "store's bandwidth",
         f"{reload / 1e9:.0f} GB", f"{setup.store.bandwidth / 1e9:.2f} GB/s"),
        ("the same", "each replica's core",
         f"{setup.services * costs_.load:.0f} s of it", ""),
        ("a third of the services dies", "store writes",
         f"{third:,.0f}", f"{capacity:,.0f}/s: {third / capacity:.0f} s"),
        ("the same, if their hosts are silent", "places for checks",
         f"{dead:,.0f} that hang for {setup.timeout:.0f} s each",
         f"{CHECK_PLACES}: {hang:.0f} s a round, and it takes three"),
        ("checks", "each replica's core",
         f"{setup.checks_each * costs_.check:.0%}", "100 %"),
        ("all services restart in ten minutes", "store writes",
         f"{rolling:,.0f}/s", f"{capacity:,.0f}/s"),
        ("the same", "each replica's core, for changes",
         f"{rolling * costs_.apply:.0%}", "100 %"),
        ("the same", "bytes to each replica",
         _bytes(rolling * costs_.document), "its network"),
        ("a stream for each service", "places for streams",
         f"{each:,.0f}", f"{WATCHERS:,}, a setting"),
        ("the view", "memory of a replica",
         _bytes(scenarios.memory(setup), ""), "its machine"),
        ("replicas' records", "store writes",
         f"{setup.replicas / 2:,.0f}/s", f"{capacity:,.0f}/s"),
    ]  # fmt: skip
    return table(("when", "what is needed", "how much", "there is"), rows)


def costs_table(values: costs.Costs) -> str:
    """Return what the simulator was told, and where from."""
    return table(("cost", "amount", "measured by"), costs.rows(values))


def _bytes(size: float, per: str = "/s") -> str:
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= step:
            return f"{number(size / step)} {unit}{per}"
    return f"{size:.0f} bytes{per}"
