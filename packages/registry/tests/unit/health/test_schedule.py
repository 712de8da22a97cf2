"""The schedule, with time as a number: nothing here waits."""

import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from modularity_registry.health.schedule import JITTER, Schedule, Verdict
from modularity_registry.health.watched_service import WatchedService
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


def record(
    schedule: Schedule,
    watched: WatchedService,
    ok: bool | None,
    now: float,
    doubted: bool | None = None,
    warns: bool = False,
) -> tuple[Verdict | None, float]:
    """Record a check that begins and ends ``now``; the verdict, and when it is due."""
    if doubted is None:
        doubted = schedule.suspicion.active
    verdict = schedule.record_check(watched, ok, now, now, doubted, warns)
    schedule.end_check(watched, now)
    return verdict, watched.due


def faulty(subject: Service) -> Service:
    return status.with_fault(subject, Fault("check", "bad", NOW))


def warning(subject: Service) -> Service:
    return status.with_warning(subject, Fault("check", "slow", NOW))


def test_a_new_registration_is_checked_at_once() -> None:
    plan = schedule()
    plan.follow("a", service(), now=100.0, spread=False)
    assert pop(plan, 100.0).id == "a"
    assert plan.checks.pop(1_000.0) is None, "under way: not due again"


def test_many_at_once_are_spread_over_the_interval() -> None:
    plan = schedule()
    for number in range(1_000):
        plan.follow(f"s{number}", service(f"s{number}"), now=0.0, spread=True)
    early, late = (count_due(plan, now) for now in (INTERVAL / 2, INTERVAL))
    assert early + late == 1_000
    assert 400 < early < 600


def test_a_spread_takes_the_whole_interval_and_begins_no_sooner() -> None:
    plan = schedule()
    for number in range(1_000):
        plan.follow(f"s{number}", service(f"s{number}"), now=0.0, spread=True)
    assert count_due(plan, 0.0) == 0
    assert count_due(plan, INTERVAL / 100) > 0


def test_a_new_registration_is_not_late_yet() -> None:
    plan = schedule()
    plan.follow("a", service(), now=100.0, spread=False)
    assert pop(plan, 100.0).due == 100.0


def test_checks_come_every_interval_with_jitter() -> None:
    plan = schedule()
    plan.follow("a", service(), 0.0, spread=False)
    due, gaps = 0.0, []
    for _ in range(50):
        watched = pop(plan, due)
        _, following = record(plan, watched, True, due)
        gaps.append(following - due)
        due = following
    assert 0.5 * INTERVAL <= gaps[0] <= INTERVAL, "drift apart after the first"
    assert all(abs(gap - INTERVAL) <= JITTER * INTERVAL for gap in gaps[1:])
    assert len(set(gaps)) > 40


def test_an_interval_is_from_one_beginning_to_the_next() -> None:
    plan = schedule()
    plan.follow("a", service(), 0.0, spread=False)
    _, begun = record(plan, pop(plan, 0.0), True, 0.0)
    watched, end = pop(plan, begun), begun + 20.0
    assert plan.record_check(watched, True, begun, end, doubted=False) is None
    plan.end_check(watched, end)
    assert watched.due - begun == pytest.approx(INTERVAL, rel=JITTER)
    assert plan.checks.next_at() == watched.due


def test_a_check_that_took_longer_than_its_interval_is_due_when_it_ends() -> None:
    plan = schedule(fall=1)
    plan.follow("a", service(), 0.0, spread=False)
    watched = pop(plan, 0.0)
    plan.record_check(watched, False, started=0.0, now=40.0, doubted=False)
    plan.end_check(watched, 40.5)  # its verdict was written meanwhile
    assert watched.due == 40.5


def test_a_check_that_was_not_made_is_due_after_an_interval() -> None:
    plan = schedule()
    plan.follow("a", service(), 0.0, spread=False)
    watched = pop(plan, 0.0)
    plan.end_check(watched, 7.0)  # without any outcome
    assert 0.5 * INTERVAL <= watched.due - 7.0 <= INTERVAL
    begun = watched.due
    _, due = record(plan, pop(plan, begun), None, begun)
    assert due - begun == pytest.approx(INTERVAL, rel=JITTER)
    plan.end_check(pop(plan, due), due + 7.0)  # once more, after one with an outcome
    assert watched.due - (due + 7.0) == pytest.approx(INTERVAL, rel=JITTER)


