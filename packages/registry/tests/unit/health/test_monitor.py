"""The monitor: real loop and threads, probes that answer as the test says."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn

import pytest

from modularity_registry import config, runtime, schema
from modularity_registry.catalog.entry import Entry
from modularity_registry.errors import StoreUnavailable
from modularity_registry.health.monitor import MAX_STALL
from modularity_registry.health.probes import Outcome, Prober, Target
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.runtime import Registry
from support.registry import ManualClock, eventually, registration


class ScriptedProber(Prober):
    """Answers by location; counts what it was asked."""

    def __init__(self) -> None:
        super().__init__(AddressPolicy.parse("private"))
        self.answers: dict[str, Outcome] = {}
        self.asked: list[Target] = []

    async def probe(self, target: Target) -> Outcome:
        self.asked.append(target)
        good = Outcome(True, 1.5, "HTTP 200", "ok")
        return self.answers.get(target.registration.location, good)


BAD = Outcome(False, 3.0, "HTTP 500", "status")
LOCAL = Outcome(False, 0.0, "out of sockets", "local")


@pytest.fixture
def prober() -> ScriptedProber:
    return ScriptedProber()


@pytest.fixture
def registry(prober: ScriptedProber) -> Iterator[Registry]:
    registry = runtime.build(config.Settings(), ManualClock(), prober)
    registry.start()
    yield registry
    registry.stop()


class Bench:
    """Moves the clock and waits for what the monitor makes of it."""

    def __init__(self, registry: Registry, prober: ScriptedProber) -> None:
        self.registry = registry
        self.prober = prober

    def register(self, service_id: str = "a", **changes: Any) -> None:
        changes.setdefault("location", f"http://10.0.0.1/{service_id}")
        body = schema.encode(registration(service_id, **changes))
        self.registry.commands.register(schema.parse_registration(body), True)

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
        assert isinstance(self.registry.clock, ManualClock)
        self.registry.clock.advance(seconds)
        self.registry.monitor.poke()

    def until(self, condition: Callable[[], bool]) -> None:
        eventually(condition)

    def until_failed(self, service_id: str, times: int) -> None:
        self.until(lambda: self.entry(service_id).vitals.failed_checks == times)

    def was_asked(self, times: int) -> bool:
        return len(self.prober.asked) == times

    def next_check(self) -> None:
        """Move on by an interval and wait for the check that is due then."""
        before = len(self.prober.asked)
        self.pass_time(33.1)
        self.until(lambda: len(self.prober.asked) > before)


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
    assert evidence.next_check > evidence.checked_at
    assert evidence.checked_by == bench.registry.replica


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
    assert "3 checks failed" in fault.reason and "HTTP 500" in fault.reason
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

    def commit(_: object) -> NoReturn:
        refused.set()
        raise StoreUnavailable("away")

    bench.prober.answers["http://10.0.0.1/a"] = BAD
    bench.register()
    monkeypatch.setattr(bench.registry.store, "commit", commit)
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
    for number in range(8):
        bench.register(f"s{number}")
    bench.until(lambda: len(bench.prober.asked) == 8)
    for number in range(5):
        bench.prober.answers[f"http://10.0.0.1/s{number}"] = BAD
    for _ in range(5):
        asked = len(bench.prober.asked)
        bench.pass_time(33.1)
        bench.until(partial(bench.was_asked, asked + 8))
    bench.until_failed("s0", 5)
    statuses = {bench.entry(f"s{number}").status for number in range(8)}
    assert statuses == {"healthy"}
    [reason] = bench.registry.degraded()
    assert "5 of 8" in reason and "until" in reason
    del bench.prober.answers["http://10.0.0.1/s0"]
    bench.pass_time(33.1)
    bench.until(lambda: bench.registry.degraded() == [])
    bench.pass_time(33.1)
    bench.until(lambda: bench.entry("s1").status == "unhealthy")


def test_a_missed_lease_makes_unhealthy_a_heartbeat_ends_it_ten_terms_remove(
    bench: Bench,
) -> None:
    bench.register(mode="standalone", location="here", ttl=10)
    bench.pass_time(9)
    bench.registry.commands.heartbeat("a", schema.Heartbeat())
    bench.pass_time(9.5)
    assert bench.entry().status == "healthy"
    bench.pass_time(1)
    bench.until(lambda: bench.entry().status == "unhealthy")
    assert "ttl" in bench.entry().service.faults[0].reason
    bench.registry.commands.heartbeat("a", schema.Heartbeat())
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
    bench.until(lambda: bench.entry().vitals.lease_seen == seen)
    assert bench.entry().status == "healthy"


def test_a_lease_without_a_ttl_is_permanent(bench: Bench) -> None:
    bench.register(mode="ipc", location="here")
    assert bench.registry.monitor.watched == 0
    bench.jump(1e6)
    assert bench.entry().status == "healthy"


def test_who_is_loaded_from_the_store_is_watched_too(prober: ScriptedProber) -> None:
    registry = runtime.build(config.Settings(), ManualClock(), prober)
    registry.feed.start()
    bench = Bench(registry, prober)
    bench.register()
    assert prober.asked == []
    registry.monitor.start()
    bench.next_check()
    registry.stop()


def test_stopping_twice_and_without_a_start() -> None:
    registry = runtime.build(config.Settings())
    registry.stop()
    registry.stop()
