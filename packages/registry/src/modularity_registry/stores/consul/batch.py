"""Decides the outcomes of writes that share a transaction, without calling Consul."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from modularity_registry.errors import StoreConflict
from modularity_registry.stores.base import Outcome, Write
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

# Consul accepts 64 operations, of which the tip and the log take four.
_MOST_RECORDS: Final = 60
# Consul accepts 524,288 bytes of JSON; each value is in it twice, in base64.
_MOST_BYTES: Final = 500_000
_OVERHEAD: Final = 400


@dataclass(frozen=True, slots=True)
class Plan:
    """The outcomes of writes, the log's entries, and what happens to the records."""

    outcomes: list[Outcome]
    entries: list[Entry]
    steps: list[Operation]

    def revisions(self) -> dict[str, int]:
        """Return the revisions after the batch, 0 for a deleted key."""
        return {
            entry.key: 0 if entry.value is None else entry.revision
            for entry in self.entries
        }


def compared_keys(writes: Sequence[Write]) -> set[str]:
    """Return the keys whose revisions must be known before the writes are tried.

    What has to be a new record is tried without: Consul compares that itself.
    """
    return {key for key, value, expected in writes if expected or value is None}


def make_plan(
    layout: Layout,
    writes: Sequence[Write],
    revisions: Mapping[str, int],
    revision: int,
) -> Plan:
    """Return the plan for writes; ``revision`` is that of the tip.

    ``revisions`` has at least those of the `compared_keys`, 0 for no record.
    """
    plan = Plan([], [], [])
    for key, value, expected in writes:
        actual = revisions.get(key, 0)
        if expected is not None and expected != actual:
            plan.outcomes.append(StoreConflict(key, actual))
        elif value is None and not actual:
            plan.outcomes.append(None)
        else:
            revision += 1
            name = layout.record(key)
            if value is None:
                step = Operation("delete", name)
            else:
                # With an index of 0, "cas" makes a new entry.
                verb = "cas" if expected == 0 else "set"
                step = Operation(verb, name, value=value, flags=revision)
            plan.steps.append(step)
            plan.entries.append(Entry(key, value, revision))
            plan.outcomes.append(revision)
    return plan


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
    return steps + plan.steps


def count_that_fit(writes: Sequence[Write]) -> int:
    """Return how many of the first writes fit into a transaction; 0: too large."""
    size = 0
    for count, write in enumerate(writes[:_MOST_RECORDS]):
        size += _OVERHEAD + 3 * len(write.key) + 8 * len(write.value or b"") // 3
        if size > _MOST_BYTES:
            return count
    return min(len(writes), _MOST_RECORDS)
