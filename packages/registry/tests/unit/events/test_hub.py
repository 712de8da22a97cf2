"""The hub: who hears what, in which order, and how often."""

import asyncio
import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modularity_registry import schema
from modularity_registry.errors import TooManyWatchers, TooManyWatchersOfClient
from modularity_registry.events import (
    CHANGES,
    Hub,
    Interest,
    Position,
    WatcherPlaces,
    history,
)
from modularity_registry.events.hub import TURNS
from modularity_registry.model.rights import Caller
from modularity_registry.tasks import SLICE
from support.events import EPOCH, Changes, Recorder, frames
from support.loops import Timers, on_loop, soon, turns
from support.registry import ManualClock

CALL = schema.Invocation("c", "p", "greet", True, 1.5)


def watch(
    changes: Changes,
    *,
    capabilities: tuple[str, ...] = (),
    services: tuple[str, ...] = (),
    kinds: frozenset[str] = frozenset(),
    after: int | None = None,
) -> Recorder:
    listener = Recorder()
    wanted: Any = frozenset(kinds)
    interest = Interest(frozenset(capabilities), frozenset(services), wanted)
    position = None if after is None else Position(after)
    changes.hub.watch(listener, interest, position)
    return listener


def new_hub() -> Hub:
    """Return a hub that has been told nothing yet, and leaves nobody out."""
    return Hub(ManualClock(), lambda: EPOCH, WatcherPlaces("watchers", 50))


def test_before_the_store_was_read_nothing_is_known() -> None:
    hub = new_hub()
    assert (hub.revision, hub.position) == (0, Position(0))
    assert not hub.knows(Position(0))


@on_loop
async def test_each_change_has_its_event() -> None:
    changes = Changes()
    listener = watch(changes)
    changes.register("a")
    changes.fail("a", "on fire")
    changes.fail("a")
    changes.clock.advance(1)
    changes.register("a", version="2")
    changes.unregister("a")
    await turns()
    assert [event.kind for event in listener.events] == [
        "service.registered",
        "service.status_changed",
        "service.status_changed",
        "service.updated",
        "service.unregistered",
    ]
    assert listener.revisions == [1, 2, 3, 4, 5]
    _, failed, _, updated, _ = frames(listener.batches[0].text)
    data = failed["data"]
    assert (data["old_status"], data["new_status"]) == ("healthy", "unhealthy")
    assert (data["reason"], data["id"], failed["id"]) == ("on fire", "a", "epoch-2")
    assert updated["data"]["version"] == "2"


@on_loop
async def test_an_event_has_the_time_of_its_change() -> None:
    changes = Changes()
    changes.register("a")
    then = changes.clock.now().isoformat()[:19]
    changes.clock.advance(3600)
    listener = watch(changes, after=0)
    await turns()
    (event,) = frames(listener.batches[0].text)
    assert event["timestamp"].startswith(then)


@on_loop
async def test_an_event_grows_old() -> None:
    changes = Changes()
    listener = watch(changes)
    changes.register("a")
    await turns()
    (event,) = listener.events
    assert changes.hub.age(event) == 0
    changes.clock.advance(2.5)
    assert changes.hub.age(event) == 2.5


@on_loop
async def test_only_those_concerned_hear_of_a_change() -> None:
    changes = Changes()
    greet = watch(changes, capabilities=("greet",))
    other = watch(changes, capabilities=("other",))
    service = watch(changes, services=("b",))
    everything = watch(changes)
    changes.register("a", "greet")
    changes.register("b", "x")
    await turns()
    assert greet.revisions == [1]
    assert service.revisions == [2]
    assert everything.revisions == [1, 2]
    assert other.batches == []


@on_loop
async def test_kinds_of_events_are_chosen() -> None:
    changes = Changes()
    registered = watch(changes, kinds=frozenset({"service.registered"}))
    calls = watch(changes, kinds=frozenset({"capability.invoked"}))
    both = watch(changes, kinds=frozenset({"service.updated", "capability.invoked"}))
    changes.register("p")
    changes.register("p", version="2")
    changes.hub.invoked(CALL)
    await soon(lambda: len(calls.events) == 1 and len(both.events) == 2)
    await turns()
    assert registered.revisions == [1]
    assert calls.revisions == [None]
    assert both.revisions == [2, None]


