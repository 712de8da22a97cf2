"""Who is checked next, with time as a number: nothing here waits."""

import random
from datetime import UTC, datetime

from modularity_registry.health.check_queue import (
    MOVES,
    CheckPlaces,
    CheckQueue,
    is_late,
)
from modularity_registry.health.watched_service import WatchedService
from modularity_registry.model.service import CheckPlan, Registration, Service

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def watched(
    service_id: str, owner: str = "", host: str = "10.0.0.1", interval: float = 1.0
) -> WatchedService:
    registration = Registration(service_id, "N", ("x",), f"http://{host}:1", "http")
    service = Service(registration, NOW, NOW, owner=owner)
    return WatchedService(service, CheckPlan(interval, 5.0), passed=False)


def begin(queue: CheckQueue, now: float) -> list[WatchedService]:
    """Begin all checks for which there is a place by now."""
    begun = []
    while (due := queue.next_at()) is not None and due <= now:
        one = queue.pop(now)
        if one is not None:
            begun.append(one)
    return begun


def test_one_owner_has_a_share_of_the_places() -> None:
    queue = CheckQueue(total=16, share=4)
    for number in range(50):
        queue.push(0.0, watched(f"a{number}", "a", f"10.0.0.{number}"))
    queue.push(0.5, watched("b", "b"))
    assert [one.owner for one in begin(queue, 1.0)] == ["a"] * 4 + ["b"]
    assert queue.waiting == 46


def test_one_host_has_a_share_of_the_places_whoever_owns_what_is_there() -> None:
    queue = CheckQueue(total=16, share=4)
    for number in range(50):
        queue.push(0.0, watched(f"a{number}", f"owner{number}"))
    queue.push(0.5, watched("b", "b", "10.0.0.2"))
    assert [one.host for one in begin(queue, 1.0)] == ["10.0.0.1"] * 4 + ["10.0.0.2"]


def test_services_without_an_owner_are_not_of_one_owner() -> None:
    queue = CheckQueue(total=16, share=4)
    for number in range(16):
        queue.push(0.0, watched(f"a{number}", host=f"10.0.0.{number}"))
    assert len(begin(queue, 0.0)) == 16


def test_a_place_that_is_given_back_goes_to_who_waited_longest() -> None:
    queue = CheckQueue(total=16, share=4)
    for number in range(10):
        queue.push(float(number), watched(f"a{number}", "a"))
    begun = begin(queue, 20.0)
    queue.release(begun[0])
    assert [one.id for one in begin(queue, 20.0)] == ["a4"]
    queue.release(begun[1])
    assert [one.id for one in begin(queue, 20.0)] == ["a5"]


def test_with_all_places_taken_nobody_begins() -> None:
    queue = CheckQueue(total=4, share=4)
    for number in range(5):
        queue.push(0.0, watched(f"a{number}", host=f"10.0.0.{number}"))
    begun = begin(queue, 0.0)
    assert len(begun) == 4 and queue.next_at() is None
    queue.release(begun[0])
    assert [one.id for one in begin(queue, 0.0)] == ["a4"]


def test_who_goes_while_it_waits_makes_room_for_the_next() -> None:
    queue = CheckQueue(total=16, share=1)
    queue.push(0.0, watched("a", "a"))
    queue.push(1.0, one := watched("b", "a"))
    queue.push(2.0, watched("c", "a"))
    [running] = begin(queue, 9.0)
    one.gone = True
    queue.forget(one)
    assert queue.waiting == 1
    queue.release(running)
    assert [one.id for one in begin(queue, 9.0)] == ["c"]


def test_who_goes_when_it_was_just_called_makes_room_for_the_next() -> None:
    queue = CheckQueue(total=16, share=1)
    queue.push(0.0, watched("a", "a"))
    queue.push(1.0, one := watched("b", "a"))
    queue.push(2.0, watched("c", "a"))
    [running] = begin(queue, 9.0)
    queue.release(running)
    one.gone = True
    queue.forget(one)
    assert [one.id for one in begin(queue, 9.0)] == ["c"]


def test_one_call_sets_a_bounded_number_aside() -> None:
    queue = CheckQueue(total=16, share=1)
    for number in range(2 * MOVES):
        queue.push(0.0, watched(f"a{number}", "a"))
    assert queue.pop(0.0) is not None
    assert queue.pop(0.0) is None
    assert queue.waiting == MOVES
    assert queue.next_at() == 0.0, "there is more to look at"


def test_a_check_is_late_an_interval_after_it_was_due() -> None:
    queue = CheckQueue(total=16, share=1)
    queue.push(0.0, watched("a", "a", interval=10))
    queue.push(0.0, slow := watched("b", "a", interval=10))
    [running] = begin(queue, 0.0)
    assert queue.delay(10.0) == 0.0
    assert queue.delay(12.0) == 12.0
    queue.release(running)
    [begun] = begin(queue, 12.0)
    assert begun is slow and is_late(begun, 12.0)
    assert queue.delay(12.0) == 0.0


def test_no_check_is_lost_and_no_share_exceeded_whatever_happens() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    queue = CheckQueue(total=8, share=2)
    live: dict[str, WatchedService] = {}
    running: list[WatchedService] = []
    for step in range(5_000):
        now = float(step)
        action = rng.randrange(4)
        if action == 0 and len(live) < 60:
            owner, host = rng.choice(["", "a", "b", "c"]), f"10.0.0.{rng.randrange(4)}"
            one = watched(f"s{step}", owner, host)
            live[one.id] = one
            queue.push(now, one)
        elif action == 1 and running:
            one = running.pop(rng.randrange(len(running)))
            queue.release(one)
            if not one.gone:
                queue.push(now + rng.random() * 5, one)
        elif action == 2 and live and rng.random() < 0.3:
            one = live.pop(rng.choice(list(live)))
            one.gone = True
            queue.forget(one)
        running += begin(queue, now)
        owners = [one.owner for one in running if one.owner]
        hosts = [one.host for one in running]
        assert len(running) == queue.taken <= 8
        assert all(owners.count(owner) <= 2 for owner in owners)
        assert all(hosts.count(host) <= 2 for host in hosts)
    for step in range(5_000, 6_000):
        for one in running:
            live.pop(one.id, None)
            queue.release(one)
        running = begin(queue, float(step))
        if not live:
            return
    raise AssertionError(f"never checked: {sorted(live)}")


def test_queues_of_several_namespaces_share_the_places() -> None:
    places = CheckPlaces(total=8)
    one, two = CheckQueue(6, 6, places), CheckQueue(6, 6, places)
    for queue in (one, two):
        for number in range(10):
            queue.push(0.0, watched(f"a{number}", host=f"10.0.0.{number}"))
    begun = begin(one, 1.0)
    assert len(begun) == 6  # of eight: one of several never has all
    assert len(begin(two, 1.0)) == 2
    assert two.full and two.next_at() is None and places.full
    woken: list[bool] = []
    places.when_free.append(lambda: woken.append(two.full))
    one.release(begun[0])
    assert woken == [False]
    assert len(begin(two, 1.0)) == 1
    two_free = begin(one, 1.0)
    assert two_free == []
    one.release(begun[1])
    one.release(begun[2])
    assert woken == [False, False]  # the second found nobody who had waited
