"""The hub: who hears what, in which order, and what becomes of the slow."""

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modularity_registry import config, events, runtime, schema
from modularity_registry.errors import TooManyWatchers
from modularity_registry.events import Event, Hub, Interest, Watcher, hub
from modularity_registry.model.service import Fault
from modularity_registry.runtime import Registry
from support.registry import LOOP, ManualClock, eventually, registration


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = runtime.build(config.Settings(max_watchers=50), ManualClock())
    registry.hub.start()
    LOOP.call(registry.feed.start())
    yield registry
    LOOP.call(registry.stop())


def register(registry: Registry, service_id: str, **changes: Any) -> int:
    changes.setdefault("mode", "standalone")
    body = schema.encode(registration(service_id, **changes))
    return registry.call(
        registry.commands.register(schema.parse_registration(body), True)
    ).revision


def add_fault(registry: Registry, service_id: str) -> None:
    entry = registry.catalog.service(service_id)
    assert entry is not None
    registry.call(
        registry.commands.add_fault(
            entry, Fault("check", "on fire", registry.clock.now())
        )
    )


def watch(registry: Registry, **interest: set[str]) -> Watcher:
    wanted = Interest(**{key: frozenset(value) for key, value in interest.items()})
    watcher, _ = registry.hub.watch(wanted)
    return watcher


def take(watcher: Watcher, count: int) -> list[Event]:
    found: list[Event] = []
    while len(found) < count:
        more = watcher.take(5)
        assert more, f"only {len(found)} of {count} events came"
        found += more
    return found


def body(event: Event) -> dict[str, Any]:
    lines = dict(
        line.split(": ", 1) for line in event.frame.decode().splitlines() if line
    )
    data: dict[str, Any] = msgspec.json.decode(lines["data"])
    assert lines["event"] == data["event"] == event.kind
    if event.revision is not None:
        assert lines["id"].endswith(f"-{event.revision}")
    else:
        assert "id" not in lines
    return data


def test_each_change_has_its_event(registry: Registry) -> None:
    watcher = watch(registry)
    register(registry, "a")
    add_fault(registry, "a")
    registry.call(registry.commands.drain("a", "later"))
    registry.call(registry.commands.undrain("a"))
    assert isinstance(registry.clock, ManualClock)
    registry.clock.advance(1)
    register(registry, "a", version="2")
    registry.call(registry.commands.unregister("a"))
    found = take(watcher, 6)
    assert [event.kind for event in found] == [
        "service.registered",
        "service.status_changed",
        "service.status_changed",
        "service.status_changed",
        "service.updated",
        "service.unregistered",
    ]
    assert [event.revision for event in found] == [1, 2, 3, 4, 5, 6]
    changed = body(found[1])["data"]
    assert (changed["old_status"], changed["new_status"]) == ("healthy", "unhealthy")
    assert changed["reason"] == "on fire"
    assert changed["id"] == "a"
    assert body(found[4])["data"]["version"] == "2"


def test_only_those_concerned_are_woken(registry: Registry) -> None:
    greet = watch(registry, capabilities={"greet"})
    other = watch(registry, capabilities={"other"})
    service = watch(registry, services={"b"})
    everything = watch(registry)
    register(registry, "a", capabilities=["greet"])
    register(registry, "b", capabilities=["x"])
    assert [event.revision for event in take(greet, 1)] == [1]
    assert [event.revision for event in take(service, 1)] == [2]
    assert [event.revision for event in take(everything, 2)] == [1, 2]
    assert other.take(0) == []


def test_who_loses_a_provider_hears_of_it(registry: Registry) -> None:
    register(registry, "a", capabilities=["old"])
    watcher = watch(registry, capabilities={"old"})
    register(registry, "a", capabilities=["new"])
    [event] = take(watcher, 1)
    assert event.kind == "service.updated"
    register(registry, "a", capabilities=["new", "more"])
    assert watcher.take(0) == []


def test_nobody_hears_a_thing_twice_who_asks_for_several(registry: Registry) -> None:
    watcher = watch(registry, capabilities={"x", "y"}, services={"a"})
    register(registry, "a", capabilities=["x", "y"])
    register(registry, "b", capabilities=["y"])
    assert [event.revision for event in take(watcher, 2)] == [1, 2]
    assert watcher.take(0) == []


def test_one_rendering_serves_all(registry: Registry) -> None:
    watchers = [watch(registry) for _ in range(5)]
    register(registry, "a")
    frames = {id(take(watcher, 1)[0].frame) for watcher in watchers}
    assert len(frames) == 1


def test_resuming_gives_what_was_missed_and_no_more(registry: Registry) -> None:
    for number in range(5):
        register(registry, f"s{number}", capabilities=["odd" if number % 2 else "even"])
    _, missed = registry.hub.watch(Interest(), after=2)
    assert missed is not None
    assert [event.revision for event in missed] == [3, 4, 5]
    _, missed = registry.hub.watch(Interest(frozenset({"even"})), after=2)
    assert missed is not None
    assert [event.revision for event in missed] == [3, 5]
    _, missed = registry.hub.watch(Interest(), after=5)
    assert missed == []


@pytest.mark.parametrize("after", [6, 99])
def test_a_revision_that_was_never_reached_is_not_known(
    registry: Registry, after: int
) -> None:
    for number in range(5):
        register(registry, f"s{number}")
    assert registry.hub.watch(Interest(), after=after)[1] is None