@on_loop
async def test_calls_that_are_reported_together_are_told_together_and_in_order() -> (
    None
):
    changes = Changes()
    listener = watch(changes, kinds=frozenset({"capability.invoked"}))
    providers = [f"p{number}" for number in range(100)]
    calls = [schema.Invocation("c", each, "greet", True, None) for each in providers]
    changes.hub.invoked(*calls)
    changes.hub.invoked()
    await soon(lambda: len(listener.events) == 100)
    assert [event.services[1] for event in listener.events] == providers
    assert len(listener.batches) == 1


@on_loop
async def test_a_call_costs_nothing_where_nobody_wants_to_hear_of_calls() -> None:
    changes = Changes()
    listener = watch(changes, kinds=CHANGES)
    before = changes.hub._number
    changes.hub.invoked(CALL)
    await turns()
    assert (changes.hub._number, listener.batches) == (before, [])


@on_loop
async def test_who_loses_a_provider_hears_of_it() -> None:
    changes = Changes()
    changes.register("a", "old")
    listener = watch(changes, capabilities=("old",))
    changes.register("a", "new")
    changes.register("a", "new", "more")
    await turns()
    assert [event.kind for event in listener.events] == ["service.updated"]


@on_loop
async def test_nobody_hears_a_thing_twice_who_asks_for_several() -> None:
    changes = Changes()
    listener = watch(changes, capabilities=("x", "y"), services=("a",))
    changes.register("a", "x", "y")
    changes.register("b", "y")
    await turns()
    assert listener.revisions == [1, 2]


@on_loop
async def test_changes_of_one_turn_are_told_at_once_and_made_once_for_all() -> None:
    changes = Changes()
    listeners = [watch(changes, capabilities=("greet",)) for _ in range(5)]
    another = watch(changes)
    changes.register("a")
    changes.register("b")
    await turns()
    assert len({id(listener.batches[0]) for listener in listeners}) == 1
    assert [len(each.batches) for each in listeners] == [1] * 5
    assert listeners[0].batches[0].chunk is listeners[1].batches[0].chunk
    assert another.batches[0].text is not None
    pairs = zip(another.events, listeners[0].events, strict=True)
    assert all(one is other and one.frame is not None for one, other in pairs)


def test_without_a_listener_nothing_is_rendered_and_no_loop_is_needed() -> None:
    changes = Changes()
    for _ in range(5):
        changes.register("a")
    changes.hub.invoked(CALL)
    kept = changes.hub._history.after(Position(0), 1 << 30)
    assert kept is not None
    assert [event.frame for event in kept] == [None] * 5


# Coming back


@on_loop
async def test_resuming_gives_what_was_missed_and_no_more() -> None:
    changes = Changes()
    for number in range(5):
        changes.register(f"s{number}", "odd" if number % 2 else "even")
    everything = watch(changes, after=2)
    even = watch(changes, capabilities=("even",), after=2)
    current = watch(changes, after=5)
    await turns()
    assert everything.revisions == [3, 4, 5]
    assert even.revisions == [3, 5]
    changes.register("s6", "even")
    await turns()
    assert everything.revisions == [3, 4, 5, 6]
    assert even.revisions == [3, 5, 6]
    assert current.revisions == [6]


@on_loop
async def test_only_what_is_kept_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_EVENTS", 10)
    changes = Changes()
    for _ in range(13):
        changes.register("a")
    known = [changes.hub.knows(Position(number)) for number in (2, 3, 13, 14)]
    assert known == [False, True, True, False]
    listener = watch(changes, after=3)
    await turns()
    assert listener.revisions == list(range(4, 14))


def test_a_history_of_large_services_is_shorter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "MAX_BYTES", 200_000)
    changes = Changes()
    for number in range(30):
        changes.register("a", metadata={"text": "x" * 10_000, "number": number})
    # Each event has the service before and after the change.
    assert not changes.hub.knows(Position(26))
    assert changes.hub.knows(Position(27))
    for number in range(30):
        changes.register("b", metadata={"number": number})
    assert changes.hub.knows(Position(29))


@on_loop
async def test_little_that_was_missed_comes_at_once() -> None:
    changes = Changes()
    for number in range(10):
        changes.register(f"s{number}")
    listener = watch(changes, after=0)
    await turns()
    assert [len(batch.events) for batch in listener.batches] == [10]


class Asked(Recorder):
    """Takes nothing, and counts how often it was asked whether it can."""

    asked = 0

    @property
    def is_full(self) -> bool:
        self.asked += 1
        return True


