"""The store protocol: small documents under keys, a revision, an ordered feed.

A store knows nothing about services. It keeps bytes under keys, numbers every write
with a revision that only grows, offers compare-and-set on it, and sends every change to
its watches, in order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """A stored document. ``revision`` is that of the write that stored it."""

    key: str
    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the store held at ``revision``, ordered by revision."""

    records: tuple[Record, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """One write: ``value`` is what the key holds now, None when it was deleted."""

    key: str
    value: bytes | None
    revision: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection to the store broke: what the watcher holds may be stale now.

    A `Snapshot` follows when the store is reachable again.
    """

    reason: str


Event = Snapshot | Change | Lost
Send = Callable[[Event], None]


class Watch(Protocol):
    """A running watch."""

    def close(self) -> None:
        """Stop it; nothing is sent after the return. Idempotent."""


class Store(Protocol):
    """Keeps what must outlive a process, or what several processes share.

    Every method raises `StoreUnavailable` when the store can't be reached (as far as it
    knows, nothing has changed then) and `StoreCorrupt` when its contents can't be
    trusted. Any thread may call any method.
    """

    @property
    def shared(self) -> bool:
        """Whether several processes can have it open at once."""

    @property
    def epoch(self) -> str:
        """Names this history of revisions; it changes when the store is wiped."""

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        """Store ``value`` under ``key`` and return the revision of this write.

        With ``expected`` only if the key has that revision (0: the key does not exist),
        else raises `StoreConflict`. When it returns, the write is as durable as the
        store makes it.
        """

    def delete(self, key: str, expected: int | None = None) -> int | None:
        """Remove ``key`` and return the revision of this write; None if there is none.

        ``expected`` works as in `put`.
        """

    def watch(self, send: Send) -> Watch:
        """Send a `Snapshot`, then every `Change` after it in order of revision.

        ``send`` is never called concurrently. The snapshot has been sent when `watch`
        returns. After a gap a new `Snapshot` replaces the missed changes. An embedded
        store sends in the writer's own thread, before `put` or `delete` return there;
        ``send`` must neither block, nor write to the store, nor close a watch or the
        store, and an exception out of it is a programming error that stops that watch.
        """

    def ping(self) -> None:
        """Return if the store answers, else raise `StoreUnavailable`."""

    def close(self) -> None:
        """End all watches and release all resources. Idempotent."""


def snapshot_of(store: Store) -> Snapshot:
    """Return what the store holds now; raises what the store raises."""
    events: list[Event] = []
    store.watch(events.append).close()
    first = events[0]
    assert isinstance(first, Snapshot)  # the contract of `watch`
    return first
