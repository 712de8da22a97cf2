"""Several checks of one service, each under watch by itself."""

import random

import msgspec

from modularity_registry.health.check_queue import PLACES
from modularity_registry.health.schedule import Schedule
from modularity_registry.health.watched_service import WatchedService
from modularity_registry.model import status
from modularity_registry.model.checks import ServiceCheck
from modularity_registry.model.service import CheckPlan, Fault, FaultSource, Service
from unit.health.test_schedule import INTERVAL, NOW, pop, record, schedule, service

DB = ServiceCheck("db", "tcp", port=5432)
CACHE = ServiceCheck("cache", "tcp", critical=False, interval=5.0, fall=1)


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