@on_loop
async def test_those_who_take_nothing_are_asked_once_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers = Timers(monkeypatch)
    changes = Changes(keep_alive=3600.0)
    changes.register("a")
    listeners = [Asked() for _ in range(5)]
    for listener in listeners:
        changes.hub.watch(listener, Interest(), Position(0))
    for count in range(1, 4):
        await turns()
        assert [listener.asked for listener in listeners] == [count] * 5
        assert 0 < min(timers.delays) < 0.1, "who can take more waits no longer"
        timers.ring()


@on_loop
async def test_much_that_was_missed_comes_bit_by_bit_as_the_reader_takes_it() -> None:
    changes = Changes()
    for number in range(200):
        changes.register(f"s{number}", metadata={"text": "x" * 5_000})
    slow, quick = Recorder(), watch(changes, after=0)
    slow.full = True
    changes.hub.watch(slow, Interest(), Position(0))
    await soon(lambda: len(quick.events) == 200)
    assert len(quick.batches) > 5
    assert slow.batches == []
    changes.register("meanwhile")
    slow.full = False
    await soon(lambda: len(slow.events) == 201)
    changes.register("live")
    await turns()
    assert slow.revisions == quick.revisions == list(range(1, 203))


@on_loop
async def test_who_is_too_slow_to_catch_up_is_told_that_events_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "MAX_EVENTS", 5)
    changes = Changes()
    changes.register("a")
    listener = Recorder()
    listener.full = True
    changes.hub.watch(listener, Interest(), Position(0))
    await turns()
    for _ in range(10):
        changes.register("a")
    listener.full = False
    await soon(lambda: listener.lost)
    assert listener.events == []
    (notice,) = frames(listener.batches[0].text)
    assert (notice["event"], notice["id"]) == ("resync", "epoch-11")
    changes.register("a")
    await turns()
    assert listener.revisions == [12]


@on_loop
async def test_after_a_gap_everyone_is_told_to_read_again() -> None:
    changes = Changes()
    changes.register("a")
    changes.register("b")
    live, behind = watch(changes), watch(changes, after=1)
    changes.register("never-told")
    changes.epoch = "other"
    changes.hub.reloaded([], 9)
    await turns()
    for listener in (live, behind):
        assert listener.lost
        assert listener.events == []
        (notice,) = frames(listener.batches[0].text)
        assert (notice["event"], notice["id"]) == ("resync", "other-9")
        assert not listener.ended
    assert not changes.hub.knows(Position(8))
    changes.revision = 9
    changes.register("b")
    await turns()
    assert live.revisions == behind.revisions == [10]


# Changes that share a revision


@on_loop
async def test_within_a_revision_each_change_is_a_position_of_its_own() -> None:
    changes = Changes()
    listener = watch(changes)
    changes.register("a", last=False)
    changes.register("b", last=False)
    assert changes.hub.revision == 0
    amid = watch(changes)
    changes.register("c")
    changes.register("d")
    await turns()
    ids = [frame["id"] for frame in frames(listener.batches[0].text)]
    assert ids == ["epoch-1.1", "epoch-1.2", "epoch-1", "epoch-2"]
    assert [event.services[0] for event in amid.events] == ["c", "d"]
    again = Recorder()
    changes.hub.watch(again, Interest(), Position(1, 1))
    await turns()
    assert [event.services[0] for event in again.events] == ["b", "c", "d"]


# Turns


@on_loop
async def test_whoever_comes_amid_changes_misses_nothing() -> None:
    """Each hears what it missed and then what comes: without a hole or a twin."""
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    changes = Changes(places=1000)
    listeners: list[tuple[int, Recorder]] = []
    for _ in range(300):
        changes.register(f"s{chance.randrange(7)}")
        if chance.random() < 0.3:
            after = chance.randint(0, changes.revision)
            listeners.append((after, watch(changes, after=after)))
        if chance.random() < 0.3:
            changes.hub.leave(chance.choice(listeners)[1] if listeners else Recorder())
        if chance.random() < 0.2:
            await asyncio.sleep(0)
    there = [each for each in listeners if each[1].group is not None]
    await soon(lambda: all(each.revisions[-1:] == [300] for _, each in there))
    for after, listener in listeners:
        end = after + len(listener.events)
        assert listener.revisions == list(range(after + 1, end + 1))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sets(st.sampled_from("xyz")))))
