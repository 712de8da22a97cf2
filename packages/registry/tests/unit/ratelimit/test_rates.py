"""Counting calls: within the rate or not, until when, and of how many clients."""

import threading
from typing import Any

import limits
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modularity_registry.config import Settings
from modularity_registry.errors import TooManyRequests
from modularity_registry.ratelimit import CallCounters, Rate, Rates, memory_counters
from modularity_registry.ratelimit.memory_counters import MemoryCounters
from support.registry import ManualClock


def counting(text: str) -> tuple[ManualClock, Rate, MemoryCounters]:
    clock = ManualClock()
    storage = MemoryCounters(clock.monotonic)
    return clock, Rate(text, "writes", CallCounters(storage, clock.monotonic)), storage


def refusal(rate: Rate, client: str = "a") -> TooManyRequests:
    with pytest.raises(TooManyRequests) as caught:
        rate.take(client)
    return caught.value


def test_as_many_calls_as_the_rate_says_and_no_more() -> None:
    _, rate, _ = counting("5/minute")
    assert [rate.takes("a") for _ in range(7)] == [True] * 5 + [False] * 2


def test_each_client_has_a_rate_of_its_own() -> None:
    _, rate, _ = counting("1/minute")
    assert rate.takes("a") and rate.takes("b")
    assert not rate.takes("a")


def test_kinds_of_calls_are_counted_apart() -> None:
    rates = Rates(Settings(write_rate="1/minute", read_rate="1/minute"), ManualClock())
    assert rates.writes is not None and rates.reads is not None
    assert rates.writes.takes("a") and rates.reads.takes("a")
    assert not rates.writes.takes("a")


def test_rates_are_off_unless_they_are_set() -> None:
    rates = Rates(Settings(), ManualClock())
    assert (rates.writes, rates.reads, rates.fault) == (None, None, None)


def test_two_windows_can_not_be_used_up_around_the_moment_between_them() -> None:
    clock, rate, _ = counting("60/minute")
    clock.advance(59.9)  # the end of the first window: it began with the first call
    rate.takes("b")
    assert sum(rate.takes("a") for _ in range(100)) == 60
    clock.advance(30)
    assert sum(rate.takes("a") for _ in range(100)) == 0
    clock.advance(60)
    assert sum(rate.takes("a") for _ in range(100)) == 30


def test_refused_calls_are_not_counted() -> None:
    clock, rate, _ = counting("2/minute")
    assert rate.takes("a") and rate.takes("a")
    for _ in range(50):
        assert not rate.takes("a")
    clock.advance(90)
    assert rate.takes("a")


def test_the_refusal_says_who_and_when() -> None:
    _, rate, _ = counting("2/minute")
    for _ in range(2):
        rate.take("the token ci")
    error = refusal(rate, "the token ci")
    assert error.retry_after == 61
    assert error.detail == (
        "the token ci is over the limit of 2/minute for writes; retry in 61 s"
    )


RATES = st.sampled_from(["1/second", "3/second", "7/minute", "600/minute", "5/hour"])


@given(RATES, st.lists(st.floats(0, 100), min_size=1, max_size=60), st.integers(1, 40))
def test_whoever_waits_as_told_is_taken_and_not_much_earlier(
    text: str, pauses: list[float], burst: int
) -> None:
    clock, rate, _ = counting(text)
    for pause in pauses:
        clock.advance(pause)
        for _ in range(burst):
            if rate.takes("a"):
                continue
            seconds = refusal(rate).retry_after
            clock.advance(seconds - 1.02)
            assert seconds == 1 or not rate.takes("a")
            clock.advance(1.02)
            assert rate.takes("a")


def test_many_clients_are_forgotten_with_their_windows() -> None:
    clock, rate, storage = counting("600/minute")
    for number in range(100_000):
        rate.takes(str(number))
    assert len(storage) == 100_000
    clock.advance(60)
    rate.takes("a")
    assert len(storage) == 100_001  # they still count in part
    clock.advance(60)
    rate.takes("a")
    assert len(storage) == 2


def test_within_a_window_the_number_of_clients_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_counters, "MOST_CLIENTS", 100)
    _, rate, storage = counting("1/day")
    for number in range(1_000):
        assert rate.takes(str(number))
    assert len(storage) == 100
    assert not rate.takes("999")
    assert rate.takes("0")  # begins again


def test_threads_lose_no_count() -> None:
    _, rate, _ = counting("1000/hour")
    taken = [0] * 8

    def go(number: int) -> None:
        taken[number] = sum(rate.takes("a") for _ in range(500))

    threads = [threading.Thread(target=go, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(taken) == 1000


class Broken(MemoryCounters):
    """A place that can go away, and counts how often it is asked."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock.monotonic)
        self.away = False
        self.asked = 0

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return (ConnectionError,)

    def acquire_sliding_window_entry(self, *arguments: Any, **named: Any) -> bool:
        self.asked += 1
        if self.away:
            raise ConnectionError("gone")
        return super().acquire_sliding_window_entry(*arguments, **named)


def test_a_place_that_is_away_lets_all_through_and_is_asked_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    storage = Broken(clock)
    counters = CallCounters(storage, clock.monotonic, "the Redis server at r:1")
    item = limits.parse("1/minute")
    assert counters.take(item, "writes", "a")
    assert not counters.take(item, "writes", "a")
    storage.away = True
    storage.asked = 0
    for _ in range(100):
        assert counters.take(item, "writes", "a")
    assert storage.asked == 1
    assert counters.fault is not None and "the Redis server at r:1" in counters.fault
    clock.advance(2.1)
    for _ in range(100):
        assert counters.take(item, "writes", "a")
    assert storage.asked == 2
    storage.away = False
    clock.advance(2.1)
    assert not counters.take(item, "writes", "a")
    assert counters.fault is None
    said = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert len(said) == 1 and "all calls are accepted" in said[0]
