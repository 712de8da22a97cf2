"""One write among those that share a commit or a round trip."""

from modularity_registry.errors import StoreCorrupt, StoreError, StoreUnavailable
from modularity_registry.stores.group_commit import Pending


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

    def outcome(self) -> int | None:
        """Return the revision after `GroupCommit.run`, or raise what went wrong."""
        if self.error is not None:
            raise self.error
        if not self.done:
            raise StoreUnavailable("the write was interrupted, its outcome is unknown")
        return self.revision
