"""What a mirror decides to do."""

from typing import Any

import pytest

from modularity_client import Service
from modularity_registry.cli.mirror.follow import unchecked
from modularity_registry.cli.mirror.plan import (
    EMPTY_FOR,
    Plan,
    is_suspicious,
    plan_of,
)
from modularity_registry.cli.mirror.source import BadSource, Instance, is_wanted, parsed
from modularity_registry.clock import rfc3339
from support.registry import ManualClock, registration

NAME = "consul://c:8500"
NOW = rfc3339(ManualClock().now())


def lease(mode: str) -> dict[str, Any]:
    return {"ttl": 6.0, "checks": [], **unchecked(mode)}


def instance(key: str, *ids: str, **changes: Any) -> Instance:
    body = {name: value for name, value in registration().items() if name != "id"}
    return Instance(key, ids or (key,), {**body, **changes})


def service(service_id: str, key: str, **changes: Any) -> Service:
    marks = {"mirrored_from": NAME, "mirrored_key": key}
    body = {
        **registration(service_id),
        **{"weight": 1, "ttl": 6.0, "health": None, "status": "healthy"},
        **{"revision": 1, "registered_at": NOW, "last_seen": NOW, "failed_checks": 0},
    }
    body["metadata"] = {**body["metadata"], **marks}
    return Service.from_json({**body, **changes})


def planned(*services: Service, **instances: Instance) -> Plan:
    return plan_of(instances, services, NAME, lease)


def test_what_is_equal_is_not_written() -> None:
    plan = planned(service("a", "a"), a=instance("a"))

    assert (plan.writes, plan.gone) == ((), ())
    assert [one.id for one, _ in plan.same] == ["a"]


@pytest.mark.parametrize(
    "change",
    [{"location": "http://10.0.0.9:1"}, {"weight": 2}, {"metadata": {}}, {"ttl": 9.0}],
)
def test_what_differs_is_written_over_the_revision_that_was_read(
    change: dict[str, Any],
) -> None:
    if "metadata" in change:
        change = {"metadata": {"mirrored_from": NAME, "mirrored_key": "a"}}
    present = service("a", "a", revision=7, **change)

    (write,) = planned(present, a=instance("a")).writes

    assert (write.service_id, write.revision) == ("a", 7)


def test_an_id_stays_with_whom_it_has_been_given_to() -> None:
    both = {
        "n1/w": instance("n1/w", "w", "w:n1"),
        "n2/w": instance("n2/w", "w", "w:n2"),
    }
    first = plan_of(both, [], NAME, lease)
    assert [write.service_id for write in first.writes] == ["w", "w:n2"]

    later = plan_of(both, [service("w", "n2/w")], NAME, lease)
    assert [write.service_id for write in later.writes] == ["w:n1"]


@pytest.mark.parametrize(
    ("gone", "left", "empty_for", "suspicious"),
    [
        (0, 0, 0, False),
        (1, 1, 0, False),
        (2, 1, 0, False),
        (3, 3, 0, False),
        (3, 2, 0, True),
        (9, 0, EMPTY_FOR * 9, True),
        (1, 0, 0, True),
        (2, 0, EMPTY_FOR, False),
    ],
)
def test_a_loss_of_most_is_doubted(
    gone: int, left: int, empty_for: float, suspicious: bool
) -> None:
    services = [service(f"s{n}", f"s{n}") for n in range(gone + left)]
    instances = {f"s{n}": instance(f"s{n}") for n in range(gone, gone + left)}
    plan = planned(*services, **instances)

    assert is_suspicious(plan, empty_for) is suspicious


@pytest.mark.parametrize(
    ("text", "url", "name"),
    [
        ("consul://h:8500", "http://h:8500", "consul://h:8500"),
        ("consul=https://h:8501/", "https://h:8501", "consul://h:8501"),
        ("eureka=http://u:p@h/eureka", "http://h/eureka", "eureka://h"),
        ("consul://[fd00::1]:8500", "http://[fd00::1]:8500", "consul://[fd00::1]:8500"),
    ],
)
def test_addresses_are_read(text: str, url: str, name: str) -> None:
    address = parsed(text)

    assert (address.url, address.name) == (url, name)
    assert address.user == (("u", "p") if "@" in text else None)


@pytest.mark.parametrize("text", ["", "h:8500", "zk://h", "eureka=h", "consul://h:x"])
def test_bad_addresses_are_refused_without_a_password(text: str) -> None:
    with pytest.raises(BadSource, match="is no source"):
        parsed(text)
    with pytest.raises(BadSource) as caught:
        parsed("zk://user:secret@h")
    assert "secret" not in str(caught.value)


def test_names_are_chosen_by_patterns() -> None:
    assert is_wanted("WEB", ())
    assert is_wanted("WEB", ("w*",))
    assert not is_wanted("web", ("db", "w"))
