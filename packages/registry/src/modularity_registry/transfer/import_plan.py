"""The plan of an import, and its writes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from modularity_registry.errors import RegistryError, StoreConflict, StoreError
from modularity_registry.stores.base import Snapshot, Store, Write, batches
from modularity_registry.transfer.jsonl import Scope, in_scope

Advance = Callable[[], None]


class ImportStopped(RegistryError):
    """The store failed, or Ctrl-C came, after part of an import was written."""

    code = "import_stopped"


@dataclass(frozen=True, slots=True)
class Step:
    """One write of an import; ``value`` of None deletes what is at ``expected``."""

    kind: Literal["new", "replaced", "pruned"]
    key: str
    value: bytes | None
    expected: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The writes of an import; ``extra`` are keys only in the store, which stay."""

    steps: tuple[Step, ...]
    unchanged: int
    extra: tuple[str, ...]


def plan_of(
    snapshot: Snapshot, documents: Mapping[str, bytes], prune: bool, scope: Scope = ""
) -> Plan:
    """Return the writes that bring ``documents`` into what the snapshot shows.

    ``prune`` deletes only what is in ``scope``.
    """
    stored = {
        record.key: record for record in snapshot.records if in_scope(record.key, scope)
    }
    steps: list[Step] = []
    for key, value in documents.items():
        if key not in stored:
            steps.append(Step("new", key, value, 0))
        elif stored[key].value != value:
            steps.append(Step("replaced", key, value, stored[key].revision))
    unchanged = len(documents) - len(steps)
    extra = sorted(stored.keys() - documents.keys())
    if prune:
        steps += [Step("pruned", key, None, stored[key].revision) for key in extra]
    return Plan(tuple(steps), unchanged, () if prune else tuple(extra))


def carry_out(
    store: Store, steps: Sequence[Step], advance: Advance
) -> tuple[Step, ...]:
    """Do ``steps``, in batches; return those that another write overtook.

    A service that was written meanwhile is newer than the export, so it stays. Raises
    `ImportStopped` when the store fails; what was written by then stays.
    """
    by_key = {step.key: step for step in steps}
    overtaken: list[Step] = []
    written = 0
    try:
        for batch in batches(Write(s.key, s.value, s.expected) for s in steps):
            failure: StoreError | None = None
            for write, outcome in zip(batch, store.commit(batch), strict=True):
                if isinstance(outcome, StoreConflict):
                    overtaken.append(by_key[write.key])
                elif isinstance(outcome, StoreError):
                    failure = outcome
                else:
                    written += 1
                advance()
            if failure is not None:
                raise failure
    except (StoreError, KeyboardInterrupt) as error:
        reason = error.detail if isinstance(error, StoreError) else "interrupted"
        raise ImportStopped(
            f"{reason}; {written:,} of {len(steps):,} changes were written; run it"
            " again to continue from there"
        ) from error
    return tuple(overtaken)
