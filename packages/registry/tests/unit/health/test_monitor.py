"""The monitor on a real loop, with probes that answer as the test says."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import pytest

from modularity_registry import config, runtime, schema, tasks
from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import StoredService
from modularity_registry.catalog.entry import Entry
from modularity_registry.errors import StoreUnavailable
from modularity_registry.health.check_queue import PLACES, SHARE
from modularity_registry.health.monitor import MANY
from modularity_registry.health.probes import Outcome as CheckOutcome
from modularity_registry.health.probes import Prober, Target
from modularity_registry.model import status
from modularity_registry.model.service import Service
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.replicas.standstill import MAX_STALL
from modularity_registry.runtime import Registry
from modularity_registry.stores.base import Outcome
from modularity_registry.telemetry.log_context import RequestContext, current_request
from support.registry import LOOP, ManualClock, eventually, on_loop, registration


class ScriptedProber(Prober):
    """Answers by location, or by the name of a check; counts what it was asked."""

    def __init__(self) -> None:
        super().__init__(AddressPolicy.parse("private"))
        self.answers: dict[str, CheckOutcome] = {}
        self.asked: list[Target] = []
        self.goes_on: asyncio.Event | None = None
        self.hanging = ""
        self.hung: set[str] = set()
        self.requests: list[RequestContext | None] = []

    async def probe(self, target: Target) -> CheckOutcome:
        self.asked.append(target)
        self.requests.append(current_request.get())
        location = target.registration.location
        if self.goes_on is not None and location.startswith(self.hanging):
            self.hung.add(target.registration.id)
            await self.goes_on.wait()
        good = CheckOutcome(True, 1.5, "HTTP 200", "ok")
        if target.check is not None:
            return self.answers.get(target.check.name, good)
        return self.answers.get(location, good)


INTERVAL = config.Settings().health_check_interval * 1.11
BAD = CheckOutcome(False, 3.0, "HTTP 500", "status")
WARNING = CheckOutcome(True, 3.0, "queue is long", "warning")
LOCAL = CheckOutcome(False, 0.0, "out of sockets", "local")


@pytest.fixture
def prober() -> ScriptedProber:
    return ScriptedProber()


@pytest.fixture
def registry(prober: ScriptedProber) -> Iterator[Registry]:
    registry = runtime.build(config.Settings(), ManualClock(), prober)
    LOOP.call(registry.start())
    yield registry
    LOOP.call(registry.stop())


class Bench:
    """Moves the clock and waits for what the monitor makes of it."""

    def __init__(self, registry: Registry, prober: ScriptedProber) -> None:
        self.registry = registry
        self.prober = prober

    def register(self, service_id: str = "a", **changes: Any) -> None:
        changes.setdefault("location", f"http://10.0.0.1/{service_id}")
        body = schema.encode(registration(service_id, **changes))
        self.registry.call(
            self.registry.commands.register(schema.parse_registration(body), True)
        )

    def register_all(self, bodies: Iterable[dict[str, Any]]) -> None:
        parsed = [schema.parse_registration(schema.encode(body)) for body in bodies]

        async def register() -> None:
            commands = self.registry.commands
            await asyncio.gather(*(commands.register(one, True) for one in parsed))

        self.registry.call(register())

    def entry(self, service_id: str = "a") -> Entry:
        entry = self.registry.catalog.service(service_id)
        assert entry is not None
        return entry

    def pass_time(self, seconds: float) -> None:
        """Move on in steps short enough not to look like a stall."""
        while seconds > 0:
            self.jump(min(seconds, MAX_STALL - 1))
            self.until(lambda: self.registry.monitor.idle)
            seconds -= MAX_STALL - 1

    def jump(self, seconds: float) -> None:
        def move() -> None:
            assert isinstance(self.registry.clock, ManualClock)
            self.registry.clock.advance(seconds)
            self.registry.monitor.poke()

        on_loop(move)

    def until(self, condition: Callable[[], bool]) -> None:
        eventually(lambda: on_loop(condition))

    def pass_clock(self, seconds: float) -> None:
        """Move on, however many checks hang meanwhile."""
        while seconds > 0:
            self.jump(min(seconds, 0.5))
            self.until(self._nobody_is_due)
            seconds -= 0.5

    def _nobody_is_due(self) -> bool:
        due = self.registry.monitor.checks.next_at()
        return due is None or due > self.registry.clock.monotonic()

    def hang(self, location: str = "") -> asyncio.Event:
        """Let all checks from now on that begin so wait for what is returned."""
        self.prober.hanging = location
        self.prober.goes_on = asyncio.Event()
        return self.prober.goes_on

    def until_failed(self, service_id: str, times: int) -> None:
        self.until(lambda: self.entry(service_id).vitals.failed_checks == times)

    def evidence(self, name: str) -> dict[str, Any]:
        """What a reply says of one of the service's own checks."""
        document = json.loads(self.entry().json_with_evidence("replica"))
        [check] = [c for c in document["evidence"]["checks"] if c["name"] == name]
        return cast(dict[str, Any], check)

    def facts(self) -> dict[str, Any]:
        document = json.loads(self.entry().json_with_evidence("replica"))
        return cast(dict[str, Any], document["evidence"]["facts"])

    def report(self, name: str, **report: Any) -> None:
        parsed = schema.parse_check_report(schema.encode(report))
        commands = self.registry.commands
        self.registry.call(commands.report_check("a", name, parsed))

    def heartbeat(self) -> None:
        commands = self.registry.commands
        self.registry.call(commands.heartbeat("a", schema.Heartbeat()))

    def until_named(self, name: str, times: int) -> None:
        self.until(lambda: self.evidence(name)["failed_checks"] == times)

    def next_check(self) -> None:
        """Move on until a check is due, and wait for it."""
        before = len(self.prober.asked)
        while len(self.prober.asked) == before:
            self.pass_time(0.5)


