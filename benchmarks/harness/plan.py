"""How long and how often everything is measured, and where."""

from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness.processes import Fleet
from benchmarks.harness.systems import REGISTRY


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of one run of the benchmarks. Times are seconds."""

    seed: int
    server_core: int
    load_core: int
    data: Path
    registry: Path = REGISTRY
    repeats: int = 5
    seconds: int = 5
    warm: int = 2
    services: int = 10_000
    many: int = 100_000
    checked: int = 12_000
    watchers: int = 2_000
    opened: int = 5_000
    changes: int = 30
    # Past the pause after which every silent stream is sent a sign of life.
    beside_streams: int = 9
    registrations: int = 300
    kills: int = 4
    # Of the stores and replicas.
    stored: int = 1_000
    viewed: int = 50_000
    news: int = 500
    beating: int = 30
    period: int = 10
    interval: int = 10
    lost: int = 3
    elections: int = 10
    # Of those who mean no good.
    fuzzed: int = 200_000
    slow: int = 1_000
    slow_seconds: int = 26

    def fleet(self) -> Fleet:
        """Return a fleet on the servers' core, to be entered."""
        return Fleet(self.server_core, self.data)

    def repeated(self, times: int) -> "Plan":
        """Return the same with another number of repeats."""
        return replace(self, repeats=times)


def quick(plan: Plan) -> Plan:
    """Return the same with just enough of everything to see that it works."""
    return replace(
        plan,
        repeats=2,
        seconds=1,
        warm=1,
        services=2_000,
        many=10_000,
        watchers=300,
        opened=500,
        changes=5,
        beside_streams=1,
        registrations=30,
        kills=2,
        stored=200,
        viewed=2_000,
        news=50,
        beating=5,
        period=4,
        interval=3,
        lost=1,
        elections=2,
        fuzzed=5_000,
        slow=200,
        slow_seconds=13,
    )
