"""Who gets calls, and how many: as a lookup chooses."""

from typing import Any

from modularity_client.locality import Place
from modularity_registry.cli.proxies.balance import weighted
from support.proxies.snapshots import event, service, snapshot


def weights(*services: Any, split: Any = None, zone: str = "") -> dict[str, int]:
    found = weighted(services, split, 100, Place(zone))
    return {each.service.id: each.weight for each in found}


def test_weights_are_as_registered_where_that_can_be() -> None:
    assert weights(service("a", weight=3), service("b")) == {"a": 3, "b": 1}
    assert weights(service("a", weight=400), service("b")) == {"a": 100, "b": 1}
    assert weights(service("a", weight=0), service("b")) == {"b": 1}
    assert weights(service("a", weight=0)) == {"a": 1}
    assert weights() == {}


def test_only_the_best_get_calls() -> None:
    warns, backup = service("w", status="warning"), service("b", priority=5)
    drains, fails = service("d", status="draining"), service("f", status="unhealthy")
    assert weights(service("a"), warns, backup, drains, fails) == {"a": 1}
    assert weights(warns, backup, drains, fails) == {"b": 1}
    assert weights(warns, drains, fails) == {"w": 1}
    assert weights(drains, fails) == {}


def test_those_in_the_zone_come_first() -> None:
    here, there = service("a", zone="here"), service("b", zone="there")
    assert weights(here, there, zone="here") == {"a": 1}
    assert weights(here, there, zone="nowhere") == {"a": 1, "b": 1}


def test_a_split_divides_the_calls_among_groups_that_have_somebody() -> None:
    old, new = service("a", version="1.2.0"), service("b", version="2.0.0")
    other = service("c", version="2.1.0", weight=3)
    split = {"v1": 80, "v2": 20}
    assert weights(old, new, other, split=split) == {"a": 100, "b": 6, "c": 19}
    assert weights(new, other, split=split) == {"b": 33, "c": 100}
    assert weights(service("x", version="9"), split=split) == {"x": 1}


def test_a_snapshot_takes_only_what_is_news() -> None:
    found = snapshot(service("a", revision=5), service("b", revision=12))
    drained = service("a", status="draining")
    assert not found.apply(event("service.status_changed", 10, drained))
    assert not found.apply(event("service.updated", 12, service("b", version="9")))
    assert found.apply(event("service.status_changed", 13, drained))
    assert found.apply(event("service.unregistered", 14, service("b")))
    assert not found.apply(event("service.unregistered", 14, service("b")))
    change: dict[str, Any] = {"capability": "greet", "split": {"v1": 1}}
    assert found.apply(event("capability.split_changed", 15, **change))
    assert [each.status for each in found.services] == ["draining"]
    assert (found.revision, found.split("greet")) == (15, {"v1": 1})
    kept = found.copy()
    change["split"] = None
    assert found.apply(event("capability.split_changed", 16, **change))
    assert (found.split("greet"), kept.split("greet")) == (None, {"v1": 1})