@pytest.fixture
def bench(registry: Registry, prober: ScriptedProber) -> Bench:
    return Bench(registry, prober)


def test_the_first_check_runs_at_once(bench: Bench) -> None:
    bench.register(health={"path": "/up", "timeout": 2})
    bench.until(lambda: bench.entry().vitals.evidence is not None)
    [target] = bench.prober.asked
    assert (target.registration.mode, target.path) == ("http", "/up")
    assert (target.registration.location, target.timeout) == ("http://10.0.0.1/a", 2.0)
    evidence = bench.entry().vitals.evidence
    assert evidence is not None
    assert (evidence.outcome, evidence.message) == ("ok", "HTTP 200")
    assert evidence.latency_ms == 1.5
    assert evidence.next_check is not None
    assert evidence.next_check > evidence.checked_at
    assert evidence.checked_by == bench.registry.replica


def test_a_check_is_part_of_no_request(bench: Bench) -> None:
    token = current_request.set(RequestContext("r-1", "10.9.9.9"))
    bench.register()
    current_request.reset(token)
    bench.until(lambda: bench.prober.requests == [None])


def test_three_failures_make_it_unhealthy_and_one_success_healthy(bench: Bench) -> None:
    bench.prober.answers["http://10.0.0.1/a"] = BAD
    bench.register()
    bench.until_failed("a", 1)
    bench.next_check()
    bench.until_failed("a", 2)
    assert bench.entry().status == "healthy"
    bench.next_check()
    bench.until(lambda: bench.entry().status == "unhealthy")
    [fault] = bench.entry().service.faults
    assert fault.reason == "HTTP 500; 3 checks in a row failed"
    revision = bench.entry().revision
    bench.next_check()
    bench.until_failed("a", 4)
    assert bench.entry().revision == revision, "only a change of verdict is written"
    del bench.prober.answers["http://10.0.0.1/a"]
    bench.next_check()
    bench.until(lambda: bench.entry().status == "healthy")
    assert bench.entry().vitals.failed_checks == 0


def test_trouble_of_its_own_says_nothing_of_the_service(bench: Bench) -> None:
    bench.prober.answers["http://10.0.0.1/a"] = LOCAL
    bench.register()
    for _ in range(5):
        bench.next_check()
    bench.until(lambda: bench.entry().vitals.evidence is not None)
    assert bench.entry().vitals.failed_checks == 0
    assert bench.entry().status == "healthy"