@on_loop
async def test_a_listener_hears_exactly_what_concerns_it(
    steps: list[tuple[str, set[str]]],
) -> None:
    changes = Changes()
    listener = watch(changes, capabilities=("x",))
    expected: list[int] = []
    before: dict[str, set[str]] = {}
    for service_id, capabilities in steps:
        offered = capabilities or {"none"}
        revision = changes.register(service_id, *sorted(offered))
        if "x" in offered | before.get(service_id, set()):
            expected.append(revision)
        before[service_id] = offered
    await turns()
    assert listener.revisions == expected


class Ticking(Recorder):
    """Takes a while of the hub's clock for each batch."""

    changes: Changes

    def hear(self, batch: object) -> None:
        super().hear(batch)  # type: ignore[arg-type]
        self.changes.clock.advance(SLICE / 10)


@on_loop
async def test_many_are_told_in_slices_and_others_have_their_turn_in_between() -> None:
    changes = Changes(places=1000)
    listeners = [Ticking() for _ in range(100)]
    for listener in listeners:
        listener.changes = changes
        changes.hub.watch(listener, Interest())
    changes.register("a")
    heard = []
    while sum(len(each.batches) for each in listeners) < 100:
        await asyncio.sleep(0)
        heard.append(sum(len(each.batches) for each in listeners))
        if len(heard) == 3:
            changes.register("b")  # told to each after the first one
    steps = [after - before for before, after in itertools.pairwise(heard)]
    assert max(steps) <= 11
    await soon(lambda: all(len(each.events) == 2 for each in listeners))
    assert all(each.revisions == [1, 2] for each in listeners)


@on_loop
async def test_one_that_fails_is_left_out_and_the_others_hear() -> None:
    class Broken(Recorder):
        def hear(self, batch: object) -> None:
            raise OSError

    changes = Changes()
    broken = Broken()
    changes.hub.watch(broken, Interest())
    others = [watch(changes) for _ in range(5)]
    changes.register("a")
    await turns()
    assert [each.revisions for each in others] == [[1]] * 5
    assert len(changes.hub) == 5
    assert broken.ended


@on_loop
async def test_work_that_fails_holds_up_nothing_else() -> None:
    def fail(caller: Caller) -> bool:
        raise OSError

    changes = Changes()
    listener = watch(changes)
    changes.hub._holds = fail
    changes.hub.dismiss()
    changes.register("a")
    await turns()
    assert listener.revisions == [1]


# Places and ends


@on_loop
async def test_places_are_bounded_and_come_back() -> None:
    changes = Changes(places=5, each=5)
    listeners = [watch(changes) for _ in range(5)]
    with pytest.raises(TooManyWatchers, match="5"):
        watch(changes)
    changes.hub.leave(listeners[0])
    changes.hub.leave(listeners[0])
    watch(changes)
    with pytest.raises(TooManyWatchers):
        watch(changes)


@on_loop
async def test_a_client_has_a_share_of_the_places() -> None:
    changes = Changes(each=1)
    first, second = Recorder(client="a"), Recorder(client="a")
    changes.hub.watch(first, Interest())
    with pytest.raises(TooManyWatchersOfClient, match="a has taken all 1 places"):
        changes.hub.watch(second, Interest())
    changes.hub.watch(Recorder(client="b"), Interest())
    changes.hub.leave(first)
    changes.hub.watch(second, Interest())
    changes.hub.leave(first)
    with pytest.raises(TooManyWatchersOfClient):
        changes.hub.watch(Recorder(client="a"), Interest())


@on_loop
async def test_nothing_is_kept_of_who_has_left() -> None:
    changes = Changes()
    listeners = [watch(changes, services=(f"s{n}",)) for n in range(5)]
    listeners += [watch(changes), watch(changes, after=0)]
    for listener in listeners:
        changes.hub.leave(listener)
    groups = changes.hub._groups
    assert (groups.changes, groups.calls, groups._open) == ({}, {}, {})
    assert changes.hub._listeners() == []
    assert len(changes.hub) == 0


@on_loop
async def test_stopping_ends_everyone_and_who_comes_late() -> None:
    changes = Changes()
    early = watch(changes)
    changes.hub.stop()
    late = watch(changes)
    await turns()
    assert early.ended
    assert late.ended


@on_loop
async def test_a_hub_is_stopped_that_nobody_listened_to() -> None:
    changes = Changes()
    changes.hub.stop()
    changes.hub.stop()
    late = watch(changes)
    await turns()
    assert late.ended


