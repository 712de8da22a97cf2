"""Group commit: writes that come while a batch is under way share the next one.

So 32 writers share a round trip and an fsync, whatever the engine. All of it runs on
the event loop, but for the store's `commit`, which has a thread of its own here.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue
from typing import NamedTuple, Protocol, TypeVar

from modularity_registry.errors import OutcomeUnknown, StoreError, StoreUnavailable
from modularity_registry.stores.base import (
    LARGEST_BATCH,
    LARGEST_BATCH_BYTES,
    Outcome,
    Store,
    Write,
)

log = logging.getLogger(__name__)


class Writer(Protocol):
    """Writes one key at a time, for the coroutines of one event loop."""

    async def write(self, write: Write) -> int | None:
        """Return the revision of ``write``; see `GroupCommit.write`."""

    def stop(self) -> None:
        """Refuse all writes from now on. Idempotent."""


class Waiting(Protocol):
    """A write that waits for its batch; ``gone`` says that nobody waits for it."""

    @property
    def write(self) -> Write: ...

    @property
    def gone(self) -> bool: ...


WaitingT = TypeVar("WaitingT", bound=Waiting)


def take_batch(waiting: deque[WaitingT]) -> list[WaitingT]:
    """Remove and return the first writes that fit into a batch, one a key.

    The rest keeps its order, without those that are gone.
    """
    batch: list[WaitingT] = []
    later: list[WaitingT] = []
    keys: set[str] = set()
    size = 0
    while waiting and len(batch) < LARGEST_BATCH:
        pending = waiting.popleft()
        if pending.gone:
            continue
        key, value, _ = pending.write
        if key in keys:
            later.append(pending)
            continue
        size += len(value or b"")
        if batch and size > LARGEST_BATCH_BYTES:
            later.append(pending)
            break
        keys.add(key)
        batch.append(pending)
    waiting.extendleft(reversed(later))
    return batch


class _Pending(NamedTuple):
    write: Write
    outcome: asyncio.Future[Outcome]

    @property
    def gone(self) -> bool:
        return self.outcome.done()


class GroupCommit:
    """Commits the writes of one event loop in batches, one batch at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._embedded = store.embedded
        self._waiting: deque[_Pending] = deque()
        self._batches: SimpleQueue[list[_Pending] | None] = SimpleQueue()
        self._committing = False
        self._stopped = False
        self._thread: threading.Thread | None = None

    async def write(self, write: Write) -> int | None:
        """Return the revision of ``write``; None if it deletes what is not there.

        Over an embedded store it never suspends. Raises what became of it otherwise:
        `StoreConflict`, `StoreUnavailable`, `OutcomeUnknown`, `StoreCorrupt`.
        """
        if self._embedded:
            [outcome] = self._store.commit((write,))
        else:
            outcome = await self._queued(write)
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    def stop(self) -> None:
        """Refuse all writes that are not under way. Idempotent.

        Those under way end when the store is closed.
        """
        if self._stopped:
            return
        self._stopped = True
        for pending in self._waiting:
            if not pending.outcome.done():
                pending.outcome.set_result(_stopping())
        self._waiting.clear()
        self._batches.put(None)

    def _queued(self, write: Write) -> asyncio.Future[Outcome]:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        if self._stopped:
            outcome.set_result(_stopping())
            return outcome
        self._waiting.append(_Pending(write, outcome))
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=(loop,), name="store-writer", daemon=True
            )
            self._thread.start()
        if not self._committing:
            # In the next turn: what comes in this one shares the batch. Else each first
            # writer had one alone, and 32 callers two round trips for one.
            self._committing = True
            loop.call_soon(self._commit_next)
        return outcome

    def _commit_next(self) -> None:
        batch = take_batch(self._waiting)
        self._committing = bool(batch)
        if batch:
            self._batches.put(batch)

    def _resolve(self, batch: list[_Pending], outcomes: Sequence[Outcome]) -> None:
        for pending, outcome in zip(batch, outcomes, strict=True):
            if not pending.outcome.done():
                pending.outcome.set_result(outcome)
        self._commit_next()

    # In the writer's thread

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (batch := self._batches.get()) is not None:
            outcomes = self._commit([pending.write for pending in batch])
            try:
                loop.call_soon_threadsafe(self._resolve, batch, outcomes)
            except RuntimeError:
                return  # the loop has ended, so nobody waits any more

    def _commit(self, batch: list[Write]) -> Sequence[Outcome]:
        try:
            return self._store.commit(batch)
        except StoreError as error:
            # An error for each: raising one in several tasks mixes up tracebacks.
            return [type(error)(error.detail) for _ in batch]
        except Exception as error:
            log.exception("the store failed to write")
            reason = f"the store failed ({type(error).__name__}; see the log)"
            return [OutcomeUnknown.because(reason) for _ in batch]


def _stopping() -> StoreUnavailable:
    return StoreUnavailable("the registry is stopping; nothing was written")