def test_a_service_has_its_own_interval() -> None:
    plan = schedule()
    plan.follow("a", service(health=HealthCheck(interval=2.0)), 0.0, spread=False)
    record(plan, pop(plan, 0.0), True, 0.0)
    _, due = record(plan, pop(plan, 2.0), True, 2.0)
    assert abs(due - 4.0) <= 2.0 * JITTER


@pytest.mark.parametrize("fall", [1, 3])
def test_failures_in_a_row_add_a_fault(fall: int) -> None:
    plan = schedule(fall=fall)
    plan.follow("a", service(), 0.0, spread=False)
    now = 0.0
    for number in range(1, fall + 1):
        verdict, now = record(plan, pop(plan, now), False, now)
        assert verdict == ("add_fault" if number == fall else None)


def test_a_warning_counts_at_once_and_ends_after_clean_answers() -> None:
    plan = schedule(rise=2)
    plan.follow("a", service(), 0.0, spread=False)
    now = 0.0

    def check(ok: bool, warns: bool = False) -> Verdict | None:
        nonlocal now
        verdict, now = record(plan, pop(plan, now), ok, now, warns=warns)
        return verdict

    assert check(True, warns=True) == "add_warning"
    plan.follow("a", warning(service()), now, spread=False)
    assert check(True, warns=True) is None
    assert check(True) is None
    assert check(True, warns=True) is None, "one that warns starts the count again"
    assert check(True) is None
    assert check(True) == "remove_faults"


def test_a_fault_that_ends_with_a_warning_becomes_one() -> None:
    plan = schedule(rise=2)
    plan.follow("a", faulty(service()), 0.0, spread=False)
    verdict, now = record(plan, pop(plan, 0.0), True, 0.0)
    assert verdict is None
    verdict, _ = record(plan, pop(plan, now), True, now, warns=True)
    assert verdict == "add_warning"


def test_after_a_failure_the_next_checks_come_sooner() -> None:
    plan = schedule()
    plan.follow("a", service(), 0.0, spread=False)
    _, due = record(plan, pop(plan, 0.0), True, 0.0)
    gaps = []
    for _ in range(4):
        now = due
        _, due = record(plan, pop(plan, now), False, now)
        gaps.append(due - now)
    for gap, share in zip(gaps, (0.1, 0.1, 1.0, 1.0), strict=True):
        assert gap == pytest.approx(INTERVAL * share, rel=JITTER)


@pytest.mark.parametrize(
    ("interval", "pause"), [(5.0, 1.0), (0.5, 0.5)], ids=["a second", "its interval"]
)
def test_a_sooner_check_is_not_too_soon(interval: float, pause: float) -> None:
    plan = schedule()
    quick = service(health=HealthCheck(interval=interval))
    plan.follow("a", quick, 0.0, spread=False)
    _, due = record(plan, pop(plan, 0.0), False, 0.0)
    assert due == pytest.approx(pause, rel=JITTER)


@pytest.mark.parametrize("fall", [2, 3, 5])
def test_a_verdict_waits_until_the_other_hosts_were_checked(fall: int) -> None:
    """The registry's network fails: who fails first must not be accused before."""
    plan = herd(20, fall=fall)
    verdicts, now = [], 0.0
    while now < 10 * INTERVAL:
        now += 0.1
        for watched in all_due(plan, now):
            verdicts.append(record(plan, watched, False, now)[0])
    assert plan.suspicion.active
    assert set(verdicts) == {None}


def test_the_checks_before_a_verdict_share_an_interval() -> None:
    plan = herd(20, fall=4)
    begun = plan.checks.next_at()
    assert begun is not None
    _, due = record(plan, pop(plan, begun), False, begun)
    assert due - begun == pytest.approx(INTERVAL / 3, rel=JITTER)


def test_who_never_passed_waits_for_nobody() -> None:
    plan = herd(20)
    plan.follow("new", hosted("new", "10.0.1.1"), 0.0, spread=False)
    _, due = record(plan, pop(plan, 0.0), False, 0.0)
    assert due == pytest.approx(INTERVAL * 0.1, rel=JITTER)


def test_a_success_in_between_starts_the_count_again() -> None:
    plan = schedule(fall=2)
    plan.follow("a", service(), 0.0, spread=False)
    now, verdicts = 0.0, []
    for ok in (False, True, False, True, False, False):
        verdict, now = record(plan, pop(plan, now), ok, now)
        verdicts.append(verdict)
    assert verdicts == [None, None, None, None, None, "add_fault"]


