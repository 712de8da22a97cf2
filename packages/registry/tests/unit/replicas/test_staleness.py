"""Whether the view is current, and since when not."""

from modularity_registry.replicas.staleness import Freshness
from support.registry import ManualClock, eventually


class Doubter:
    reason: str | None = None

    def __call__(self) -> str | None:
        return self.reason


def test_it_is_stale_from_the_first_doubt_to_the_last() -> None:
    clock, one, other = ManualClock(), Doubter(), Doubter()
    freshness = Freshness(clock, (one, other))
    freshness.look()
    assert (freshness.since, freshness.stale_seconds) == (None, None)
    other.reason = "away"
    freshness.look()
    clock.advance(3.5)
    one.reason = "silent"
    freshness.look()
    assert (freshness.reason, freshness.stale_seconds) == ("silent", 3)
    one.reason = None
    freshness.look()
    assert (freshness.reason, freshness.stale_seconds) == ("away", 3)
    other.reason = None
    freshness.look()
    assert (freshness.reason, freshness.since) == (None, None)


def test_it_goes_on_looking_by_itself() -> None:
    doubter = Doubter()
    freshness = Freshness(ManualClock(), (doubter,))
    freshness.start()
    doubter.reason = "away"
    eventually(lambda: freshness.since is not None)
    freshness.stop()
    freshness.stop()
