"""Says whether what a process needs grows.

Garbage waits for a search, and some caches are emptied when they are full, so a figure
goes up and down like a saw. A leak raises the lowest points as well: the line is fitted
to the lowest sample of each stretch of the run. Most teeth are closer together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import linear_regression, median

from benchmarks.soak.samples import Sample

HOUR = 3600.0
WARMUP = 600.0
"""Seconds until all caches are warm, of a run that takes long enough."""

WARMUP_SHARE = 1 / 3
"""The share of the warm-up in a shorter run."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure may grow by: ``per_hour``, and in less than an hour as much.

    In a shorter time the line's ends differ by chance as much as in an hour.
    """

    field: str
    title: str
    unit: str
    per_hour: float
    reason: str


LIMITS = (
    Limit(
        "anonymous",
        "anonymous memory",
        "MiB",
        4.0,
        "64 bytes of each write would be as much; the allocator's pages come and go",
    ),
    Limit("blocks", "allocated blocks", "", 40_000, "one of each write would be more"),
    Limit(
        "objects",
        "objects of the collector",
        "",
        20_000,
        "garbage waits until there are so many, and is then collected",
    ),
    Limit("threads", "threads", "", 1.0, "all of the pool are started before"),
    Limit("descriptors", "open descriptors", "", 5.0, "callers come and go"),
    Limit("tasks", "tasks of the event loop", "", 5.0, "callers come and go"),
    Limit(
        "disk",
        "store and audit on disk",
        "MiB",
        4.0,
        "the store forgets old changes, and the audit its oldest file",
    ),
)


STRETCH = 600.0
"""Seconds. Most searches for garbage are less apart."""

JUDGED = WARMUP + 2 * STRETCH
"""A run that is shorter, in seconds, has too few stretches: any growth is shown, and
fails nothing."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How a figure went after the warm-up.

    ``growth`` is how much higher the fitted line ends than it begins, ``first`` and
    ``last`` are the medians of the first and the last ten minutes of an hour, and of
    as large a share of any other time.
    """

    limit: Limit
    growth: float
    hours: float
    first: float
    last: float

    @property
    def per_hour(self) -> float:
        """What it would grow by in an hour."""
        return self.growth / self.hours

    @property
    def allowed(self) -> float:
        """What it may grow by in this time."""
        return self.limit.per_hour * max(1.0, self.hours)

    @property
    def flat(self) -> bool:
        """Whether it has not grown by more."""
        return self.growth <= self.allowed


def warmup(seconds: float) -> float:
    """Return how much of a run of so many seconds does not count."""
    return min(WARMUP, seconds * WARMUP_SHARE)


def judge(samples: Sequence[Sample], seconds: float) -> list[Growth]:
    """Return how each figure of `LIMITS` went; raises for too few samples."""
    counted = [one for one in samples if one.seconds >= warmup(seconds)]
    return [_growth(limit, counted) for limit in LIMITS]


def _growth(limit: Limit, samples: Sequence[Sample]) -> Growth:
    hours = (samples[-1].seconds - samples[0].seconds) / HOUR
    values = [float(getattr(one, limit.field)) for one in samples]
    count = len(values)
    stretches = max(2, int(hours * HOUR / STRETCH))
    edges = [count * number // stretches for number in range(stretches + 1)]
    lowest = [
        min(range(begin, end), key=values.__getitem__) for begin, end in pairwise(edges)
    ]
    times = [samples[place].seconds / HOUR for place in lowest]
    slope = linear_regression(times, [values[place] for place in lowest]).slope
    fifth = max(1, count // 5)
    first, last = median(values[:fifth]), median(values[-fifth:])
    return Growth(limit, slope * hours, hours, first, last)