def test_forgotten_history_is_not_known(registry: Registry) -> None:
    for _ in range(events.HISTORY + 3):
        register(registry, "a")
    assert registry.hub.watch(Interest(), after=2)[1] is None
    _, missed = registry.hub.watch(Interest(), after=3)
    assert missed is not None
    assert len(missed) == events.HISTORY


def test_a_history_of_large_services_is_shorter(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "HISTORY_BYTES", 200_000)
    for number in range(30):
        register(registry, "a", metadata={"text": "x" * 10_000, "number": number})
    # Each event has the service before and after the change.
    assert registry.hub.watch(Interest(), after=26)[1] is None
    _, missed = registry.hub.watch(Interest(), after=27)
    assert missed is not None
    assert [event.revision for event in missed] == [28, 29, 30]
    for number in range(30):
        register(registry, "b", metadata={"number": number})
    assert registry.hub.watch(Interest(), after=29)[1] is not None


def test_after_a_gap_everyone_is_told_to_read_anew(registry: Registry) -> None:
    register(registry, "a")
    watcher = watch(registry)
    registry.hub.reloaded([], 9)
    assert watcher.take(5) == []
    assert watcher.lost
    assert registry.hub.watch(Interest(), after=1)[1] is None
    assert registry.hub.watch(Interest(), after=9)[1] == []


def test_the_slow_are_dropped_and_hold_no_more_than_their_queue(
    registry: Registry,
) -> None:
    slow, quick = watch(registry), watch(registry)
    for _ in range(events.QUEUE + 50):
        register(registry, "a")
        take(quick, 1)
    eventually(lambda: slow.lost)
    assert len(slow.take(0)) == events.QUEUE
    assert slow.take(0) == []
    assert not quick.lost


def test_places_are_bounded_and_come_back(registry: Registry) -> None:
    watchers = [watch(registry) for _ in range(50)]
    with pytest.raises(TooManyWatchers, match="50"):
        watch(registry)
    registry.hub.leave(watchers[0])
    registry.hub.leave(watchers[0])
    watch(registry)
    with pytest.raises(TooManyWatchers):
        watch(registry)


def test_stopping_wakes_everyone_and_whoever_comes_late(registry: Registry) -> None:
    early = watch(registry)
    registry.hub.stop()
    late = watch(registry)
    for watcher in (early, late):
        assert watcher.take(5) == []
        assert watcher.stopped


def test_a_call_is_told_to_who_is_there_and_not_kept(registry: Registry) -> None:
    register(registry, "p")
    watcher = watch(registry, services={"p"})
    other = watch(registry, services={"q"})
    call = schema.Invocation("c", "p", "greet", True, 1.5)
    registry.hub.invoked(call)
    [event] = take(watcher, 1)
    assert body(event)["data"] == {
        "consumer_id": "c", "provider_id": "p", "capability": "greet",
        "success": True, "latency_ms": 1.5,
    }  # fmt: skip
    assert other.take(0) == []
    assert registry.hub.watch(Interest(), after=1)[1] == []


def test_watchers_that_come_amid_changes_miss_nothing(registry: Registry) -> None:
    """Each takes what it missed and then what comes: without a hole, without a twin."""
    done = threading.Event()

    def write() -> None:
        for number in range(600):
            register(registry, f"s{number % 7}")
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen: list[list[int]] = []
    while not done.is_set() and len(seen) < 40:
        watcher, missed = registry.hub.watch(Interest(), after=0)
        assert missed is not None
        seen.append([event.revision or 0 for event in [*missed, *watcher.take(0.05)]])
        registry.hub.leave(watcher)
    writer.join()
    for revisions in seen:
        assert revisions == list(range(1, len(revisions) + 1))
    assert seen


def test_calls_reported_meanwhile_cost_no_change(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(registry, "p")
    watcher = watch(registry)
    outbox, lock = registry.hub._outbox, registry.hub._lock

    class Ordered:
        """Two who put at once would overtake each other without the lock."""

        def put(self, event: Event) -> None:
            assert lock.locked()
            outbox.put(event)

        get = outbox.get

    monkeypatch.setattr(registry.hub, "_outbox", Ordered())

    def report() -> None:
        for _ in range(150):
            registry.hub.invoked(schema.Invocation("c", "p", "greet", True, None))

    reporters = [threading.Thread(target=report) for _ in range(4)]
    for reporter in reporters:
        reporter.start()
    expected = [register(registry, f"s{number}") for number in range(300)]
    for reporter in reporters:
        reporter.join()
    events = take(watcher, 900)
    assert [each.revision for each in events if each.revision] == expected
    assert [each.number for each in events] == sorted(each.number for each in events)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sets(st.sampled_from("xyz")))))
def test_a_watcher_hears_exactly_what_concerns_it(
    changes: list[tuple[str, set[str]]],
) -> None:
    registry = runtime.build(config.Settings(), ManualClock())
    registry.hub.start()
    LOOP.call(registry.feed.start())
    watcher = watch(registry, capabilities={"x"})
    expected: list[int] = []
    before: dict[str, set[str]] = {}
    for service_id, capabilities in changes:
        assert isinstance(registry.clock, ManualClock)
        registry.clock.advance(1)
        revision = register(registry, service_id, capabilities=sorted(capabilities))
        if "x" in capabilities | before.get(service_id, set()):
            expected.append(revision)
        before[service_id] = capabilities
    found = [event.revision for event in take(watcher, len(expected))]
    assert found == expected
    LOOP.call(registry.stop())


def test_ids_name_the_epoch(registry: Registry) -> None:
    hub: Hub = registry.hub
    assert hub.position(7) == f"{registry.store.epoch}-7"
