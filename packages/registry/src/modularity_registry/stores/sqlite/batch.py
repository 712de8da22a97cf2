"""Decides the outcomes of a batch of writes, before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from modularity_registry.errors import StoreConflict
from modularity_registry.stores.base import Change, Record
from modularity_registry.stores.group_commit import Write
from modularity_registry.stores.sqlite.layout import Ledger


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes to the disk: ``changes`` to the log, the rest to the records."""

    puts: list[Record]
    deletions: list[str]
    changes: list[Change]
    ledger: Ledger


class Planner:
    """The outcome of a batch on top of what the file holds, one write at a time.

    A write sees those before it in the batch. Of several to one key only the last
    goes to the disk, yet each has its revision and its change. Revisions begin after
    ``announced``, the highest that a watcher has seen.
    """

    def __init__(
        self, ledger: Ledger, revisions: Mapping[str, int], announced: int
    ) -> None:
        self._ledger = ledger
        self._revision = max(ledger.revision, announced)
        self._revisions = revisions
        self._count = ledger.count
        self._total = ledger.total
        self._latest: dict[str, Change] = {}
        self.changes: list[Change] = []

    def add(self, write: Write) -> None:
        """Decide the outcome of ``write``: a revision, a conflict, or no change.

        It replaces the outcome of an earlier plan.
        """
        write.revision = write.error = None
        actual = self._actual(write.key)
        if write.expected is not None and write.expected != actual:
            write.error = StoreConflict(write.key, actual)
            return
        if write.value is None and not actual:
            return
        write.revision = self._revision = self._revision + 1
        change = Change(write.key, write.value, write.revision)
        self.changes.append(change)
        self._latest[write.key] = change
        self._total -= actual
        if write.value is None:
            self._count -= 1
        else:
            self._total += write.revision
            self._count += 0 if actual else 1

    def plan(self) -> Plan:
        """Return what to write, and the ledger after it."""
        puts, deletions = [], []
        for key, change in self._latest.items():
            if change.value is not None:
                puts.append(Record(key, change.value, change.revision))
            elif key in self._revisions:
                deletions.append(key)
        ledger = replace(
            self._ledger,
            revision=self._revision,
            count=self._count,
            total=self._total,
        )
        return Plan(puts, deletions, self.changes, ledger)

    def _actual(self, key: str) -> int:
        latest = self._latest.get(key)
        if latest is None:
            return self._revisions.get(key, 0)
        return 0 if latest.value is None else latest.revision
