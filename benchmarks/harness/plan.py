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
    many_services: int = 100_000
    checked_services: int = 12_000
    # Watchers and the client.
    watchers: int = 2_000
    many_watchers: tuple[int, ...] = (5_000, 10_000)
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


def quick(plan: Plan) -> Plan:
    """Return the plan with just enough of everything to show that it works."""
    return replace(
        plan,
        repeats=2,
        seconds=1,
        warmup=1,
        services=2_000,
        many_services=10_000,
        watchers=300,
        many_watchers=(500, 1_000),
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
