"""What a run measures with: repeats, durations, sizes, cores and folders."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness.paths import REGISTRY_SCRIPT, REGISTRY_SERVICE
from benchmarks.harness.processes import Fleet


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of one run. Times are in seconds."""

    seed: int
    server_core: int
    load_core: int
    data: Path
    registry: Path = REGISTRY_SCRIPT
    python: str = sys.executable
    # A folder with the registry of another commit, and what marks its series.
    against: Path | None = None
    mark: str = ""
    repeats: int = 5
    seconds: int = 3
    warmup: int = 1
    services: int = 10_000
    # The sizes of a curve, and the seconds in which another system has to load one.
    sizes: tuple[int, ...] = (100, 1_000, 10_000, 100_000, 1_000_000)
    fill_limit: float = 240.0
    million: int = 1_000_000
    # Rates of an open loop, as shares of what a system answers at most.
    load_shares: tuple[float, ...] = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.1)
    many_services: int = 100_000
    checked_services: int = 12_000
    # Milliseconds by which the calls of an open loop may be late, for 99 of 100.
    max_lag: float = 1.0
    # Watchers and the client.
    watchers: int = 2_000
    many_watchers: int = 5_000
    fanouts: tuple[int, ...] = (100, 1_000, 5_000, 10_000, 20_000)
    xds_nodes: int = 1_000
    changes: int = 20
    registrations: int = 300
    provider_kills: int = 4
    # Stores and replicas.
    stored_services: int = 1_000
    first_view_services: int = 50_000
    propagations: int = 500
    heartbeat_seconds: int = 30
    heartbeat_period: int = 10
    check_interval: int = 10
    replica_kills: int = 3
    leader_kills: int = 10
    # Malformed requests and slow callers.
    fuzz_calls: int = 200_000
    slow_callers: int = 1_000
    slow_seconds: int = 26

    def versions(self) -> list["Plan"]:
        """Return the plan for this registry, then for the other one if there is one."""
        if self.against is None:
            return [self]
        other = replace(
            self,
            registry=self.against / REGISTRY_SERVICE,
            python=str(self.against / ".venv" / "bin" / "python"),
            against=None,
            mark=f" @{self.against.name}",
        )
        return [self, other]

    def fleet(self) -> Fleet:
        """Return a fleet on the servers' core; use it in a ``with`` block."""
        return Fleet(self.server_core, self.data)


def medium(plan: Plan) -> Plan:
    """Return the plan with fewer repeats and points, for the report in 35 minutes."""
    return replace(
        plan,
        repeats=3,
        seconds=2,
        many_services=50_000,
        sizes=(100, 10_000, 100_000, 1_000_000),
        fill_limit=60.0,
        load_shares=(0.1, 0.5, 0.75, 0.9, 1.1),
    )


def quick(plan: Plan) -> Plan:
    """Return the plan with just enough of everything to show that it works."""
    return replace(
        plan,
        repeats=2,
        seconds=1,
        warmup=1,
        services=2_000,
        sizes=(100, 1_000, 10_000),
        fill_limit=10.0,
        million=10_000,
        load_shares=(0.25, 0.75, 1.1),
        max_lag=200.0,
        checked_services=3_000,
        many_services=10_000,
        watchers=300,
        many_watchers=500,
        fanouts=(50, 200, 500),
        xds_nodes=200,
        changes=5,
        registrations=30,
        provider_kills=2,
        stored_services=200,
        first_view_services=2_000,
        propagations=50,
        heartbeat_seconds=5,
        heartbeat_period=4,
        check_interval=3,
        replica_kills=1,
        leader_kills=2,
        fuzz_calls=5_000,
        slow_callers=200,
        slow_seconds=13,
    )