def test_a_verdict_that_could_not_be_stored_is_stored_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = threading.Event()
    real = bench.registry.store.commit

    def refuse(batch: object) -> Sequence[Outcome]:
        refused.set()
        raise StoreUnavailable("away")

    bench.prober.answers["http://10.0.0.1/a"] = BAD
    bench.register()
    monkeypatch.setattr(bench.registry.store, "commit", refuse)
    for failures in (1, 2):
        bench.until_failed("a", failures)
        bench.next_check()
    assert refused.wait(5)
    assert bench.entry().status == "healthy"
    monkeypatch.setattr(bench.registry.store, "commit", real)
    bench.next_check()
    bench.until(lambda: bench.entry().status == "unhealthy")


def test_when_most_fail_together_verdicts_hold_and_health_says_so(
    bench: Bench,
) -> None:
    hosts = [f"http://10.0.0.{number}" for number in range(8)]
    for number, location in enumerate(hosts):
        bench.register(f"s{number}", location=location)
    bench.until(lambda: len(bench.prober.asked) == 8)
    for location in hosts[:5]:
        bench.prober.answers[location] = BAD
    bench.pass_time(INTERVAL * 6)
    for number in range(5):
        assert bench.entry(f"s{number}").vitals.failed_checks >= 5
    statuses = {bench.entry(f"s{number}").status for number in range(8)}
    assert statuses == {"healthy"}
    [reason] = bench.registry.degraded()
    assert "5 of 8 hosts" in reason and "until" in reason
    del bench.prober.answers[hosts[0]]
    bench.pass_time(INTERVAL)
    bench.until(lambda: bench.registry.degraded() == [])
    bench.pass_time(INTERVAL * 3)
    bench.until(lambda: bench.entry("s1").status == "unhealthy")


def test_a_cut_of_the_registrys_network_makes_nobody_unhealthy(bench: Bench) -> None:
    """Checks that began in the cut fail when the network is back, and others pass."""
    timed_out = CheckOutcome(False, 5_000.0, "no answer within 5 s", "timeout")
    hosts = [f"http://10.0.{number}.1" for number in range(60)]
    for number, location in enumerate(hosts):
        bench.register(f"s{number}", location=location, health={"interval": 6})
    bench.until(lambda: len(bench.prober.asked) == 60)
    for location in hosts:
        bench.prober.answers[location] = timed_out
    bench.pass_clock(26.0)
    assert bench.registry.monitor.suspicion is not None
    hangs = bench.hang()
    while len(bench.prober.hung) < 15:
        bench.pass_clock(0.1)
    in_the_cut = set(bench.prober.hung)
    bench.prober.goes_on = None
    for number, location in enumerate(hosts):
        if f"s{number}" not in in_the_cut:
            del bench.prober.answers[location]
    bench.pass_clock(5.0)
    assert bench.registry.monitor.suspicion is None
    on_loop(hangs.set)
    bench.until(lambda: bench.registry.monitor.idle)
    entries = [bench.entry(f"s{number}") for number in range(60)]
    assert {entry.status for entry in entries} == {"healthy"}
    assert any(entry.vitals.failed_checks >= 3 for entry in entries)


def test_a_missed_lease_makes_unhealthy_a_heartbeat_ends_it_ten_terms_remove(
    bench: Bench,
) -> None:
    bench.register(mode="standalone", location="here", ttl=10)
    bench.pass_time(9)
    bench.registry.call(bench.registry.commands.heartbeat("a", schema.Heartbeat()))
    bench.pass_time(9.5)
    assert bench.entry().status == "healthy"
    bench.pass_time(1)
    bench.until(lambda: bench.entry().status == "unhealthy")
    assert "ttl" in bench.entry().service.faults[0].reason
    bench.registry.call(bench.registry.commands.heartbeat("a", schema.Heartbeat()))
    assert bench.entry().status == "healthy"
    for _ in range(9):
        bench.pass_time(10)
    assert bench.registry.catalog.service("a") is not None
    bench.pass_time(11)
    bench.until(lambda: bench.registry.catalog.service("a") is None)


def test_after_standing_still_everyone_gets_a_full_term(bench: Bench) -> None:
    bench.register(mode="standalone", location="here", ttl=10)
    bench.until(lambda: bench.registry.monitor.watched == 1)
    bench.jump(3_600)
    seen = bench.registry.clock.monotonic()
    catalog = bench.registry.catalog
    bench.until(lambda: catalog.lease_seen(bench.entry()) == seen)
    bench.pass_time(9.5)
    assert bench.entry().status == "healthy"


