"""A view loses nothing, whatever the order of lists and events."""

from typing import Any

from client_support.services import service
from modularity_client import ServiceList
from modularity_client.events.session import Event
from modularity_client.resolver.cache import ProviderCache
from modularity_client.resolver.quarantine import Quarantine
from modularity_client.resolver.view import CapabilityView


def event(kind: str, service_id: str, revision: int, **changes: Any) -> Event:
    about = service(service_id, revision=revision, **changes)
    return Event(f"e-{revision}", f"service.{kind}", None, revision, about)


def listed(view: CapabilityView, revision: int, *ids: str) -> None:
    services = [service(each, revision=revision) for each in ids]
    assert view.install(services, revision, view.generation)


def ids(view: CapabilityView) -> list[str]:
    return [each.id for tier in view.tiers for each in tier]


def test_an_event_after_the_list_is_applied() -> None:
    view = CapabilityView("greet")
    listed(view, 5, "a")
    assert view.apply(event("registered", "b", 6))
    assert ids(view) == ["a", "b"]


def test_an_event_that_the_list_has_seen_already_is_not() -> None:
    view = CapabilityView("greet")
    listed(view, 5)
    assert not view.apply(event("registered", "gone", 5))
    assert ids(view) == []


def test_events_that_overtake_the_list_are_applied_after_it() -> None:
    view = CapabilityView("greet")
    view.apply(event("registered", "b", 6))
    view.apply(event("unregistered", "a", 7))
    listed(view, 5, "a")
    assert ids(view) == ["b"]


def test_a_list_newer_than_it_says_is_not_taken_back() -> None:
    view = CapabilityView("greet")
    view.install([service("a", revision=8, weight=8)], 5, view.generation)
    view.apply(event("updated", "a", 7, weight=7))
    view.apply(event("unregistered", "a", 6))
    assert [each.weight for tier in view.tiers for each in tier] == [8]


def test_those_with_a_warning_come_after_the_healthy() -> None:
    view = CapabilityView("greet")
    listed(view, 1, "a", "b")
    assert view.apply(event("status_changed", "a", 2, status="warning"))
    assert [[each.id for each in tier] for tier in view.tiers] == [["b"], ["a"]]
    assert view.apply(event("unregistered", "b", 3))
    assert ids(view) == ["a"]


def test_a_backup_comes_after_the_primary_and_before_any_warning() -> None:
    view = CapabilityView("greet")
    services = [
        service("late", priority=2),
        service("early", priority=1),
        service("warns", status="warning"),
        service("ill", status="unhealthy"),
        service("spare", priority=2),
    ]
    assert view.install(services, 1, view.generation)
    tiers = [[each.id for each in tier] for tier in view.tiers]
    assert tiers == [["early"], ["late", "spare"], ["warns"]]


def test_one_with_a_warning_is_picked_if_all_others_are_skipped() -> None:
    cache = ProviderCache("round_robin", 10.0, lambda: 0.0)
    cache.watch(["greet"])
    services = [service("a", status="warning"), service("b"), service("c")]
    cache.install("greet", ServiceList(tuple(services), 1), cache.generation("greet"))
    pick = cache.pickers["greet"]
    assert {pick().id for _ in range(6)} == {"b", "c"}
    assert [each.id for each in cache.usable("greet")] == ["b", "c", "a"]
    cache.skip("b")
    cache.skip("c")
    assert cache.pickers["greet"]().id == "a"
    cache.skip("a")
    assert cache.pickers["greet"]().id in ("b", "c")


def test_only_the_healthy_are_shown_and_only_their_changes_count() -> None:
    view = CapabilityView("greet")
    listed(view, 1, "a")
    assert view.apply(event("status_changed", "a", 2, status="unhealthy"))
    assert ids(view) == []
    assert not view.apply(event("status_changed", "a", 3, status="draining"))
    assert view.apply(event("status_changed", "a", 4, status="healthy"))


def test_a_provider_that_gives_the_capability_up_is_shown_no_more() -> None:
    view = CapabilityView("greet")
    listed(view, 1, "a")
    view.apply(event("updated", "a", 2, capabilities=("other",)))
    assert ids(view) == []


def test_in_doubt_the_old_view_is_shown_until_there_is_a_new_list() -> None:
    view = CapabilityView("greet")
    listed(view, 500, "a")
    view.mark_stale()
    # A restarted registry counts from 1 again.
    view.apply(event("registered", "b", 3))
    assert ids(view) == ["a"]
    listed(view, 2)
    assert ids(view) == ["b"]


def test_a_list_requested_before_the_doubt_does_not_count() -> None:
    view = CapabilityView("greet")
    before = view.generation
    view.mark_stale()
    assert not view.install([service("a")], 5, before)
    assert not view.loaded


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def cache_of(clock: Clock, *names: str) -> ProviderCache:
    cache = ProviderCache("round_robin", 10.0, clock)
    cache.watch(["greet"])
    services = tuple(service(each) for each in names)
    cache.install("greet", ServiceList(services, 1), cache.generation("greet"))
    cache.connected()
    return cache


def picks(cache: ProviderCache) -> set[str]:
    return {cache.pickers["greet"]().id for _ in range(10)}


def test_the_age_counts_from_when_the_registry_was_last_heard_of() -> None:
    clock = Clock()
    cache = cache_of(clock, "a")
    assert cache.age == 0
    cache.disconnected(last_heard=990.0)
    cache.disconnected(last_heard=995.0)  # the next try fails as well
    clock.now = 1_005.0
    assert cache.age == 15
    cache.connected()
    assert cache.age == 0


def test_in_doubt_it_is_as_old_as_the_doubt() -> None:
    clock = Clock()
    cache = cache_of(clock, "a")
    cache.mark_stale()
    clock.now += 3
    assert (cache.live, cache.age) == (False, 3)


def test_a_board_without_any_list_is_infinitely_old() -> None:
    assert ProviderCache("random", 10.0, Clock()).age == float("inf")


def test_a_provider_that_failed_is_skipped_until_its_time_is_over() -> None:
    clock = Clock()
    cache = cache_of(clock, "a", "b")
    assert cache.skip("a") == 10
    assert picks(cache) == {"b"}
    clock.now += 10
    cache.unskip("a")
    assert picks(cache) == {"a", "b"}


def test_when_all_are_skipped_all_are_used() -> None:
    cache = cache_of(Clock(), "a", "b")
    cache.skip("a")
    cache.skip("b")
    assert picks(cache) == {"a", "b"}


def test_a_word_from_the_registry_ends_a_skip() -> None:
    cache = cache_of(Clock(), "a", "b")
    cache.skip("a")
    assert cache.apply(event("updated", "a", 5)) == ["greet"]
    assert picks(cache) == {"a", "b"}


def test_who_fails_again_soon_sits_out_twice_as_long() -> None:
    quarantine = Quarantine(10)
    assert quarantine.add("a", 100) == 10
    assert quarantine.add("a", 105) is None
    assert quarantine.add("a", 112) == 20
    assert quarantine.members(131) == {"a"}
    assert quarantine.members(132) == set()
    assert quarantine.add("a", 200) == 10


def test_nobody_sits_out_for_longer_than_two_minutes() -> None:
    quarantine, now = Quarantine(100), 0.0
    for expected in (100, 120, 120):
        assert quarantine.add("a", now) == expected
        now += expected
