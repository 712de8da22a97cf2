"""How soon the other replicas take over the health checks of one that was killed."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import workload
from benchmarks.harness.backends import first_available
from benchmarks.harness.event_listener import EventListener
from benchmarks.harness.http import get, replies, request, send_all
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server, wait_until
from benchmarks.harness.results import BenchmarkError, Check, Row, Sample, Series
from benchmarks.harness.systems import HEALTHY, nginx
from benchmarks.scenarios.stores.replicas import (
    REPLICAS,
    alive_replicas,
    start_replicas,
)

ADDRESSES = 32
# No replica can know of a death so soon, but a check under way may end after it.
GRACE = 1.0


@dataclass(frozen=True, slots=True)
class Takeover:
    """Seconds from a kill to the first and the last check of the dead one's share."""

    first: float
    last: float
    share: int
    status_changes: int


def adoption(plan: Plan) -> Row:
    """The time until a killed replica's services are checked by the others."""
    with plan.fleet() as fleet, ExitStack() as stack:
        store = first_available(plan, fleet, ("etcd", "redis", "sqlite"), stack)
        takeovers = _takeovers(plan, fleet, store.empty_store())
    seconds = tuple(Sample(takeover.last) for takeover in takeovers)
    series = Series(f"over {store.kind}", "s", seconds)
    limit = 2 * plan.check_interval
    changed = sum(takeover.status_changes for takeover in takeovers)
    checks = (
        Check(f"all checked within {limit} s", series.values, limit, "less", "s"),
        Check("services that changed status", (float(changed),), 0, "less", ""),
    )
    shares = sorted(takeover.share for takeover in takeovers)
    firsts = sorted(takeover.first for takeover in takeovers)
    notes = (
        f"interval {plan.check_interval} s; the replica had {shares[0]:,} to"
        f" {shares[-1]:,} of {plan.services:,} services, by the log of the nginx that"
        " is checked",
        f"the first of them was checked after {firsts[0]:.1f} to {firsts[-1]:.1f} s:"
        " until then the others did not know",
    )
    title = f"kill -9 of one of {REPLICAS} replicas to its last service's check"
    return Row("adoption", title, (series,), checks, notes)


def _takeovers(plan: Plan, fleet: Fleet, url: str) -> list[Takeover]:
    interval = plan.check_interval
    env = {"HEALTH_CHECK_INTERVAL": str(interval), "HEALTH_CHECK_TIMEOUT": "5"}
    log = fleet.folder / "checks.log"
    log.touch()
    log.chmod(0o666)
    target = nginx(
        fleet,
        f"location / {{ access_log {log} brief buffer=4k flush=100ms; {HEALTHY} }}",
        ADDRESSES,
        plan.load_core,
        "log_format brief '$msec $uri';",
    )
    servers = start_replicas(plan, fleet, url, REPLICAS, env)
    services = workload.checked_services(plan.services, target.port, ADDRESSES)
    send_all(servers[0].port, services)
    takeovers = []
    for turn in range(plan.replica_kills):
        if turn:
            servers += start_replicas(plan, fleet, url, 1, env)
        _wait_until_settled(plan, servers)
        takeovers.append(_kill(plan, fleet, servers.pop(), servers[0], log))
    return takeovers


def _kill(
    plan: Plan, fleet: Fleet, victim: Server, other: Server, log: Path
) -> Takeover:
    share = _checked_by(plan, victim, other)
    with EventListener(other.port) as listener:
        check_log = _CheckLog(log)
        killed_at = time.time()
        with fleet.stopping(victim):
            victim.signal(signal.SIGKILL)
        limit = 10 * plan.check_interval
        first, last = check_log.wait_for_all(share, killed_at, limit)
        return Takeover(first, last, len(share), listener.status_changes())


def _wait_until_settled(plan: Plan, servers: list[Server]) -> None:
    """Return when all replicas know each other and every service is healthy."""

    def settled() -> bool:
        if any(alive_replicas(server) != len(servers) for server in servers):
            return False
        counts = [get(s.port, "/api/stats")["active_services"] for s in servers]
        return counts == [plan.services] * len(servers)

    wait_until(settled, 10 * plan.check_interval, "health of all services everywhere")
    # By then the newest replica has checked each service of its share.
    threading.Event().wait(1.2 * plan.check_interval)


def _checked_by(plan: Plan, replica: Server, other: Server) -> frozenset[str]:
    """Return the numbers of the services that a replica checks, as another says."""
    replica_id = get(replica.port, "/health")["replica"]
    numbers = [f"{n:09d}" for n in range(plan.services)]
    requests = (request("GET", f"/api/services/inst-{number}") for number in numbers)
    services = (reply.json() for reply in replies(other.port, requests))
    share = frozenset(
        number
        for number, service in zip(numbers, services, strict=True)
        if service["evidence"]["checked_by"] == replica_id
    )
    if not share:
        raise BenchmarkError("the replica to be killed checks no service")
    return share


class _CheckLog:
    """The checks from its creation on, read from the log of the nginx."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = log.stat().st_size

    def wait_for_all(
        self, share: frozenset[str], since: float, limit: float
    ) -> tuple[float, float]:
        """Return the seconds until the first and the last of the share was checked."""
        missing, delays = set(share), []

        def all_checked() -> bool:
            for checked_at, service in self._new_checks():
                if checked_at - since > GRACE and service in missing:
                    missing.remove(service)
                    delays.append(checked_at - since)
            return not missing

        wait_until(all_checked, limit, "a check of every service")
        return min(delays), max(delays)

    def _new_checks(self) -> Iterator[tuple[float, str]]:
        with self._log.open("rb") as file:
            file.seek(self._offset)
            lines, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(lines) + len(newline)
        for line in lines.decode().splitlines():
            checked_at, _, path = line.partition(" ")
            yield float(checked_at), path.split("/")[1]
