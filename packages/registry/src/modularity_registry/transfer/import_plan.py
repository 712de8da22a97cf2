"""The plan of an import, and the threads that carry it out."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal

from modularity_registry.catalog.documents import id_of
from modularity_registry.errors import RegistryError, StoreConflict, StoreError
from modularity_registry.stores.base import Snapshot, Store

# Stores let concurrent writers share a commit or a round trip.
WRITERS: Final = 16

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
    """The writes of an import; ``extra`` services, only in the store, stay there."""

    steps: tuple[Step, ...]
    unchanged: int
    extra: int


def plan_of(snapshot: Snapshot, documents: Mapping[str, bytes], prune: bool) -> Plan:
    """Return the writes that bring ``documents`` into what the snapshot shows."""
    stored = {
        record.key: record
        for record in snapshot.records
        if id_of(record.key) is not None
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
    return Plan(tuple(steps), unchanged, 0 if prune else len(extra))


def carry_out(
    store: Store, steps: Iterable[Step], advance: Advance
) -> tuple[Step, ...]:
    """Do ``steps``, several at once; return those that another write overtook.

    A service that was written meanwhile is newer than the export, so it stays. Raises
    `ImportStopped` when the store fails; what was written by then stays.
    """
    writers = _Writers(store, steps, advance)
    try:
        writers.run()
    except (StoreError, KeyboardInterrupt) as error:
        reason = error.detail if isinstance(error, StoreError) else "interrupted"
        raise ImportStopped(
            f"{reason}; {len(writers.done):,} of {writers.total:,} changes were"
            " written; run it again to continue from there"
        ) from error
    return tuple(writers.overtaken)


class _Writers:
    """Threads that share the steps out among them; the first failure stops all."""

    def __init__(self, store: Store, steps: Iterable[Step], advance: Advance) -> None:
        # Deques and lists: the operations used here are atomic.
        self._waiting = deque(steps)
        self._store = store
        self._advance = advance
        self._stop = threading.Event()
        self.total = len(self._waiting)
        self.done: list[Step] = []
        self.overtaken: list[Step] = []

    def run(self) -> None:
        """Return when all is written; raises what the first failing write raised."""
        with ThreadPoolExecutor(WRITERS) as pool:
            try:
                for running in [pool.submit(self._work) for _ in range(WRITERS)]:
                    running.result()
            finally:
                self._stop.set()  # on Ctrl-C no thread takes another step

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                step = self._waiting.popleft()
            except IndexError:
                return
            try:
                self._write(step)
                self._advance()
            except BaseException:
                self._stop.set()  # the others end after their present write
                raise

    def _write(self, step: Step) -> None:
        try:
            if step.value is None:
                self._store.delete(step.key, expected=step.expected)
            else:
                self._store.put(step.key, step.value, expected=step.expected)
        except StoreConflict:
            self.overtaken.append(step)
        else:
            self.done.append(step)
