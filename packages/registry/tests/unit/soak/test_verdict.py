"""The soak's verdict: a leak is found in a saw, and a saw alone is flat."""

import math

import pytest

from benchmarks.soak.callers.calls import Tally
from benchmarks.soak.report import Outcome, summary
from benchmarks.soak.samples import Sample
from benchmarks.soak.verdict import Growth, judge

HOUR = 3_600
PERIOD, HEIGHT = 240, 40.0
"""A cache that is emptied every four minutes, and the MiB that it takes when full."""


def sample(seconds: int, leak: float) -> Sample:
    """A process that loses ``leak`` MiB an hour, beside what its cache takes."""
    # It grows fast in the first minutes, which must not count.
    base = 100 + 50 * (1 - math.exp(-seconds / 60))
    memory = base + seconds % PERIOD / PERIOD * HEIGHT + leak * seconds / HOUR
    return Sample(seconds, memory, memory, memory, 34, 90, 0, 9, 0, 0.0, 30.0)


def memory(leak: float, seconds: int = HOUR) -> Growth:
    samples = [sample(second, leak) for second in range(0, seconds, 5)]
    growths = judge(samples, seconds)
    [growth] = [one for one in growths if one.limit.field == "anonymous"]
    return growth


def test_a_cache_that_is_emptied_now_and_then_is_flat() -> None:
    growth = memory(leak=0)
    assert growth.flat
    assert abs(growth.growth) < 1
    assert abs(growth.last - growth.first) < HEIGHT / 4


def test_a_leak_is_found_beside_such_a_cache() -> None:
    growth = memory(leak=12)
    assert not growth.flat
    assert abs(growth.per_hour - 12) < 1


def test_only_what_comes_after_the_warm_up_counts() -> None:
    growth = memory(leak=0)
    assert math.isclose(growth.hours, (HOUR - 600) / HOUR, abs_tol=0.01)
    short = memory(leak=0, seconds=300)
    assert math.isclose(short.hours, 200 / HOUR, abs_tol=0.01)


@pytest.mark.parametrize(
    ("seconds", "leak", "faults", "passed"),
    [(HOUR, 0, 0, True), (HOUR, 12, 0, False), (HOUR, 0, 1, False), (300, 99, 0, True)],
)
def test_a_run_fails_by_a_fault_and_if_it_is_long_by_growth(
    seconds: int, leak: float, faults: int, passed: bool
) -> None:
    tally = Tally()
    for _ in range(faults):
        tally.fault("a call that should work has failed")
    samples = [sample(second, leak) for second in range(0, seconds, 5)]
    outcome = Outcome(seconds, samples, judge(samples, seconds), tally, {})
    assert outcome.passed == passed
    assert summary(outcome).endswith("PASSED" if passed else "FAILED")
