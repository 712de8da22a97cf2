"""What a benchmark finds: rows of series and checks. A series is many samples."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

import msgspec

FOREIGN_LIMIT = 0.1
"""The share of a core that other programs may take before a row counts as disturbed."""


BASELINE = "f79c8c9"
"""The commit with a server of threads; some targets are ratios to its figures."""


class BenchmarkError(Exception):
    """A measurement failed or can't be trusted; the text says why."""


class ScenarioSkipped(Exception):
    """Something that the scenario needs is not installed; the text says what."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One repeat of one system. Times are in milliseconds, shares are of one core.

    ``foreign`` is the share that programs outside the benchmark took meanwhile, ``lag``
    the time by which the calls of an open loop were late, for 99 of 100.
    """

    value: float
    p50: float | None = None
    p99: float | None = None
    p999: float | None = None
    server_busy: float | None = None
    client_busy: float | None = None
    reply_bytes: float | None = None
    foreign: float | None = None
    lag: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """All repeats of one system, in the order in which they ran.

    ``at`` is where it stands on a curve, such as the number of services.
    """

    system: str
    unit: str
    samples: tuple[Sample, ...]
    at: float | None = None

    @property
    def label(self) -> str:
        """The system, and where it stands on its curve."""
        return self.system if self.at is None else f"{self.system} at {self.at:,.0f}"

    @property
    def values(self) -> tuple[float, ...]:
        """The main figure of each repeat."""
        return tuple(sample.value for sample in self.samples)

    @property
    def median(self) -> float:
        """The median of the values."""
        return median(self.values)

    def median_of(self, field: str) -> float | None:
        """Return the median of another field of the samples; None if not measured."""
        values = [getattr(sample, field) for sample in self.samples]
        measured = [value for value in values if value is not None]
        return median(measured) if measured else None


@dataclass(frozen=True, slots=True)
class Check:
    """A target and the values that are held to it. ``text`` names the values."""

    text: str
    values: tuple[float, ...]
    target: float
    better: Literal["more", "less"]
    unit: str = "x"

    @property
    def value(self) -> float:
        """The median of the values."""
        return median(self.values)

    @property
    def passed(self) -> bool:
        """Whether the median meets the target."""
        if self.better == "more":
            return self.value >= self.target
        return self.value <= self.target

    @property
    def margin(self) -> float:
        """How far the median is inside its target; 1 is exactly on it."""
        if self.better == "more":
            return self.value / self.target
        return self.target / self.value if self.value else 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome of one scenario. A row with problems has no valid figures.

    ``axis`` says what the ``at`` of its series counts.
    """

    key: str
    title: str
    series: tuple[Series, ...] = ()
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    axis: str = ""

    @property
    def beside(self) -> dict[str, tuple[float, ...]]:
        """This registry's figures over those of the other commit, for each repeat."""
        ours = {(one.system, one.unit, one.at): one for one in self.series}
        pairs = (
            (ours.get((other.system.partition(" @")[0], other.unit, other.at)), other)
            for other in self.series
            if " @" in other.system
        )
        return {
            f"{our.label} / {other.label}": ratios(our, other)
            for our, other in pairs
            if our is not None
        }

    @property
    def disturbed(self) -> bool:
        """Whether other programs took more of the machine than `FOREIGN_LIMIT`."""
        shares = [series.median_of("foreign") or 0.0 for series in self.series]
        return max(shares, default=0.0) > FOREIGN_LIMIT

    @property
    def skipped(self) -> bool:
        """Whether it has no figures because something is not installed."""
        return not self.series and not self.problems

    @property
    def passed(self) -> bool:
        """Whether it was measured without a problem and meets every target."""
        return not self.problems and all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the medians and verdicts included."""
        data = asdict(self)
        for series, raw in zip(self.series, data["series"], strict=True):
            raw["median"] = series.median
        for check, raw in zip(self.checks, data["checks"], strict=True):
            raw |= {"value": check.value, "passed": check.passed}
        verdicts = {"passed": self.passed, "disturbed": self.disturbed}
        return {**data, "beside": self.beside, **verdicts}

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Row":
        """Return the row of which `to_json` returned ``data``."""
        return msgspec.convert(data, Row)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def ratios(ours: Series, theirs: Series) -> tuple[float, ...]:
    """Return ours / theirs for each repeat.

    The two were measured seconds apart. A slow spell of the machine weighs on both and
    drops out of their ratio; the ratio of two medians would keep it.
    """
    pairs = zip(ours.values, theirs.values, strict=True)
    return tuple(our_value / their_value for our_value, their_value in pairs)


def at_least(ours: Series, theirs: Series, target: float) -> Check:
    """Return the check that ours is ``target`` times theirs or more."""
    return Check(f"{ours.label} / {theirs.label}", ratios(ours, theirs), target, "more")


def at_least_baseline(
    series: Iterable[Series], system: str, target: float
) -> tuple[Check, ...]:
    """Return that check against the same system of `BASELINE`, if it was measured."""
    by_name = {one.system: one for one in series}
    baseline = by_name.get(f"{system} @{BASELINE}")
    return (at_least(by_name[system], baseline, target),) if baseline else ()


def rows_measured(rows: Sequence[Row]) -> bool:
    """Say whether every row could be measured."""
    return not any(row.problems for row in rows)


def rows_passed(rows: Sequence[Row]) -> bool:
    """Say whether every row met every target."""
    return all(row.passed for row in rows)