@pytest.mark.parametrize("rise", [1, 2])
def test_successes_in_a_row_clear(rise: int) -> None:
    plan = schedule(rise=rise)
    plan.follow("a", faulty(service()), 0.0, spread=False)
    now = 0.0
    for number in range(1, rise + 1):
        verdict, now = record(plan, pop(plan, now), True, now)
        assert verdict == ("remove_faults" if number == rise else None)


def test_a_verdict_that_was_not_carried_out_comes_again() -> None:
    plan = schedule(fall=1)
    plan.follow("a", service(), 0.0, spread=False)
    first, now = record(plan, pop(plan, 0.0), False, 0.0)
    second, _ = record(plan, pop(plan, now), False, now)
    assert (first, second) == ("add_fault", "add_fault")


def test_once_carried_out_it_is_not_repeated() -> None:
    plan = schedule(fall=1)
    subject = service()
    plan.follow("a", subject, 0.0, spread=False)
    _, now = record(plan, pop(plan, 0.0), False, 0.0)
    plan.follow("a", faulty(subject), now, spread=False)
    verdict, _ = record(plan, pop(plan, now), False, now)
    assert verdict is None


def test_what_was_seen_of_a_replaced_registration_counts_for_nothing() -> None:
    plan = schedule(fall=1)
    plan.follow("a", service(), 0.0, spread=False)
    running = pop(plan, 0.0)
    later = Service(service().registration, registered_at=NOW.replace(day=2), since=NOW)
    plan.follow("a", later, 1.0, spread=False)
    verdict, _ = record(plan, running, False, 0.0)
    assert verdict is None
    assert pop(plan, 1.0).registered_at == later.registered_at
    assert plan.checks.pop(1e9) is None, "the old one is never due again"


def test_who_is_gone_is_never_due() -> None:
    plan = schedule()
    plan.follow("a", service(), 0.0, spread=False)
    plan.follow("a", None, 0.0, spread=False)
    assert plan.checks.pop(1e9) is None
    assert len(plan) == 0


def test_an_id_that_comes_again_and_again_fills_no_queue() -> None:
    plan = schedule()
    for second in range(1_000):
        again = msgspec.structs.replace(
            service(ttl=3_600.0), registered_at=NOW + timedelta(seconds=second)
        )
        plan.follow("a", again, 0.0, spread=False)
    assert len(plan.checks) < 150 and len(plan.leases) < 150


@pytest.mark.parametrize("mode", ["embedded", "standalone", "ipc"])
def test_some_modes_are_not_checked(mode: str) -> None:
    plan = schedule()
    plan.follow("a", service(mode=mode), 0.0, spread=False)
    assert len(plan) == 0


def herd(size: int, fall: int = 2, owner: str = "") -> Schedule:
    """A schedule with a service at each of ``size`` hosts, that passed one check."""
    plan = schedule(fall=fall)
    for number in range(size):
        join(plan, f"s{number}", f"10.0.0.{number}", owner)
    return plan


def join(plan: Schedule, service_id: str, host: str, owner: str = "") -> None:
    """Add a service that passes its first check."""
    plan.follow(service_id, hosted(service_id, host, owner), 0.0, spread=False)
    record(plan, pop(plan, 0.0), True, 0.0)


def hosted(service_id: str, host: str, owner: str = "") -> Service:
    subject = service(service_id, location=f"http://{host}:1")
    return msgspec.structs.replace(subject, owner=owner)


def count_due(plan: Schedule, now: float) -> int:
    count = 0
    while (watched := plan.checks.pop(now)) is not None:
        plan.checks.release(watched)
        count += 1
    return count


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
            verdict, _ = record(plan, watched, watched.id not in ids, now)
            if verdict == "add_fault":
                found.append(watched.id)
                bad = hosted(watched.id, watched.host, watched.owner)
                plan.follow(watched.id, faulty(bad), now, spread=False)
    return found


def ids(prefix: str, count: int) -> set[str]:
    return {f"{prefix}{number}" for number in range(count)}


def test_half_of_the_hosts_may_fail_together() -> None:
    plan = herd(10)
    assert set(fail(plan, ids("s", 5), 2, 0.0)) == ids("s", 5)


def test_more_than_half_at_once_means_doubt_and_no_verdicts() -> None:
    plan = herd(10)
    assert fail(plan, ids("s", 6), 5, 0.0) == []
    assert plan.suspicion.reason is not None
    assert "6 of 10 hosts" in plan.suspicion.reason


