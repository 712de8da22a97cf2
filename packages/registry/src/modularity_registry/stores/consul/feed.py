"""Reads a snapshot, then waits for the tip to move and reads the log."""

from collections.abc import Iterator
from typing import Final

from modularity_registry.stores.base import Change, Record, Snapshot
from modularity_registry.stores.consul.api import ConsulApi
from modularity_registry.stores.consul.epoch import EpochTracker
from modularity_registry.stores.consul.layout import (
    LOG_KEPT,
    Layout,
    Pair,
    StoredTip,
    Tip,
    foreign,
    read_entries,
    read_tip,
)
from modularity_registry.stores.reconnecting_watch import Gap

# Consul adds up to a sixteenth: the watch notices its end within a second.
_WAIT: Final = "900ms"

_LOG_READ: Final = 32
"""Batches that are read at once."""


class FeedSession:
    """One connection of a watch; it owns ``api`` and closes it."""

    def __init__(self, api: ConsulApi, layout: Layout, tracker: EpochTracker) -> None:
        self._api = api
        self._layout = layout
        self._tracker = tracker
        self._stored_tip = StoredTip(Tip("", 0, 0), 0)

    def snapshot(self) -> Snapshot:
        # A small request first: the timeout of the large one is far longer.
        self._tracker.current(self._api)
        self._stored_tip, pairs = self._tracker.read(self._api, self._read_state)
        records = [
            self._record(pair, self._stored_tip.tip.revision)
            for name, pair in pairs.items()
            if name != self._layout.tip
        ]
        records.sort(key=lambda record: record.revision)
        return Snapshot(tuple(records), self._stored_tip.tip.revision)

    def changes(self) -> Iterator[Change | None]:
        while True:
            pair = self._api.get(self._layout.tip, self._stored_tip.index, _WAIT)
            if pair is None:
                raise Gap("the store was wiped")
            newest = read_tip(pair)
            if newest == self._stored_tip:
                yield None
                continue
            tip = self._stored_tip.tip
            behind = newest.tip.batch - tip.batch
            if newest.tip.epoch != tip.epoch or not 0 < behind <= LOG_KEPT:
                raise Gap("the store has a new epoch, was restored or is far ahead")
            yield from self._read_log(newest.tip.batch)

    def interrupt(self) -> None:
        self._api.close()

    def close(self) -> None:
        self._api.close()

    def _read_state(self) -> dict[str, Pair]:
        # One answer of Consul is consistent, so the tip matches the records.
        return {pair.key: pair for pair in self._api.tree(self._layout.state)}

    def _record(self, pair: Pair, newest: int) -> Record:
        key = self._layout.key(pair.key)
        if key is None or not 0 < pair.flags <= newest:
            raise foreign(pair.key)
        return Record(key, pair.value or b"", pair.flags)

    def _read_log(self, last: int) -> Iterator[Change]:
        while (first := self._stored_tip.tip.batch + 1) <= last:
            batches = range(first, min(first + _LOG_READ, last + 1))
            epoch = self._stored_tip.tip.epoch
            pairs = self._api.get_all([self._layout.log(epoch, n) for n in batches])
            if pairs is None:
                raise Gap("the log was trimmed or deleted")
            for batch, pair in zip(batches, pairs, strict=True):
                yield from self._changes_of(batch, pair)

    def _changes_of(self, batch: int, pair: Pair) -> Iterator[Change]:
        entries = read_entries(pair)
        revision = self._stored_tip.tip.revision
        numbers = range(revision + 1, revision + 1 + len(entries))
        # The chain breaks when Consul was restored from a backup.
        if pair.flags != self._stored_tip.index or list(numbers) != [
            entry.revision for entry in entries
        ]:
            raise Gap("the log does not continue where this watch is")
        for entry in entries:
            yield Change(entry.key, entry.value, entry.revision)
        tip = Tip(self._stored_tip.tip.epoch, batch, numbers.stop - 1)
        self._stored_tip = StoredTip(tip, pair.modify_index)
