"""The schedule, with time as a number: nothing here waits."""

import random
from datetime import UTC, datetime

import msgspec
import pytest

from modularity_registry.health.schedule import JITTER, Schedule, WatchedService
from modularity_registry.model import status
from modularity_registry.model.service import (
    CheckPlan,
    Fault,
    HealthCheck,
    Registration,
    Service,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = 30.0


def schedule(fall: int = 3, rise: int = 1) -> Schedule:
    return Schedule(CheckPlan(INTERVAL, 5.0), fall, rise, random.Random(7))


def service(service_id: str = "a", **changes: object) -> Service:
    said = Registration(service_id, "N", ("x",), "http://10.0.0.1:1", "http")
    said = msgspec.structs.replace(said, **changes)
    return Service(said, registered_at=NOW, since=NOW)


def pop(schedule: Schedule, now: float) -> WatchedService:
    due = schedule.checks.pop(now)
    assert due is not None
    return due


def faulty(subject: Service) -> Service:
    return status.with_fault(subject, Fault("check", "bad", NOW))


def test_a_new_registration_is_checked_at_once() -> None:
    plan = schedule()
    plan.follow("a", service(), now=100.0, spread=False)
    assert pop(plan, 100.0).id == "a"
    assert plan.checks.pop(1_000.0) is None, "under way: not due again"


def test_many_at_once_are_spread_over_the_interval() -> None:
    plan = schedule()
    for number in range(1_000):
        plan.follow(f"s{number}", service(f"s{number}"), now=0.0, spread=True)
    early, late = (len(all_due(plan, now)) for now in (INTERVAL / 2, INTERVAL))
    assert early + late == 1_000
    assert 400 < early < 600


def test_checks_come_every_interval_with_jitter() -> None:
    plan = schedule()
    plan.follow("a", service(), 0.0, spread=False)
    due, gaps = 0.0, []
    for _ in range(50):
        watched = pop(plan, due)
        _, following = plan.record_check(watched, True, started=due)
        gaps.append(following - due)
        due = following
    assert 0.5 * INTERVAL <= gaps[0] <= INTERVAL, "drift apart after the first"
    assert all(abs(gap - INTERVAL) <= JITTER * INTERVAL for gap in gaps[1:])
    assert len(set(gaps)) > 40


def test_a_service_has_its_own_interval() -> None:
    plan = schedule()
    plan.follow("a", service(health=HealthCheck(interval=2.0)), 0.0, spread=False)
    plan.record_check(pop(plan, 0.0), True, 0.0)
    _, due = plan.record_check(pop(plan, 2.0), True, 2.0)
    assert abs(due - 4.0) <= 2.0 * JITTER


@pytest.mark.parametrize("fall", [1, 3])
def test_failures_in_a_row_add_a_fault(fall: int) -> None:
    plan = schedule(fall=fall)
    plan.follow("a", service(), 0.0, spread=False)
    now = 0.0
    for number in range(1, fall + 1):
        verdict, now = plan.record_check(pop(plan, now), False, now)
        assert verdict == ("add_fault" if number == fall else None)


def test_a_success_in_between_starts_the_count_again() -> None:
    plan = schedule(fall=2)
    plan.follow("a", service(), 0.0, spread=False)
    now, verdicts = 0.0, []
    for ok in (False, True, False, True, False, False):
        verdict, now = plan.record_check(pop(plan, now), ok, now)
        verdicts.append(verdict)
    assert verdicts == [None, None, None, None, None, "add_fault"]


@pytest.mark.parametrize("rise", [1, 2])
def test_successes_in_a_row_clear(rise: int) -> None:
    plan = schedule(rise=rise)
    plan.follow("a", faulty(service()), 0.0, spread=False)
    now = 0.0
    for number in range(1, rise + 1):
        verdict, now = plan.record_check(pop(plan, now), True, now)
        assert verdict == ("remove_faults" if number == rise else None)


def test_a_verdict_that_was_not_carried_out_comes_again() -> None:
    plan = schedule(fall=1)
    plan.follow("a", service(), 0.0, spread=False)
    first, now = plan.record_check(pop(plan, 0.0), False, 0.0)
    second, _ = plan.record_check(pop(plan, now), False, now)
    assert (first, second) == ("add_fault", "add_fault")


def test_once_carried_out_it_is_not_repeated() -> None:
    plan = schedule(fall=1)
    subject = service()
    plan.follow("a", subject, 0.0, spread=False)
    _, now = plan.record_check(pop(plan, 0.0), False, 0.0)
    plan.follow("a", faulty(subject), now, spread=False)
    verdict, _ = plan.record_check(pop(plan, now), False, now)
    assert verdict is None


def test_what_was_seen_of_a_replaced_registration_counts_for_nothing() -> None:
    plan = schedule(fall=1)
    plan.follow("a", service(), 0.0, spread=False)
    running = pop(plan, 0.0)
    anew = Service(service().registration, registered_at=NOW.replace(day=2), since=NOW)
    plan.follow("a", anew, 1.0, spread=False)
    verdict, _ = plan.record_check(running, False, 0.0)
    assert verdict is None
    assert pop(plan, 1.0).registered_at == anew.registered_at
    assert plan.checks.pop(1e9) is None, "the old one is never due again"


def test_who_is_gone_is_never_due() -> None:
    plan = schedule()
    plan.follow("a", service(), 0.0, spread=False)
    plan.follow("a", None, 0.0, spread=False)
    assert plan.checks.pop(1e9) is None
    assert len(plan) == 0


@pytest.mark.parametrize("mode", ["embedded", "standalone", "ipc"])
def test_some_modes_are_not_checked(mode: str) -> None:
    plan = schedule()
    plan.follow("a", service(mode=mode), 0.0, spread=False)
    assert len(plan) == 0


def herd(size: int, fall: int = 2) -> Schedule:
    """A schedule with ``size`` services that all answered their first check."""
    plan = schedule(fall=fall)
    for number in range(size):
        plan.follow(f"s{number}", service(f"s{number}"), 0.0, spread=False)
    while (due := plan.checks.pop(0.0)) is not None:
        plan.record_check(due, True, 0.0)
    return plan


def all_due(plan: Schedule, now: float) -> list[WatchedService]:
    found = []
    while (due := plan.checks.pop(now)) is not None:
        found.append(due)
    return found


def fail(plan: Schedule, ids: set[str], rounds: int, start: float) -> list[str]:
    """Let ``ids`` fail for some rounds, return who got a fault."""
    found = []
    for number in range(rounds):
        now = start + (number + 1) * 2 * INTERVAL
        for watched in all_due(plan, now):
            verdict, _ = plan.record_check(watched, watched.id not in ids, now)
            if verdict == "add_fault":
                found.append(watched.id)
                plan.follow(watched.id, faulty(service(watched.id)), now, spread=False)
    return found


def test_half_of_the_services_may_fail_together() -> None:
    plan = herd(10)
    failing = {f"s{number}" for number in range(5)}
    assert set(fail(plan, failing, 2, 0.0)) == failing


def test_more_than_half_at_once_means_doubt_and_no_verdicts() -> None:
    plan = herd(10)
    failing = {f"s{number}" for number in range(6)}
    assert fail(plan, failing, 5, 0.0) == []
    assert plan.suspicion is not None and "6 of 10" in plan.suspicion


def test_doubt_ends_when_enough_answer_again() -> None:
    plan = herd(10)
    fail(plan, {f"s{number}" for number in range(9)}, 3, 0.0)
    assert plan.suspicion
    remaining = {"s0", "s1"}
    assert set(fail(plan, remaining, 2, 1_000.0)) == remaining
    assert plan.suspicion is None


def test_doubt_ends_when_the_dead_are_unregistered() -> None:
    plan = herd(10)
    fail(plan, {f"s{number}" for number in range(6)}, 3, 0.0)
    for number in range(2):
        plan.follow(f"s{number}", None, 500.0, spread=False)
    assert plan.suspicion is None


def test_few_services_may_all_fail() -> None:
    plan = herd(4)
    failing = {f"s{number}" for number in range(4)}
    assert set(fail(plan, failing, 2, 0.0)) == failing


def leased(ttl: float = 10.0) -> tuple[Schedule, WatchedService]:
    plan = schedule()
    plan.follow("a", service(mode="standalone", ttl=ttl), 0.0, spread=False)
    assert plan.leases.pop(ttl - 0.1) is None, "a full term first"
    due = plan.leases.pop(ttl)
    assert due is not None
    return plan, due


def test_a_heartbeat_holds_the_lease_for_a_full_term() -> None:
    plan, watched = leased()
    assert plan.check_lease(watched, seen=9.0, now=10.0) == "held"
    assert plan.leases.pop(18.9) is None
    assert plan.leases.pop(19.0) is not None


def test_a_missed_term_is_noticed_and_ten_expire() -> None:
    plan, watched = leased()
    assert plan.check_lease(watched, seen=0.0, now=10.0) == "missed"
    now = 10.0
    for _ in range(20):
        due = plan.leases.next_at()
        assert due is not None
        now = due
        missed = plan.leases.pop(now)
        assert missed is not None
        state = plan.check_lease(missed, seen=0.0, now=now)
        if state == "expired":
            break
    assert (state, now) == ("expired", 10.0 * status.LEASE_TERMS)


def test_a_service_with_a_check_and_a_lease_has_both() -> None:
    plan = schedule()
    plan.follow("a", service(ttl=10.0), 0.0, spread=False)
    assert plan.checks.pop(0.0) is not None
    assert plan.leases.pop(10.0) is not None
