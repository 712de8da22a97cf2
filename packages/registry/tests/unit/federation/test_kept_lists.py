"""What is kept of an upstream, and when it is dropped."""

import json
from typing import Any

import pytest

from modularity_registry.catalog.catalog import Capability
from modularity_registry.federation.kept_lists import KeptLists
from modularity_registry.federation.provider_list import read_list
from support.registry import registration


def shown(service_id: str, **changes: Any) -> dict[str, Any]:
    """A service as a list shows it."""
    return {
        **registration(service_id, **changes),
        "status": "healthy",
        "registered_at": "2026-01-02T03:04:05Z",
        "revision": 1,
        "last_seen": "2026-01-02T03:04:05Z",
        "something_newer": True,
    }


def listed(name: str, *services: dict[str, Any]) -> Capability:
    body = {"services": services, "count": len(services), "revision": 7}
    capability, revision = read_list(name, json.dumps(body).encode())
    assert revision == 7
    return capability


def kept(lists: KeptLists, name: str, *ids: str) -> None:
    lists.keep(listed(name, *map(shown, ids)), 7, lists.events)


def test_a_service_is_shown_as_the_upstream_shows_it() -> None:
    service = shown("a", metadata={"region": "eu"}, weight=3)
    (entry,) = listed("greet", service).providers().candidates
    assert json.loads(entry.json) == service
    assert entry.service.registration.weight == 3


def test_a_service_that_can_not_be_read_is_left_out() -> None:
    capability = listed("greet", shown("a"), shown("b", mode="quantum"))
    assert [entry.id for entry in capability.providers().entries] == ["a"]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"services":1}', b"<html>"])
def test_what_is_not_a_list_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_list("greet", body)


def test_an_event_drops_the_lists_that_have_the_service_or_should() -> None:
    lists = KeptLists()
    for name in ("one", "two", "three"):
        kept(lists, name, "a" if name == "one" else "b")
    lists.changed("a", ["two"], 8)
    assert lists.get("one") is None
    assert lists.get("two") is None
    assert lists.get("three") is not None


def test_a_list_without_providers_is_kept_until_somebody_comes() -> None:
    lists = KeptLists()
    kept(lists, "greet")
    assert lists.get("greet") is not None
    lists.changed("a", ["greet"], 8)
    assert lists.get("greet") is None


def test_a_list_that_may_lack_a_change_is_not_kept() -> None:
    lists = KeptLists()
    events = lists.events
    lists.changed("a", ["other"], 7)
    lists.keep(listed("greet"), 7, events)
    assert len(lists) == 0
    lists.keep(listed("greet"), 6, lists.events)
    assert len(lists) == 0
    lists.keep(listed("greet"), 7, lists.events)
    assert len(lists) == 1


def test_the_list_asked_for_longest_ago_goes_first() -> None:
    lists = KeptLists(most_capabilities=2, most_services=3)
    kept(lists, "one", "a")
    kept(lists, "two", "a")
    lists.get("one")
    kept(lists, "three", "a")
    assert lists.get("two") is None
    kept(lists, "four", "a", "b", "c")
    assert [name for name in ("one", "three", "four") if lists.get(name)] == ["four"]


def test_nothing_is_left_of_what_was_dropped() -> None:
    lists = KeptLists()
    kept(lists, "one", "a", "b")
    kept(lists, "one", "a")
    lists.changed("a", [], 8)
    assert lists._names_by_id == {}
    assert lists._services == len(lists) == 0
