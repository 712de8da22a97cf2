"""The store protocol: small documents under keys, a revision, an ordered feed.

A store knows nothing of services. It keeps bytes under keys, numbers every write
with a revision that only grows, offers compare-and-set on it, and tells whoever
watches what has changed, in order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """A document as stored. ``revision`` is that of the write that put it there."""

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
    """The line to the store broke: what the watcher holds is stale from now on.

    A `Snapshot` follows when the store is back.
    """

    reason: str


Event = Snapshot | Change | Lost
Send = Callable[[Event], None]


class Watch(Protocol):
    """A running watch."""

    def close(self) -> None:
        """Stop it; after the return nothing is sent any more. Idempotent."""


class Store(Protocol):
    """Where the registry keeps what must outlive a process or be shared by several.

    Every method raises `StoreUnavailable` when the store can't be reached (nothing
    has changed then, as far as can be known) and `StoreCorrupt` when what it holds
    can't be trusted. All methods may be called from any thread.
    """

    @property
    def shared(self) -> bool:
        """Whether several processes may have it open at once."""

    @property
    def epoch(self) -> str:
        """Names this history of revisions; another one when the store starts anew."""

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        """Store ``value`` under ``key`` and return the revision of this write.

        With ``expected`` only if the key's revision is that one (0: the key does not
        exist), else `StoreConflict`. A return means that it is as durable as the
        store makes it.
        """

    def delete(self, key: str, expected: int | None = None) -> int | None:
        """Remove ``key`` and return the revision of this write; None if not there.

        With ``expected`` as in `put`; a key that is not there is revision 0.
        """

    def watch(self, send: Send) -> Watch:
        """Send a `Snapshot`, then every `Change` after it in order of revision.

        ``send`` is never called twice at once. The snapshot has been sent when
        `watch` returns. After any gap a new `Snapshot` is sent in place of what was
        missed. An embedded store sends in the writer's own thread, before `put` or
        `delete` return there; ``send`` must neither block, nor write to the store,
        nor close a watch or the store, and an exception out of it is a programming
        error that stops that watch.
        """

    def ping(self) -> None:
        """Return when the store answers, else raise `StoreUnavailable`."""

    def close(self) -> None:
        """End all watches and release what is held. Idempotent."""


def snapshot_of(store: Store) -> Snapshot:
    """Return what the store holds at this moment; raises what the store raises."""
    events: list[Event] = []
    store.watch(events.append).close()
    first = events[0]
    assert isinstance(first, Snapshot)  # the contract of `watch`
    return first
