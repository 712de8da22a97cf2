"""Decides the outcomes of writes that share a transaction, without calling Consul."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from modularity_registry.errors import StoreConflict
from modularity_registry.stores.consul.api import Operation
from modularity_registry.stores.consul.layout import (
    LOG_KEPT,
    Entry,
    Layout,
    StoredTip,
    Tip,
    pack_entries,
    pack_tip,
)
from modularity_registry.stores.group_commit import Write

# Consul accepts 64 operations, of which the tip and the log take four.
_MOST_RECORDS: Final = 60
# Consul accepts 524,288 bytes of JSON; each value is in it twice, in base64.
_MOST_BYTES: Final = 500_000
_OVERHEAD: Final = 400


@dataclass(frozen=True, slots=True)
class Plan:
    """The outcomes of writes (a revision, None for no change, or a conflict) and the
    log entries to write."""

    outcomes: tuple[int | StoreConflict | None, ...]
    entries: tuple[Entry, ...]

    @property
    def last_entries(self) -> dict[str, Entry]:
        """The last entry of each key."""
        return {entry.key: entry for entry in self.entries}

    def revisions(self) -> dict[str, int]:
        """Return the revisions after the batch, 0 for a deleted key."""
        return {
            key: 0 if entry.value is None else entry.revision
            for key, entry in self.last_entries.items()
        }


def compared_keys(writes: Sequence[Write]) -> set[str]:
    """Return the keys whose revisions decide the outcomes of the writes."""
    return {
        write.key
        for write in writes
        if write.expected is not None or write.value is None
    }


def make_plan(
    writes: Sequence[Write], revisions: Mapping[str, int], revision: int
) -> Plan:
    """Return the outcomes of writes, in their order; ``revision`` is that of the tip.

    ``revisions`` has the revisions of the keys that are `compared_keys`, 0 for no
    record.
    """
    new: dict[str, int] = {}
    outcomes: list[int | StoreConflict | None] = []
    entries: list[Entry] = []
    for write in writes:
        current = new.get(write.key, revisions.get(write.key, 0))
        if write.expected not in (None, current):
            outcomes.append(StoreConflict(write.key, current))
        elif write.value is None and not current:
            outcomes.append(None)
        else:
            revision += 1
            new[write.key] = 0 if write.value is None else revision
            entries.append(Entry(write.key, write.value, revision))
            outcomes.append(revision)
    return Plan(tuple(outcomes), tuple(entries))


def finish(writes: Sequence[Write], plan: Plan) -> None:
    """Set the outcome of each write."""
    for write, outcome in zip(writes, plan.outcomes, strict=True):
        if isinstance(outcome, StoreConflict):
            write.error = outcome
        else:
            write.revision = outcome
        write.done = True


def next_tip(tip: Tip, plan: Plan) -> Tip:
    return Tip(tip.epoch, tip.batch + 1, plan.entries[-1].revision)


def transaction(layout: Layout, stored: StoredTip, plan: Plan) -> list[Operation]:
    """Return the transaction from ``stored`` to the next tip."""
    tip, new = stored.tip, next_tip(stored.tip, plan)
    steps = [
        Operation("cas", layout.tip, value=pack_tip(new), index=stored.index),
        # The previous tip was written together with this entry, so no other tip passes,
        # not even in a Consul that was wiped and counts from one again.
        Operation("check-index", layout.log(tip.epoch, tip.batch), index=stored.index),
        Operation(
            "set",
            layout.log(tip.epoch, new.batch),
            value=pack_entries(plan.entries),
            flags=stored.index,
        ),
    ]
    if new.batch >= LOG_KEPT:
        old = layout.log(tip.epoch, new.batch - LOG_KEPT)
        steps.append(Operation("delete", old))
    for key, entry in plan.last_entries.items():
        name = layout.record(key)
        steps.append(
            Operation("delete", name)
            if entry.value is None
            else Operation("set", name, value=entry.value, flags=entry.revision)
        )
    return steps


def count_that_fit(writes: Sequence[Write]) -> int:
    """Return how many of the first writes fit into a transaction; 0: too large."""
    size = 0
    for count, write in enumerate(writes[:_MOST_RECORDS]):
        size += _OVERHEAD + 3 * len(write.key) + 8 * len(write.value or b"") // 3
        if size > _MOST_BYTES:
            return count
    return min(len(writes), _MOST_RECORDS)
