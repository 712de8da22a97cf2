"""Writes batches, each in a transaction that fails if another writer was faster."""

import random
import threading
import time
from collections.abc import Sequence
from typing import Final

from modularity_registry.errors import StoreError, StoreUnavailable
from modularity_registry.stores.base import Outcome, Write
from modularity_registry.stores.consul.api import ConsulApi
from modularity_registry.stores.consul.batch import (
    Plan,
    compared_keys,
    count_that_fit,
    make_plan,
    next_tip,
    transaction,
)
from modularity_registry.stores.consul.epoch import EpochTracker
from modularity_registry.stores.consul.layout import Layout, StoredTip

_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.02
"""Seconds before another attempt, when other processes write as well."""

_MOST_REMEMBERED: Final = 200_000
"""Keys whose revisions are kept, to save reads."""


class Writer:
    """Commits batches, one at a time."""

    def __init__(
        self, api: ConsulApi, layout: Layout, tracker: EpochTracker, timeout: float
    ) -> None:
        self._api = api
        self._layout = layout
        self._tracker = tracker
        self._timeout = timeout
        self._closing = threading.Event()
        # Used only by the thread that commits. The revisions are those at this tip; a
        # transaction succeeds only while it is the newest one.
        self._stored_tip: StoredTip | None = None
        self._revisions: dict[str, int] = {}

    def close(self) -> None:
        """Stop further attempts."""
        self._closing.set()

    def commit(self, batch: Sequence[Write]) -> list[Outcome]:
        """Return the outcomes in the batch's order.

        A batch that does not fit into one transaction is written in several, and what
        remains after one that failed is not tried.
        """
        outcomes: list[Outcome] = []
        while remaining := batch[len(outcomes) :]:
            count = count_that_fit(remaining)
            if not count:
                reason = "the record is too large for Consul; nothing was written"
                outcomes.append(StoreUnavailable(reason))
                continue
            try:
                outcomes += self._commit(remaining[:count])
            except StoreError as error:
                self._stored_tip = None
                if count == len(batch):
                    raise
                # An error for each write: one that is raised twice mixes up tracebacks.
                outcomes += [type(error)(error.detail) for _ in range(count)]
                outcomes += [
                    StoreUnavailable("a write before it failed; nothing was written")
                    for _ in remaining[count:]
                ]
        return outcomes

    def _commit(self, writes: Sequence[Write]) -> list[Outcome]:
        keys = compared_keys(writes)
        deadline = time.monotonic() + self._timeout
        pause, failed = _FIRST_PAUSE, None
        while True:
            stored, is_read = self._stored_tip, False
            if stored is None or not keys <= self._revisions.keys():
                stored, is_read = self._read_revisions(keys), True
            if stored == failed:
                # No other writer was faster: the tip's log was deleted.
                self._tracker.begin_epoch(self._api, stored)
                stored = self._read_revisions(keys)
            revision = stored.tip.revision
            plan = make_plan(self._layout, writes, self._revisions, revision)
            if plan.entries and self._write(stored, plan):
                return plan.outcomes
            if not plan.entries and is_read:
                return plan.outcomes  # nothing to write, and the revisions are current
            self._stored_tip = None
            every_key = {write.key for write in writes if write.expected is not None}
            if plan.entries and every_key <= self._revisions.keys():
                failed = stored
                self._pause(pause, deadline)
                pause = min(pause * 2, _LONGEST_PAUSE)
            keys |= every_key

    def _write(self, stored: StoredTip, plan: Plan) -> bool:
        """Carry out the plan; return False when another writer was faster."""
        begun = time.monotonic()
        index = self._api.write(transaction(self._layout, stored, plan))
        if index is None:
            return False
        self._stored_tip = StoredTip(next_tip(stored.tip, plan), index)
        self._tracker.remember(self._stored_tip, begun)
        if len(self._revisions) > _MOST_REMEMBERED:
            self._revisions.clear()
        self._revisions.update(plan.revisions())
        return True

    def _read_revisions(self, keys: set[str]) -> StoredTip:
        """Read the tip and the revisions of ``keys``, all at one moment."""
        by_name = {self._layout.record(key): key for key in keys}
        names = [self._layout.tip, *by_name]
        stored, pairs = self._tracker.read(self._api, lambda: self._api.find(names))
        if stored != self._stored_tip:
            self._revisions.clear()
        for name, key in by_name.items():
            self._revisions[key] = pairs[name].flags if name in pairs else 0
        self._stored_tip = stored
        return stored

    def _pause(self, seconds: float, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                "too many other writers write to Consul; nothing was written, try again"
            )
        # Jittered, so that two writers don't collide repeatedly.
        if self._closing.wait(seconds * random.random()):
            raise StoreUnavailable("the Consul store was closed; nothing was written")
