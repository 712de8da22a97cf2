"""What becomes of writes that share a transaction, decided without Consul."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from modularity_registry.errors import StoreConflict
from modularity_registry.stores.consul.api import Operation
from modularity_registry.stores.consul.layout import (
    LOG_KEPT,
    Entry,
    Names,
    Sighting,
    Tip,
    pack_entries,
    pack_tip,
)
from modularity_registry.stores.write import Write

# Consul takes 64 operations, of which the tip and the log take four.
_MOST_RECORDS: Final = 60
# Consul takes 524,288 bytes of JSON; each value is in it twice, in base64.
_MOST_BYTES: Final = 500_000
_OVERHEAD: Final = 400


@dataclass(frozen=True, slots=True)
class Plan:
    """The outcomes of writes: a revision, None for no change, or a conflict."""

    outcomes: tuple[int | StoreConflict | None, ...]
    entries: tuple[Entry, ...]

    @property
    def final(self) -> dict[str, Entry]:
        """The last of the entries of each key."""
        return {entry.key: entry for entry in self.entries}

    def held(self) -> dict[str, int]:
        """Return the revisions afterwards, 0 for a key that is gone."""
        return {
            key: 0 if entry.value is None else entry.revision
            for key, entry in self.final.items()
        }


def judged(writes: Sequence[Write]) -> set[str]:
    """Return the keys whose revisions decide what becomes of the writes."""
    return {
        write.key
        for write in writes
        if write.expected is not None or write.value is None
    }


def plan(writes: Sequence[Write], held: Mapping[str, int], revision: int) -> Plan:
    """Decide about writes in their order; ``revision`` is that of the tip.

    ``held`` has the revisions of the keys that are `judged`, 0 for no record.
    """
    now: dict[str, int] = {}
    outcomes: list[int | StoreConflict | None] = []
    entries: list[Entry] = []
    for write in writes:
        current = now.get(write.key, held.get(write.key, 0))
        if write.expected not in (None, current):
            outcomes.append(StoreConflict(write.key, current))
        elif write.value is None and not current:
            outcomes.append(None)
        else:
            revision += 1
            now[write.key] = 0 if write.value is None else revision
            entries.append(Entry(write.key, write.value, revision))
            outcomes.append(revision)
    return Plan(tuple(outcomes), tuple(entries))


def settle(writes: Sequence[Write], made: Plan) -> None:
    """Tell the writers what became of their writes."""
    for write, outcome in zip(writes, made.outcomes, strict=True):
        if isinstance(outcome, StoreConflict):
            write.error = outcome
        else:
            write.revision = outcome
        write.done = True


def next_tip(tip: Tip, made: Plan) -> Tip:
    return Tip(tip.epoch, tip.batch + 1, made.entries[-1].revision)


def steps(names: Names, at: Sighting, made: Plan) -> list[Operation]:
    """Return the transaction that brings the store from ``at`` to the next tip."""
    tip, new = at.tip, next_tip(at.tip, made)
    operations = [
        Operation("cas", names.tip, value=pack_tip(new), index=at.index),
        # The tip before was written together with this: no other tip passes for it,
        # not even in a Consul that was emptied and counts from one again.
        Operation("check-index", names.log(tip.epoch, tip.batch), index=at.index),
        Operation(
            "set",
            names.log(tip.epoch, new.batch),
            value=pack_entries(made.entries),
            flags=at.index,
        ),
    ]
    if new.batch >= LOG_KEPT:
        old = names.log(tip.epoch, new.batch - LOG_KEPT)
        operations.append(Operation("delete", old))
    for key, entry in made.final.items():
        name = names.record(key)
        operations.append(
            Operation("delete", name)
            if entry.value is None
            else Operation("set", name, value=entry.value, flags=entry.revision)
        )
    return operations


def room_for(writes: Sequence[Write]) -> int:
    """Return how many from the beginning fit into one transaction, 0 for too large."""
    size = 0
    for count, write in enumerate(writes[:_MOST_RECORDS]):
        size += _OVERHEAD + 3 * len(write.key) + 8 * len(write.value or b"") // 3
        if size > _MOST_BYTES:
            return count
    return min(len(writes), _MOST_RECORDS)