@on_loop
async def test_without_tokens_everyone_may_listen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers = Timers(monkeypatch)
    hub, listener = new_hub(), Recorder()
    hub.watch(listener, Interest())
    for _ in range(TURNS):
        timers.ring()
        await turns()
    assert not listener.ended
    assert len(listener.batches) == 1


@on_loop
async def test_who_may_no_longer_listen_is_ended() -> None:
    good, bad = Caller("good"), Caller("bad")
    allowed = {good, bad}
    changes = Changes(holds=allowed.__contains__)
    listeners = [Recorder(good), Recorder(bad)]
    for listener in listeners:
        changes.hub.watch(listener, Interest())
    allowed.discard(bad)
    changes.hub.dismiss()
    await turns()
    assert [listener.ended for listener in listeners] == [False, True]
    late = Recorder(bad)
    changes.hub.watch(late, Interest())
    await turns()
    assert late.ended


# Keep-alives


@on_loop
async def test_each_is_kept_alive_in_turn_with_the_position() -> None:
    changes = Changes(places=TURNS, each=TURNS, keep_alive=3600.0)
    listeners = [watch(changes, services=("nobody",)) for _ in range(TURNS)]
    changes.register("a")
    changes.register("b")
    await turns()
    assert all(listener.batches == [] for listener in listeners)
    changes.hub._tick()
    await turns()
    assert sum(len(listener.batches) for listener in listeners) <= 2
    for _ in range(TURNS - 1):
        changes.hub._tick()
    await soon(lambda: all(listener.batches for listener in listeners))
    for listener in listeners:
        text = listener.batches[0].text
        assert text == b": still here\nid: epoch-2\n\n"


@on_loop
async def test_each_hears_a_sign_of_life_every_fifteen_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers = Timers(monkeypatch)
    hub, listeners = new_hub(), [Recorder() for _ in range(3)]
    for listener in listeners:
        hub.watch(listener, Interest())
    seconds = 0.0
    for heard in (1, 2):
        for _ in range(TURNS):
            (delay,) = timers.delays
            seconds += delay
            timers.ring()
            await turns(3)
        assert [len(listener.batches) for listener in listeners] == [heard] * 3
    assert seconds == pytest.approx(30.0)


@on_loop
async def test_of_as_many_as_there_are_turns_one_is_kept_alive_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers = Timers(monkeypatch)
    changes = Changes(places=TURNS, each=TURNS)
    listeners = [watch(changes) for _ in range(TURNS)]
    for count in range(1, TURNS + 1):
        timers.ring()
        await turns(3)
        assert sum(len(listener.batches) for listener in listeners) == count


@on_loop
async def test_no_timer_runs_where_nobody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers = Timers(monkeypatch)
    changes = Changes()
    assert timers.delays == []
    listener = watch(changes)
    changes.hub.leave(listener)
    timers.ring()
    assert timers.delays == []
    watch(changes)
    assert len(timers.delays) == 1
    changes.hub.stop()
    assert timers.delays == []


@on_loop
async def test_who_comes_after_the_end_hears_no_sign_of_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers = Timers(monkeypatch)
    changes = Changes()
    changes.hub.stop()
    late = watch(changes)
    timers.ring()
    await turns()
    assert timers.delays == []
    assert late.batches == []


@on_loop
async def test_a_position_is_told_only_after_what_it_stands_for() -> None:
    changes = Changes()
    listener = watch(changes)
    for _ in range(3):
        changes.register("a")
    changes.hub._run(changes.hub._keep_turn_alive([listener]))
    changes.register("a")
    await turns()
    *events, keep_alive = listener.batches
    assert [len(batch.events) for batch in events] == [4]
    assert keep_alive.text.endswith(b"id: epoch-4\n\n")


@on_loop
async def test_who_is_behind_gets_no_position_that_is_ahead() -> None:
    changes = Changes()
    changes.register("a")
    behind = Recorder()
    behind.full = True
    changes.hub.watch(behind, Interest(), Position(0))
    changes.hub._run(changes.hub._keep_turn_alive([behind]))
    await turns()
    assert behind.batches == []
    changes.hub.leave(behind)


@on_loop
async def test_a_token_that_expires_ends_who_listens_at_the_next_turn() -> None:
    allowed = [True]
    changes = Changes(holds=lambda caller: allowed[0])
    listener = watch(changes)
    allowed[0] = False
    changes.hub._run(changes.hub._keep_turn_alive([listener]))
    await turns()
    assert listener.ended


def test_ids_name_the_epoch() -> None:
    assert Position(7).id(EPOCH) == "epoch-7"