def test_doubt_ends_when_enough_answer_again() -> None:
    plan = herd(10)
    fail(plan, ids("s", 9), 3, 0.0)
    assert plan.suspicion.active
    remaining = {"s0", "s1"}
    assert set(fail(plan, remaining, 3, 1_000.0)) == remaining
    assert not plan.suspicion.active


def test_doubt_ends_when_the_dead_are_unregistered() -> None:
    plan = herd(10)
    fail(plan, ids("s", 6), 3, 0.0)
    for number in range(2):
        plan.follow(f"s{number}", None, 500.0, spread=False)
    assert not plan.suspicion.active


def test_a_change_counts_nobody_twice() -> None:
    plan = herd(10)
    for number in range(10):
        same = hosted(f"s{number}", f"10.0.0.{number}")
        plan.follow(same.registration.id, same, 1.0, spread=False)
    assert fail(plan, ids("s", 6), 5, 0.0) == []
    assert "6 of 10 hosts" in (plan.suspicion.reason or "")


def test_who_is_gone_counts_no_more() -> None:
    plan = herd(10)
    for number in range(6, 10):
        plan.follow(f"s{number}", None, 1.0, spread=False)
    assert fail(plan, ids("s", 4), 5, 0.0) == []
    assert "4 of 6 hosts" in (plan.suspicion.reason or "")


def test_few_hosts_may_all_fail() -> None:
    plan = herd(2)
    assert set(fail(plan, ids("s", 2), 2, 0.0)) == ids("s", 2)


def test_what_a_check_began_in_doubt_found_accuses_nobody_afterwards() -> None:
    plan = herd(10, fall=1)
    for watched in (running := all_due(plan, 100.0))[:6]:
        record(plan, watched, False, 100.0, doubted=True)
    assert plan.suspicion.active
    for watched in running[:6]:
        plan.follow(watched.id, None, 100.0, spread=False)
    assert not plan.suspicion.active
    late = running[6]
    assert record(plan, late, False, 105.0, doubted=True)[0] is None
    assert plan.checks.pop(105.0) is None
    assert record(plan, pop(plan, late.due), False, late.due)[0] == "add_fault"


def test_who_never_passed_a_check_is_accused_and_raises_no_doubt() -> None:
    plan = herd(4)
    for number in range(5):
        never = hosted(f"n{number}", f"10.0.1.{number}")
        plan.follow(f"n{number}", never, 0.0, spread=False)
    assert set(fail(plan, ids("n", 5), 2, 0.0)) == ids("n", 5)


def test_who_never_passed_a_check_is_accused_in_doubt_too() -> None:
    plan = herd(10)
    fail(plan, ids("s", 9), 3, 0.0)
    plan.follow("new", hosted("new", "10.0.1.1"), 900.0, spread=False)
    assert fail(plan, {*ids("s", 9), "new"}, 2, 1_000.0) == ["new"]


def test_who_was_stored_without_a_fault_counts_as_having_passed() -> None:
    plan = schedule(fall=2)
    for number in range(10):
        stored = hosted(f"s{number}", f"10.0.0.{number}")
        plan.follow(f"s{number}", stored, 0.0, spread=True)
    assert fail(plan, ids("s", 10), 5, 0.0) == []
    assert plan.suspicion.active


def test_one_host_with_many_services_hides_no_other() -> None:
    plan = herd(4)
    for number in range(12):
        join(plan, f"many{number}", "10.0.1.1")
    failing = {*ids("many", 12), "s0"}
    assert set(fail(plan, failing, 2, 0.0)) == failing


def test_one_owner_with_many_hosts_hides_no_other() -> None:
    plan = herd(4, owner="b")
    for number in range(12):
        join(plan, f"many{number}", f"10.0.1.{number}", owner="a")
    failing = {*ids("many", 12), "s0"}
    assert set(fail(plan, failing, 2, 0.0)) == failing


def test_where_everybody_is_one_owner_the_hosts_decide() -> None:
    plan = herd(10, owner="a")
    assert fail(plan, ids("s", 6), 5, 0.0) == []


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


def test_a_lease_that_has_expired_is_looked_at_again_after_a_term() -> None:
    plan, watched = leased()
    assert plan.check_lease(watched, seen=0.0, now=500.0) == "expired"
    assert plan.leases.next_at() == 510.0


def test_a_service_with_a_check_and_a_lease_has_both() -> None:
    plan = schedule()
    plan.follow("a", service(ttl=10.0), 0.0, spread=False)
    assert plan.checks.pop(0.0) is not None
    assert plan.leases.pop(10.0) is not None
