"""What becomes of a dead replica's share of the health checks."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness import workload as w
from benchmarks.harness.backends import first_of
from benchmarks.harness.event_listener import Listener
from benchmarks.harness.http import get, pour, replies, request
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Server, wait_until
from benchmarks.harness.results import BenchmarkError, Check, Row, Sample, Series
from benchmarks.harness.systems import nginx
from benchmarks.scenarios.replicas import REPLICAS, living, replicas

ADDRESSES = 32
# Nobody can know of a death so soon, but a check under way may end after it.
AFTERGLOW = 1.0


def adoption(plan: Plan) -> Row:
    """The time until a dead replica's services are checked by the others."""
    took, firsts, shares, changed = [], [], [], 0
    env = {
        "HEALTH_CHECK_INTERVAL": str(plan.interval),
        "HEALTH_CHECK_TIMEOUT": "5",
    }
    with plan.fleet() as fleet, ExitStack() as stack:
        log = fleet.folder / "checks.log"
        log.touch()
        log.chmod(0o666)
        target = nginx(
            fleet,
            f"location / {{ access_log {log} brief buffer=4k flush=100ms;"
            ' default_type application/json; return 200 \'{"status":"healthy"}\'; }',
            ADDRESSES,
            plan.load_core,
            "log_format brief '$msec $uri';",
        )
        store = first_of(plan, fleet, ("etcd", "redis", "sqlite"), stack)
        place = store.place()
        servers = replicas(plan, fleet, place, REPLICAS, env)
        pour(servers[0].port, _checked(plan, target.port))
        for turn in range(plan.lost):
            if turn:
                servers += replicas(plan, fleet, place, 1, env)
            _settle(plan, servers)
            victim = servers.pop()
            share = _share(plan, victim, servers[0])
            with Listener(servers[0].port) as listener:
                checks = _Checks(log)
                died = time.time()
                with fleet.lent(victim):
                    victim.signal(signal.SIGKILL)
                first, last = checks.until_all(share, died, 10 * plan.interval)
                changed += listener.status_changes()
            took.append(last)
            firsts.append(first)
            shares.append(len(share))
    series = Series(f"over {store.kind}", "s", tuple(map(Sample, took)))
    bound = 2 * plan.interval
    checks_made = (
        Check(f"all checked within {bound} s", series.values, bound, "less", "s"),
        Check("services that changed status", (float(changed),), 0, "less", ""),
    )
    notes = (
        f"interval {plan.interval} s; shares of {min(shares):,} to {max(shares):,}"
        f" services of {plan.services:,}, by the log of the nginx that is checked",
        f"the first of them came after {min(firsts):.1f} to {max(firsts):.1f} s: until"
        " then the others did not know",
    )
    title = f"kill -9 of one of {REPLICAS} replicas to its last service's check"
    return Row("adoption", title, (series,), checks_made, notes)


def _checked(plan: Plan, port: int) -> Iterator[bytes]:
    for n in range(plan.services):
        location = f"http://127.0.0.{n % ADDRESSES + 1}:{port}/{n:09d}"
        service = w.Spec(f"{n:09d}", f"{n // w.PER_CAPABILITY:09d}", location, "http")
        yield w.registry_register(service)


def _settle(plan: Plan, servers: list[Server]) -> None:
    """Return when all know each other, and every service is well and checked."""

    def settled() -> bool:
        if any(living(server) != len(servers) for server in servers):
            return False
        counts = [get(s.port, "/api/stats")["active_services"] for s in servers]
        return counts == [plan.services] * len(servers)

    wait_until(settled, 10 * plan.interval, "health everywhere")
    # The newest one has had a turn at each of its share by then.
    threading.Event().wait(1.2 * plan.interval)


def _share(plan: Plan, victim: Server, other: Server) -> frozenset[str]:
    """Return the numbers of the services that the victim checks, by the other."""
    replica = get(victim.port, "/health")["replica"]
    numbers = [f"{n:09d}" for n in range(plan.services)]
    asked = (request("GET", f"/api/services/inst-{each}") for each in numbers)
    shown = (reply.json()["evidence"] for reply in replies(other.port, asked))
    pairs = zip(numbers, shown, strict=True)
    share = frozenset(n for n, each in pairs if each["checked_by"] == replica)
    if not share:
        raise BenchmarkError("the replica that is to die checks nobody")
    return share


class _Checks:
    """The checks from now on, as the nginx that is checked writes them down."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._at = log.stat().st_size

    def until_all(
        self, share: frozenset[str], since: float, limit: float
    ) -> tuple[float, float]:
        """Return the seconds since then until the first and the last were checked."""
        left, firsts = set(share), []
        last = 0.0

        def all_seen() -> bool:
            nonlocal last
            for at, service in self._new():
                if at - since > AFTERGLOW and service in left:
                    left.remove(service)
                    firsts.append(at - since)
                    last = max(last, at - since)
            return not left

        wait_until(all_seen, limit, "a check of everyone")
        return min(firsts), last

    def _new(self) -> Iterator[tuple[float, str]]:
        with self._log.open("rb") as file:
            file.seek(self._at)
            whole, end, _ = file.read().rpartition(b"\n")
        self._at += len(whole) + len(end)
        for line in whole.decode().splitlines():
            at, _, path = line.partition(" ")
            yield float(at), path.split("/")[1]