def test_a_standstill_counts_however_far_away_the_next_due_time_was(
    bench: Bench,
) -> None:
    bench.register(mode="standalone", location="here", ttl=100)
    bench.jump(90)
    bench.until(lambda: bench.registry.monitor.idle)
    bench.pass_time(99)
    assert bench.entry().status == "healthy"
    bench.pass_time(2)
    bench.until(lambda: bench.entry().status == "unhealthy")


def test_leases_end_while_all_checks_hang(bench: Bench) -> None:
    hangs = bench.hang()
    for number in range(PLACES + 1):
        bench.register(f"s{number}", location=f"http://10.0.{number % 8}.1/{number}")
    bench.register(mode="standalone", location="here", ttl=10)
    bench.until(lambda: len(bench.prober.asked) == PLACES)
    for _ in range(4):
        bench.jump(4)
    bench.until(lambda: bench.entry().status == "unhealthy")
    assert len(bench.prober.asked) == PLACES
    on_loop(hangs.set)
    bench.until(lambda: bench.registry.monitor.idle)
    assert len({each.registration.id for each in bench.prober.asked}) == PLACES + 1


def test_many_services_that_hang_keep_no_check_of_another_host_away(
    bench: Bench,
) -> None:
    hangs = bench.hang("http://10.0.0.1")
    slow = {"health": {"interval": 1, "timeout": 60}}
    bench.register_all(
        registration(f"s{number}", location=f"http://10.0.0.1/{number}", **slow)
        for number in range(5_000)
    )
    bench.prober.answers["http://10.0.0.2/a"] = BAD
    bench.register(location="http://10.0.0.2/a", health={"interval": 4})
    bench.until(lambda: bench.registry.monitor.checks.waiting == 5_000 - SHARE)
    for _ in range(3):
        bench.pass_clock(4.5)
    bench.until(lambda: bench.entry().status == "unhealthy")
    [reason] = bench.registry.degraded()
    assert "late" in reason and "one host" in reason
    assert bench.registry.metrics.late_checks == 0, "none of them has begun"
    on_loop(hangs.set)
    bench.until(lambda: bench.registry.metrics.late_checks == 5_000 - SHARE)


def test_an_id_has_one_check_and_a_registration_that_is_gone_has_none(
    bench: Bench,
) -> None:
    bench.hang()
    for _ in range(900):
        bench.register(health={"interval": 1, "timeout": 60})
        bench.until(lambda: bench.registry.monitor.checks.taken == 1)
    bench.registry.call(bench.registry.commands.unregister("a"))
    bench.until(lambda: bench.registry.monitor.checks.taken == 0)


def test_a_check_that_failed_across_a_standstill_says_nothing(bench: Bench) -> None:
    hangs = bench.hang()
    bench.prober.answers["http://10.0.0.1/a"] = BAD
    bench.register()
    bench.until(lambda: len(bench.prober.asked) == 1)
    bench.jump(60)
    bench.hang()
    on_loop(hangs.set)
    bench.until(lambda: bench.entry().vitals.evidence is not None)
    assert bench.entry().vitals.failed_checks == 0


def test_many_changes_at_once_are_taken_in_beside_all_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "SLICE", 0.0)
    services = 2 * MANY
    turns = 0

    async def reload() -> None:
        nonlocal turns
        catalog, at = bench.registry.catalog, bench.registry.clock.now()
        changes = []
        for number in range(services):
            body = schema.encode(registration(f"s{number}", location="http://10.0.0.1"))
            service = Service(schema.parse_registration(body), at, at)
            stored = StoredService(service, documents.encode(service), number + 1)
            changes.append(catalog.apply(f"s{number}", stored, number + 1))
        monitor = bench.registry.monitor
        monitor.reloaded(changes, services)
        assert monitor.watched == 0, "not in the turn that reloads"
        while monitor.watched < services:
            turns += 1
            await asyncio.sleep(0)

    LOOP.call(asyncio.wait_for(reload(), 30))
    assert turns >= services
    assert len(bench.prober.asked) < services, "spread over an interval"


