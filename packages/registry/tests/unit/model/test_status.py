"""A service's status from facts, and what each event makes of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from modularity_registry.model import status
from modularity_registry.model.checks import ServiceCheck
from modularity_registry.model.service import (
    MOST_INSTANCES,
    CheckPlan,
    Fault,
    FaultSource,
    HealthCheck,
    Registration,
    Service,
)

START = datetime(2026, 1, 2, tzinfo=UTC)
LATER = START + timedelta(seconds=30)
DEFAULTS = CheckPlan(interval=10, timeout=5, path="/default")
MODULE = ServiceCheck("module", "module")


def service(**changes: Any) -> Service:
    about = Registration("a", "A", ("greet",), "http://10.0.0.1", "http")
    return msgspec.structs.replace(Service(about, START, START), **changes)


def fault(source: FaultSource = "check", text: str = "down", check: str = "") -> Fault:
    return Fault(source, text, LATER, check)


def draining() -> Service:
    return status.drained(service(), "update", LATER)


def test_status_is_the_worst_of_what_was_found_and_a_drain_comes_first() -> None:
    healthy = service()
    warned = status.with_warning(healthy, fault(text="slow", check="load"))
    failed = status.with_fault(warned, fault())
    drain = status.drained(failed, "", LATER)
    services = healthy, warned, failed, drain
    assert [status.status(each) for each in services] == [
        "healthy",
        "warning",
        "unhealthy",
        "draining",
    ]
    assert [status.reason(each) for each in services] == [
        None,
        "slow",
        "down",
        "drained by an operator",
    ]
    assert status.reason(draining()) == "update"


def test_status_begins_anew_only_when_it_changes() -> None:
    failed = status.with_fault(service(), fault())
    assert failed.since == LATER
    again = Fault("report", "says so", LATER + timedelta(1))
    assert status.with_fault(failed, again).since == LATER


def test_a_check_has_one_result_at_a_time() -> None:
    found = status.with_fault(service(), fault(text="first"))
    found = status.with_fault(found, fault(text="second"))
    found = status.with_fault(found, fault(text="of another", check="load"))
    assert [each.reason for each in found.faults] == ["second", "of another"]
    warned = status.with_warning(found, fault(text="slow"))
    assert [each.reason for each in warned.faults] == ["of another"]
    assert [each.reason for each in warned.warnings] == ["slow"]
    over = frozenset[FaultSource]({"report"})
    failed = status.with_fault(service(), fault("report"))
    assert status.with_warning(failed, fault(text="slow"), over).faults == ()


def test_without_what_a_source_found_the_rest_stays() -> None:
    sources = frozenset[FaultSource]({"check"})
    failed = status.with_fault(service(), fault())
    both = status.with_fault(failed, fault("report"))
    left = status.without_faults(both, sources, LATER)
    assert [each.source for each in left.faults] == ["report"]
    warned = status.with_warning(both, fault(check="load"))
    assert status.without_faults(warned, sources, LATER, "load") == both
    only_warned = status.with_warning(service(), fault(check="load"))
    assert status.without_faults(only_warned, sources, LATER, "load").warnings == ()
    for nothing in (service(), status.with_fault(service(), fault("report"))):
        assert status.without_faults(nothing, sources, LATER) is nothing
    assert status.without_faults(only_warned, sources, LATER) is only_warned


def test_only_a_failed_module_check_ends_the_verification() -> None:
    about = msgspec.structs.replace(
        service().registration, checks=(MODULE, ServiceCheck("load", "http"))
    )
    verified = status.verified(service(registration=about), START)
    assert verified.verified == START
    assert status.verified(verified, LATER) is verified
    assert status.with_fault(verified, fault(check="load")).verified == START
    assert status.with_fault(verified, fault(check="module")).verified is None
    assert status.with_fault(verified, fault()).verified == START


def test_a_drain_is_given_once_and_taken_back_once() -> None:
    drained = draining()
    assert (drained.since, drained.drain and drained.drain.reason) == (LATER, "update")
    assert status.drained(drained, "update", LATER + timedelta(1)) is drained
    other = status.drained(drained, "move", LATER + timedelta(1))
    assert other.drain is not None and other.drain.reason == "move"
    back = status.undrained(drained, LATER)
    assert back.drain is None and back.since == LATER
    healthy = service()
    assert status.undrained(healthy, LATER) is healthy


def test_an_instance_that_registers_the_same_joins_the_others() -> None:
    first = status.joined(service(), service(), "one")
    same = service(registered_at=LATER, since=LATER)
    second = status.joined(first, same, "two")
    assert second.instances == ("one", "two")
    assert second.registered_at == START
    assert status.joined(second, same, "one") is second
    assert status.joined(draining(), same, "one").drain is None
    drained = status.drained(first, "update", LATER)
    assert status.joined(drained, same, "one").drain is None
    assert status.left(second, "one").instances == ("two",)


@pytest.mark.parametrize(
    "change",
    [
        {"registration": Registration("a", "B", ("greet",), "http://10.0.0.1", "http")},
        {"owner": "key"},
        {"loopback": False},
    ],
)
def test_an_instance_that_registers_something_else_replaces_it(
    change: dict[str, Any],
) -> None:
    current = service(instances=("one",))
    new = service(registered_at=LATER, **change)
    assert status.joined(current, new, "two") == msgspec.structs.replace(
        new, instances=("one", "two")
    )


def test_an_instance_that_registers_amid_a_fault_begins_anew() -> None:
    new = service(registered_at=LATER, since=LATER)
    joined = status.joined(status.with_fault(service(), fault()), new, "one")
    assert joined == msgspec.structs.replace(new, instances=("one",))


def test_of_too_many_instances_the_newest_stay() -> None:
    names = tuple(map(str, range(MOST_INSTANCES)))
    joined = status.joined(service(instances=names), service(), "new")
    assert joined.instances == (*names[1:], "new")


def test_only_a_live_provider_elsewhere_is_displaced() -> None:
    about = msgspec.structs.replace(service().registration, location="http://10.0.0.2")
    moved = service(registration=about)
    assert status.displaced(service(), moved) == "http://10.0.0.1"
    assert status.displaced(service(), service()) == ""
    assert status.displaced(status.with_fault(service(), fault()), moved) == ""


def registration(mode: Any = "http", health: HealthCheck | None = None) -> Registration:
    return Registration("a", "A", (), "x", mode, health=health)


def test_check_is_made_as_the_service_asks_else_as_the_settings_say() -> None:
    assert status.check_plan(registration(), DEFAULTS) == DEFAULTS
    asked = registration(health=HealthCheck("/up", 3, 2))
    assert status.check_plan(asked, DEFAULTS) == CheckPlan(3, 2, "/up")
    bare = CheckPlan(interval=10, timeout=5)
    assert status.check_plan(registration("tcp"), DEFAULTS) == bare
    plan = status.check_plan(registration(), bare)
    assert plan is not None and plan.path == status.DEFAULT_CHECK_PATH
    assert status.check_plan(registration("embedded"), DEFAULTS) is None
    off = registration(health=HealthCheck(enabled=False))
    assert status.check_plan(off, DEFAULTS) is None
    check = ServiceCheck("load", "http", interval=7, timeout=1, fall=2, rise=4)
    assert status.named_plan(check, DEFAULTS) == CheckPlan(7, 1, None, 2, 4)
    default = CheckPlan(interval=10, timeout=5)
    assert status.named_plan(ServiceCheck("load", "http"), DEFAULTS) == default


def test_a_lease_is_missed_after_a_term_and_expires_after_ten() -> None:
    assert [status.lease_missed(5, 10, now) for now in (14.9, 15)] == [False, True]
    assert [status.lease_expired(5, 10, now) for now in (104.9, 105)] == [False, True]


def test_registry_doubts_itself_when_more_than_half_of_three_hosts_fail() -> None:
    assert [
        status.suspicious(failing, hosts)
        for failing, hosts in [(2, 2), (1, 3), (2, 3), (2, 4), (3, 4)]
    ] == [False, False, True, False, True]
