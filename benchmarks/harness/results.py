"""What a benchmark finds: series of samples, targets, and rows that hold both."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

TRIFLE = 0.1
"""The share of a core that other programs may take before figures are in doubt."""


class BenchmarkError(Exception):
    """A measurement that can't be trusted or made; its text says why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One repeat of one system. Times are milliseconds, shares are of one core.

    ``foreign`` is what programs that have no part in the benchmark took meanwhile.
    """

    value: float
    p50: float | None = None
    p99: float | None = None
    server_busy: float | None = None
    client_busy: float | None = None
    reply_bytes: float | None = None
    foreign: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """All the repeats of one system, in the order in which they were made."""

    system: str
    unit: str
    samples: tuple[Sample, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """The figure itself, once a repeat."""
        return tuple(sample.value for sample in self.samples)

    @property
    def median(self) -> float:
        """The middle of the values."""
        return median(self.values)

    def middle(self, field: str) -> float | None:
        """Return the median of another field of the samples; None when not taken."""
        found = [getattr(sample, field) for sample in self.samples]
        known = [value for value in found if value is not None]
        return median(known) if known else None


@dataclass(frozen=True, slots=True)
class Check:
    """A target beside what was found. ``text`` names what is held to it."""

    text: str
    values: tuple[float, ...]
    target: float
    better: Literal["more", "less"]
    unit: str = "x"

    @property
    def value(self) -> float:
        """The middle of the values."""
        return median(self.values)

    @property
    def passed(self) -> bool:
        """Whether the median keeps the target."""
        if self.better == "more":
            return self.value >= self.target
        return self.value <= self.target

    @property
    def margin(self) -> float:
        """How far inside its target the median is; 1 is just on it."""
        best, least = self.value, self.target
        if self.better == "more":
            return best / least
        return least / best if best else 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome of one scenario. One with problems has no valid figures."""

    key: str
    title: str
    series: tuple[Series, ...] = ()
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def disturbed(self) -> bool:
        """Whether other programs took more than a trifle of the machine."""
        shares = [series.middle("foreign") or 0.0 for series in self.series]
        return max(shares, default=0.0) > TRIFLE

    @property
    def skipped(self) -> bool:
        """Whether what it is about isn't there, so that there are no figures."""
        return not self.series and not self.problems

    @property
    def passed(self) -> bool:
        """Whether it was measured without a fault and keeps every target."""
        return not self.problems and all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the medians and verdicts worked out."""
        data = asdict(self)
        for series, raw in zip(self.series, data["series"], strict=True):
            raw["median"] = series.median
        for check, raw in zip(self.checks, data["checks"], strict=True):
            raw |= {"value": check.value, "passed": check.passed}
        return {**data, "passed": self.passed, "disturbed": self.disturbed}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least of the values that ``share`` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def ratios(ours: Series, theirs: Series) -> tuple[float, ...]:
    """Return ours / theirs for each round.

    The two of a round were measured seconds apart, so what slows the whole machine
    for a while weighs on both and drops out; a ratio of two medians would keep it.
    """
    pairs = zip(ours.values, theirs.values, strict=True)
    return tuple(mine / other for mine, other in pairs)


def at_least(ours: Series, theirs: Series, target: float) -> Check:
    """Return the check that ours is ``target`` times theirs or more."""
    return Check(
        f"{ours.system} / {theirs.system}", ratios(ours, theirs), target, "more"
    )


def rows_measured(rows: Sequence[Row]) -> bool:
    """Say whether every row could be measured."""
    return not any(row.problems for row in rows)


def rows_passed(rows: Sequence[Row]) -> bool:
    """Say whether every row kept every target."""
    return all(row.passed for row in rows)