def test_a_lease_without_a_ttl_is_permanent(bench: Bench) -> None:
    bench.register(mode="ipc", location="here")
    assert bench.registry.monitor.watched == 0
    bench.jump(1e6)
    assert bench.entry().status == "healthy"


def test_who_is_loaded_from_the_store_is_watched_too(prober: ScriptedProber) -> None:
    registry = runtime.build(config.Settings(), ManualClock(), prober)
    LOOP.call(registry.feed.start())
    bench = Bench(registry, prober)
    bench.register()
    assert prober.asked == []
    LOOP.call(registry.monitor.start())
    bench.next_check()
    LOOP.call(registry.stop())


def test_stopping_twice_and_without_a_start() -> None:
    registry = runtime.build(config.Settings())
    LOOP.call(registry.stop())
    LOOP.call(registry.stop())


DOWN = CheckOutcome(False, 3.0, "HTTP 503", "status")


def test_a_service_is_unhealthy_when_a_critical_check_fails(bench: Bench) -> None:
    bench.prober.answers["db"] = DOWN
    checks = [{"name": "db", "kind": "http", "path": "/db"}]
    bench.register(checks=checks)
    bench.until_named("db", 1)
    assert bench.entry().status == "healthy"
    bench.pass_time(INTERVAL)
    bench.until(lambda: bench.entry().status == "unhealthy")
    [fault] = bench.entry().service.faults
    assert fault.check == "db"
    assert fault.reason == "check 'db': HTTP 503; 3 checks in a row failed"
    assert bench.entry().vitals.failed_checks == 0, "its own check is well"
    evidence = bench.evidence("db")
    assert (evidence["status"], evidence["message"]) == ("unhealthy", "HTTP 503")
    del bench.prober.answers["db"]
    bench.pass_time(INTERVAL)
    bench.until(lambda: bench.entry().status == "healthy")
    bench.until(lambda: bench.evidence("db")["status"] == "healthy")


def test_a_check_that_is_not_critical_only_warns(bench: Bench) -> None:
    bench.prober.answers["cache"] = DOWN
    checks = [{"name": "cache", "kind": "tcp", "critical": False, "fall": 2}]
    bench.register(checks=checks)
    bench.until_named("cache", 1)
    assert bench.evidence("cache")["status"] == "healthy"
    bench.pass_time(INTERVAL)
    bench.until(lambda: bench.entry().status == "warning")
    assert bench.evidence("cache")["status"] == "warning"
    reason = "check 'cache': HTTP 503; 2 checks in a row failed"
    assert status.reason(bench.entry().service) == reason
    revision = bench.entry().revision
    bench.pass_time(INTERVAL)
    bench.until_named("cache", 3)
    assert bench.entry().revision == revision, "only a change of status is written"
    del bench.prober.answers["cache"]
    bench.pass_time(INTERVAL)
    bench.until(lambda: bench.entry().status == "healthy")
    assert bench.evidence("cache")["status"] == "healthy"


def test_an_answer_may_warn(bench: Bench) -> None:
    location = "http://10.0.0.1/a"
    bench.prober.answers[location] = WARNING
    bench.register()
    bench.until(lambda: bench.entry().status == "warning")
    assert status.reason(bench.entry().service) == "queue is long"
    assert bench.entry().vitals.failed_checks == 0
    bench.prober.answers[location] = BAD
    bench.until_failed("a", 0)
    bench.pass_time(INTERVAL * 3)
    bench.until(lambda: bench.entry().status == "unhealthy")
    bench.prober.answers[location] = WARNING
    bench.pass_time(INTERVAL)
    bench.until(lambda: bench.entry().status == "warning")
    assert bench.entry().service.faults == ()
    del bench.prober.answers[location]
    bench.pass_time(INTERVAL)
    bench.until(lambda: bench.entry().status == "healthy")


def test_a_check_under_way_ends_with_its_registration(bench: Bench) -> None:
    goes_on = bench.hang()
    bench.register(checks=[{"name": "db", "kind": "tcp"}])
    bench.until(lambda: bench.registry.monitor.checks.taken == 2)
    bench.registry.call(bench.registry.commands.unregister("a"))
    bench.until(lambda: bench.registry.monitor.checks.taken == 0)
    on_loop(goes_on.set)


