"""Several checks of one service, each under watch by itself."""

import random
from datetime import timedelta

import msgspec
import pytest

from modularity_registry.health.check_queue import PLACES
from modularity_registry.health.schedule import Schedule
from modularity_registry.health.watched_service import WatchedService
from modularity_registry.model import status
from modularity_registry.model.checks import ServiceCheck
from modularity_registry.model.service import CheckPlan, Fault, FaultSource, Service
from unit.health.test_schedule import (
    INTERVAL,
    NOW,
    fail,
    herd,
    ids,
    pop,
    record,
    schedule,
    service,
)

DB = ServiceCheck("db", "tcp", port=5432)
CACHE = ServiceCheck("cache", "tcp", critical=False, interval=5.0, fall=1)
REPORTED = ServiceCheck("reported", "ttl", ttl=10.0)


def all_due(plan: Schedule, now: float) -> dict[str, WatchedService]:
    """Pop all that are due, by the name of the check."""
    due = {}
    while (watched := plan.checks.pop(now)) is not None:
        due[getattr(watched, "name", "")] = watched
    return due


def followed(plan: Schedule, *checks: ServiceCheck) -> Service:
    subject = service(checks=checks)
    plan.follow("a", subject, 0.0, spread=False)
    return subject


def test_each_check_is_due_by_itself() -> None:
    plan = schedule()
    followed(plan, DB, CACHE)
    due = all_due(plan, 0.0)
    assert set(due) == {"", "db", "cache"}
    for watched in due.values():
        record(plan, watched, True, 0.0)
    assert set(all_due(plan, 5.0)) == {"cache"}, "it has its own interval"


def test_a_check_has_its_own_fall_and_rise() -> None:
    plan = schedule(fall=3)
    check = msgspec.structs.replace(DB, fall=2, rise=2)
    subject = followed(plan, check)
    db = all_due(plan, 0.0)["db"]
    assert record(plan, db, False, 0.0)[0] is None
    assert record(plan, db, False, 9.0)[0] == "add_fault"
    fault = Fault("check", "bad", NOW, "db")
    plan.follow("a", status.with_fault(subject, fault), 9.0, spread=False)
    assert record(plan, db, True, 18.0)[0] is None
    assert record(plan, db, True, 27.0)[0] == "remove_faults"


def test_a_fault_belongs_to_its_check() -> None:
    subject = service(checks=(DB,))
    both = status.with_fault(
        status.with_fault(subject, Fault("check", "own", NOW)),
        Fault("check", "db", NOW, "db"),
    )
    assert [fault.reason for fault in both.faults] == ["own", "db"]
    own: frozenset[FaultSource] = frozenset({"check"})
    assert status.without_faults(both, own, NOW).faults == both.faults[1:]
    assert status.without_faults(both, own, NOW, "db").faults == both.faults[:1]


def test_checks_go_with_their_registration() -> None:
    plan = schedule()
    followed(plan, DB, CACHE)
    units = plan.units("a")
    assert len(units) == 3
    plan.follow("a", None, 1.0, spread=False)
    assert all(watched.gone for watched in units)
    assert plan.units("a") == []
    assert plan.checks.pop(1_000.0) is None


@pytest.mark.parametrize("check", [DB, REPORTED], ids=["made here", "reported"])
def test_a_check_that_comes_again_and_again_fills_no_queue(check: ServiceCheck) -> None:
    plan = schedule()
    subject = service(mode="standalone", checks=(check,))
    for second in range(1_000):
        at = NOW + timedelta(seconds=second)
        renewed = msgspec.structs.replace(subject, registered_at=at)
        plan.follow("a", renewed, 0.0, spread=False)
    assert len(plan.checks) < 150 and len(plan.leases) < 150


def test_a_new_check_is_not_late_yet() -> None:
    plan = schedule()
    subject = service(mode="standalone", checks=(DB,))
    plan.follow("a", subject, 100.0, spread=False)
    assert pop(plan, 100.0).due == 100.0


