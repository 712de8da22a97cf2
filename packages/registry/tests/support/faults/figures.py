"""What a run comes to, in figures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Final

from support.faults.history import Asked, History, Outcome
from support.faults.violation import Violation

HEADINGS: Final = (
    *("calls", "acknowledged", "refused", "unknown"),
    *("longest without a write", "longest without a read"),
    *("failed reads", "violations", "lost"),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of calls, and the longest times without a good one, in seconds."""

    calls: int
    acknowledged: int
    refused: int
    unknown: int
    failed_reads: int
    without_write: float
    without_read: float
    violations: int
    lost: int = 0

    def __str__(self) -> str:
        return (
            f"{self.calls} calls: {self.acknowledged} writes acknowledged,"
            f" {self.refused} refused, {self.unknown} unknown;"
            f" {self.failed_reads} reads failed;"
            f" longest without an acknowledged write {self.without_write:.2f} s,"
            f" without a good read {self.without_read:.2f} s;"
            f" {self.violations} violations, {self.lost} acknowledged writes lost"
        )

    def row(self) -> tuple[str, ...]:
        """Return the cells of a table, as `HEADINGS` names them."""
        counts = self.calls, self.acknowledged, self.refused, self.unknown
        times = f"{self.without_write:.1f} s", f"{self.without_read:.2f} s"
        rest = self.failed_reads, self.violations, self.lost
        return (*map(str, counts), *times, *map(str, rest))


def figures(
    history: History, violations: Sequence[Violation], lost: int = 0
) -> Figures:
    """Return the figures of a history; ``lost`` are writes that it may lose."""
    asked = history.asked
    writes = [each for each in asked if each.is_write]
    reads = [each for each in asked if not each.is_write]
    return Figures(
        calls=len(asked),
        acknowledged=_count(writes, Outcome.OK),
        refused=_count(writes, Outcome.REFUSED),
        unknown=_count(writes, Outcome.UNKNOWN),
        failed_reads=len(reads) - _count(reads, Outcome.OK),
        without_write=_longest_gap(writes, history.stopped),
        without_read=_longest_gap(reads, history.stopped),
        violations=len(violations),
        lost=lost,
    )


def together(rounds: Sequence[Figures]) -> Figures:
    """Return the sums, and the longest times, of several runs."""
    merged = {}
    for column in fields(Figures):
        values = [getattr(each, column.name) for each in rounds]
        merged[column.name] = max(values) if column.type is float else sum(values)
    return Figures(**merged)


def _count(asked: Iterable[Asked], outcome: Outcome) -> int:
    return sum(each.outcome is outcome for each in asked)


def _longest_gap(asked: Sequence[Asked], stopped: float) -> float:
    """Return the longest time without a good reply while the clients called."""
    if not asked:
        return 0.0
    good = (each.ended for each in asked if each.outcome is Outcome.OK)
    begin = min(each.begun for each in asked)
    end = min(stopped, max(each.ended for each in asked))
    times = sorted((begin, *(ended for ended in good if ended < end), end))
    return max(after - before for before, after in pairwise(times))