def test_a_check_that_was_not_made_yet_is_unknown(bench: Bench) -> None:
    goes_on = bench.hang()
    bench.register(checks=[{"name": "db", "kind": "tcp"}])
    assert bench.evidence("db") == {
        "name": "db",
        "kind": "tcp",
        "critical": True,
        "status": "unknown",
        "failed_checks": 0,
        "checked_at": None,
        "latency_ms": None,
        "outcome": None,
        "message": None,
        "next_check": None,
    }
    on_loop(goes_on.set)


JOBS = {"name": "jobs", "kind": "ttl", "ttl": 30}


def test_a_report_that_does_not_come_is_a_fault_of_its_check(bench: Bench) -> None:
    bench.register(mode="embedded", location="here", checks=[JOBS])
    bench.pass_time(29)
    assert bench.entry().status == "healthy", "it has a full term from the beginning"
    bench.report("jobs")
    bench.pass_time(29)
    assert bench.evidence("jobs")["status"] == "healthy"
    bench.pass_time(2)
    bench.until(lambda: bench.entry().status == "unhealthy")
    [fault] = bench.entry().service.faults
    assert (fault.check, fault.reason) == (
        "jobs",
        "check 'jobs': no report within 30 s",
    )
    assert bench.evidence("jobs")["outcome"] == "missed"
    bench.pass_time(30 * status.LEASE_TERMS)
    assert bench.entry().status == "unhealthy", "it is not removed"
    bench.report("jobs")
    assert bench.entry().status == "healthy"


def test_heartbeats_are_no_reports(bench: Bench) -> None:
    bench.register(mode="embedded", location="here", ttl=300, checks=[JOBS])
    bench.pass_time(20)
    bench.heartbeat()
    bench.pass_time(11)
    bench.until(lambda: bench.entry().status == "unhealthy")
    bench.heartbeat()
    assert bench.entry().status == "unhealthy"


def test_a_missed_report_that_is_not_critical_only_warns(bench: Bench) -> None:
    jobs = JOBS | {"critical": False}
    bench.register(mode="embedded", location="here", checks=[jobs])
    bench.pass_time(31)
    bench.until(lambda: bench.entry().status == "warning")
    assert bench.evidence("jobs")["status"] == "warning"
    bench.report("jobs", status="unhealthy", note="slow")
    assert status.reason(bench.entry().service) == "check 'jobs': slow"
    bench.report("jobs")
    assert bench.evidence("jobs")["status"] == "healthy"
    assert bench.entry().status == "healthy"


def test_after_a_standstill_reports_have_a_full_term(bench: Bench) -> None:
    bench.register(mode="embedded", location="here", checks=[JOBS])
    bench.pass_time(20)
    bench.jump(MAX_STALL * 20)
    bench.pass_time(20)
    assert bench.entry().status == "healthy"


def test_registered_reachable_and_verified_are_separate_facts(bench: Bench) -> None:
    bench.prober.answers["http://10.0.0.1/a"] = CheckOutcome(False, 1, "", "refused")
    bench.prober.answers["works"] = CheckOutcome(False, 1, "no list", "mismatch")
    bench.register(checks=[{"name": "works", "kind": "module"}])
    bench.until_named("works", 1)
    facts = bench.facts()
    assert facts["registered"] and facts["reachable"]
    assert facts["verified"] is None
    del bench.prober.answers["works"]
    bench.pass_time(INTERVAL)
    bench.until(lambda: bench.facts()["verified"] is not None)
    assert bench.facts()["verified"] > facts["reachable"]


def test_verified_is_stored_and_ends_with_a_failure(bench: Bench) -> None:
    bench.register(checks=[{"name": "works", "kind": "module"}])
    bench.until(lambda: bench.entry().service.verified is not None)
    revision = bench.entry().revision
    bench.pass_time(INTERVAL)
    bench.until_named("works", 0)
    assert bench.entry().revision == revision, "written once"
    bench.prober.answers["works"] = CheckOutcome(False, 1, "no list", "mismatch")
    for _ in range(5):
        bench.pass_time(INTERVAL)
    bench.until(lambda: bench.entry().status == "unhealthy")
    assert bench.entry().service.verified is None