def test_many_checks_at_once_are_spread_over_the_whole_interval() -> None:
    plan = schedule()
    for number in range(1_000):
        subject = service(f"s{number}", mode="standalone", checks=(DB,))
        plan.follow(f"s{number}", subject, 0.0, spread=True)
    dues = [plan.units(f"s{number}")[1].due for number in range(1_000)]
    assert 0 < min(dues) < INTERVAL / 100
    assert INTERVAL * 0.99 < max(dues) <= INTERVAL


def test_a_first_report_may_take_its_full_term() -> None:
    plan = schedule()
    subject = service(mode="standalone", checks=(REPORTED,))
    plan.follow("a", subject, 100.0, spread=False)
    assert plan.leases.next_at() == 110.0


def test_a_check_that_is_not_critical_warns_once() -> None:
    plan = schedule()
    subject = followed(plan, CACHE)
    cache = all_due(plan, 0.0)["cache"]
    assert record(plan, cache, False, 0.0)[0] == "add_warning"
    warning = Fault("check", "bad", NOW, "cache")
    plan.follow("a", status.with_warning(subject, warning), 1.0, spread=False)
    assert record(plan, cache, False, 9.0)[0] is None


def test_in_doubt_a_check_is_accused_only_if_it_never_passed() -> None:
    plan = herd(10)
    fail(plan, ids("s", 9), 3, 0.0)
    assert plan.suspicion.active
    check = msgspec.structs.replace(DB, fall=1)
    verdicts = {}
    for name, spread in (("new", False), ("stored", True)):
        subject = service(name, mode="standalone", checks=(check,))
        plan.follow(name, subject, 900.0, spread=spread)
        watched = plan.units(name)[1]
        verdicts[name] = plan.record_check(watched, False, 900.0, 901.0, doubted=False)
    assert verdicts == {"new": "add_fault", "stored": None}


def test_the_plan_of_a_check_is_found_by_its_name() -> None:
    plan = schedule()
    subject = service(checks=(CACHE, REPORTED))
    own = plan.plan_of(subject, "")
    assert own == CheckPlan(INTERVAL, 5.0, "/_module/health")
    assert plan.plan_of(subject, "cache") == CheckPlan(5.0, 5.0, fall=1)
    assert plan.plan_of(subject, "reported") is None, "it is not made here"
    assert plan.plan_of(subject, "no such check") is None
    unchecked = service(mode="standalone", checks=(CACHE,))
    assert plan.plan_of(unchecked, "") is None


def test_the_registry_doubts_itself_once_a_service() -> None:
    plan = schedule()
    checks = tuple(ServiceCheck(f"c{n}", "tcp") for n in range(16))
    for number in range(4):
        name = f"s{number}"
        location = f"http://10.0.0.{number}:1"
        subject = service(name, checks=checks, location=location)
        plan.follow(name, subject, 0.0, spread=False)
    for name, watched in [(w.id, w) for w in _pop_all(plan, 0.0)]:
        ok = name in ("s0", "s1") or not watched.name
        record(plan, watched, ok, 0.0)
    assert not plan.suspicion.active
    assert plan.suspicion.possible


def _pop_all(plan: Schedule, now: float) -> list[WatchedService]:
    due = []
    while (watched := plan.checks.pop(now)) is not None:
        due.append(watched)
    return due


def test_checks_that_wait_for_a_place_are_told_apart() -> None:
    plan = Schedule(CheckPlan(INTERVAL, 5.0), 3, 1, random.Random(7))
    plan.checks.share = 2
    followed(plan, DB, CACHE)
    first = [pop(plan, 0.0), pop(plan, 0.0)]
    assert plan.checks.pop(0.0) is None
    assert plan.checks.waiting == 1
    record(plan, first[0], True, 0.0)
    third = pop(plan, 0.0)
    assert {w.key for w in (*first, third)} == {"a", ("a", "db"), ("a", "cache")}
    assert plan.checks.total == PLACES
