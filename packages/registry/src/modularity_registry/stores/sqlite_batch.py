"""What a batch of writes comes to, decided before anything is written."""

from collections.abc import Mapping

from modularity_registry.errors import StoreConflict, StoreCorrupt, StoreError
from modularity_registry.stores.base import Change, Record
from modularity_registry.stores.groupcommit import Pending
from modularity_registry.stores.sqlite_file import Ledger


class Write(Pending):
    """One writer's wish, ``value`` None to delete, and what became of it."""

    __slots__ = ("done", "error", "expected", "key", "revision", "value")

    def __init__(self, key: str, value: bytes | None, expected: int | None) -> None:
        super().__init__()
        self.key = key
        self.value = value
        self.expected = expected
        self.revision: int | None = None
        self.error: StoreError | None = None
        self.done = False

    def fail(self, error: StoreError) -> None:
        # An error for each thread: raising one in several would mix up tracebacks.
        kind = StoreCorrupt if isinstance(error, StoreCorrupt) else type(error)
        self.error = kind(error.detail)
        self.error.__cause__ = error


class Draft:
    """The outcome of a batch on top of what the file holds, one write at a time.

    A write sees those before it in the batch. Of several to one key only the last
    goes to the disk, yet each has its revision and its change.
    """

    def __init__(self, ledger: Ledger, revisions: Mapping[str, int]) -> None:
        self._ledger = ledger
        self._revisions = revisions
        self._count = ledger.count
        self._total = ledger.total
        self._latest: dict[str, Change] = {}
        self.changes: list[Change] = []

    def add(self, write: Write) -> None:
        """Decide on ``write``: its revision, its conflict, or that nothing changes."""
        actual = self._actual(write.key)
        if write.expected is not None and write.expected != actual:
            write.error = StoreConflict(write.key, actual)
            return
        if write.value is None and not actual:
            return
        write.revision = self._ledger.revision + len(self.changes) + 1
        change = Change(write.key, write.value, write.revision)
        self.changes.append(change)
        self._latest[write.key] = change
        self._total -= actual
        if write.value is None:
            self._count -= 1
        else:
            self._total += write.revision
            self._count += 0 if actual else 1

    def outcome(self) -> tuple[list[Record], list[str], Ledger]:
        """Return the records to put, the keys to delete, and the ledger after it."""
        puts, gone = [], []
        for key, change in self._latest.items():
            if change.value is not None:
                puts.append(Record(key, change.value, change.revision))
            elif key in self._revisions:
                gone.append(key)
        revision = self._ledger.revision + len(self.changes)
        epoch = self._ledger.epoch
        return puts, gone, Ledger(epoch, revision, self._count, self._total)

    def apply(self, revisions: dict[str, int]) -> None:
        """Bring ``revisions`` to what is on the disk now."""
        for key, change in self._latest.items():
            if change.value is None:
                revisions.pop(key, None)
            else:
                revisions[key] = change.revision

    def _actual(self, key: str) -> int:
        latest = self._latest.get(key)
        if latest is None:
            return self._revisions.get(key, 0)
        return 0 if latest.value is None else latest.revision
