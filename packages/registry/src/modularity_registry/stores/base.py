"""The store protocol: small documents under keys, a revision, an ordered feed.

A store knows nothing about services. It keeps bytes under keys, numbers every write
with a revision that only grows, offers compare-and-set on it, and sends every change to
its watches, in order.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import msgspec

from modularity_registry.errors import StoreError

LARGEST_BATCH: Final = 64
"""Writes in a batch, at most: etcd refuses much larger transactions."""

LARGEST_BATCH_BYTES: Final = 256 * 1024
"""Bytes of values in a batch of several writes, at most: servers bound a request."""


# Structs: a frozen dataclass takes three times as long to make, and a store may hold
# records without number, which the garbage collector need not look at.
class Record(msgspec.Struct, frozen=True, gc=False):
    """A stored document. ``revision`` is that of the write that stored it."""

    key: str
    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the store held at ``revision``, ordered by revision."""

    records: tuple[Record, ...]
    revision: int


class Change(msgspec.Struct, frozen=True, gc=False):
    """One write: ``value`` is what the key holds now, None when it was deleted.

    Writes of one batch may share a revision. Their changes follow each other, and only
    the ``last`` completes the revision.
    """

    key: str
    value: bytes | None
    revision: int
    last: bool = True


class Advanced(msgspec.Struct, frozen=True, gc=False):
    """The store completed ``revision``, which changed nothing more of what is watched.

    Sent by a part of a store; a whole one sends each change.
    """

    revision: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection to the store broke: what the watcher holds may be stale now.

    A `Snapshot` follows when the store is reachable again.
    """

    reason: str


class Write(NamedTuple):
    """A conditional write of one key; it deletes the key when ``value`` is None.

    It is carried out if the key is at the revision ``expected``: 0 if there is no such
    key, None for any revision or none.
    """

    key: str
    value: bytes | None
    expected: int | None = None


Outcome = int | None | StoreError
"""What became of a write: its revision, None for a deletion of what was not there, or
why it was not carried out, as far as anyone knows: `StoreConflict`, `StoreUnavailable`,
`OutcomeUnknown`."""

Event = Snapshot | Change | Advanced | Lost
Send = Callable[[Event], None]


class Watch(Protocol):
    """A running watch."""

    def close(self) -> None:
        """Stop it; nothing is sent after the return. Idempotent."""


class Store(Protocol):
    """Keeps what must outlive a process, or what several processes share.

    Every method raises `StoreUnavailable` when the store can't be reached, and
    `StoreCorrupt` when its contents can't be trusted. Any thread may call any method,
    but only one at a time calls `commit`.
    """

    @property
    def shared(self) -> bool:
        """Whether several processes can have it open at once."""

    @property
    def embedded(self) -> bool:
        """Whether `commit` waits for nothing outside of this process, not even a disk.

        Then it has sent its changes to the watches when it returns.
        """

    @property
    def epoch(self) -> str:
        """Names this history of revisions; it changes when the store is wiped."""

    def begin_epoch(self) -> str:
        """Begin a new epoch with the same records, and return it.

        Every watch gets a `Snapshot` of it, also those of other processes. For an
        operator who has restored a backup: the store may not have noticed.
        """

    def commit(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        """Carry out each write of ``batch`` by itself; return their outcomes in order.

        When it returns, what was written is as durable as the store makes it. Raises
        `StoreUnavailable` when nothing was written, `OutcomeUnknown` when nobody knows
        what was, and `ValueError`, with nothing written, for a batch that is too large
        (`LARGEST_BATCH`, `LARGEST_BATCH_BYTES`) or writes a key twice.
        """

    def watch(self, send: Send) -> Watch:
        """Send a `Snapshot`, then every `Change` after it in order of revision.

        ``send`` is never called concurrently. The snapshot has been sent when `watch`
        returns. After a gap a new `Snapshot` replaces the missed changes. A store may
        send from within `commit`: ``send`` must neither block, nor write to the store,
        nor close a watch or the store, and an exception out of it is a programming
        error that stops that watch.
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


def put(store: Store, key: str, value: bytes, expected: int | None = None) -> int:
    """Store ``value`` under ``key`` and return the revision; raises its `StoreError`.

    For programs with one thread: see `Store.commit`.
    """
    revision = _outcome(store, Write(key, value, expected))
    assert revision is not None  # only a deletion has none
    return revision


def delete(store: Store, key: str, expected: int | None = None) -> int | None:
    """Delete ``key`` and return the revision, None if it was not there; see `put`."""
    return _outcome(store, Write(key, None, expected))


def batches(writes: Iterable[Write]) -> Iterator[list[Write]]:
    """Yield ``writes``, each of another key, in batches for `Store.commit`."""
    batch: list[Write] = []
    size = 0
    for write in writes:
        size += len(write.value or b"")
        if batch and (len(batch) == LARGEST_BATCH or size > LARGEST_BATCH_BYTES):
            yield batch
            batch, size = [], len(write.value or b"")
        batch.append(write)
    if batch:
        yield batch


def require_valid(batch: Sequence[Write]) -> None:
    """Raise `ValueError` for a batch that is too large or writes a key twice."""
    if len(batch) == 1:
        return
    if len(batch) > LARGEST_BATCH:
        raise ValueError(f"a batch has at most {LARGEST_BATCH} writes")
    if len({write.key for write in batch}) < len(batch):
        raise ValueError("a batch has one write of a key at most")
    size = sum(len(write.value or b"") for write in batch)
    if size > LARGEST_BATCH_BYTES:
        raise ValueError(f"a batch has at most {LARGEST_BATCH_BYTES} bytes of values")


def _outcome(store: Store, write: Write) -> int | None:
    [outcome] = store.commit([write])
    if isinstance(outcome, StoreError):
        raise outcome
    return outcome
