"""Reads a snapshot, then the log behind a tip that moves."""

from collections.abc import Iterator
from typing import Final

from modularity_registry.stores.base import Change, Record, Snapshot
from modularity_registry.stores.consul.api import ConsulApi
from modularity_registry.stores.consul.epoch import Tips
from modularity_registry.stores.consul.layout import (
    LOG_KEPT,
    Names,
    Pair,
    Sighting,
    Tip,
    foreign,
    read_entries,
    read_tip,
)
from modularity_registry.stores.reconnecting_watch import Gap

# Consul adds up to a sixteenth: an end of the watch is heard within a second.
_WAIT: Final = "900ms"

_LOG_READ: Final = 32
"""Batches read at once."""


class ConsulSession:
    """One connection of a watch; ``api`` is its own and ends with it."""

    def __init__(self, api: ConsulApi, names: Names, tips: Tips) -> None:
        self._api = api
        self._names = names
        self._tips = tips
        self._at = Sighting(Tip("", 0, 0), 0)

    def snapshot(self) -> Snapshot:
        # A small question first: one who is silent would be waited for far longer
        # with the large one.
        self._tips.current(self._api)
        self._at, found = self._tips.read(self._api, self._state)
        records = [
            self._record(pair, self._at.tip.revision)
            for name, pair in found.items()
            if name != self._names.tip
        ]
        records.sort(key=lambda record: record.revision)
        return Snapshot(tuple(records), self._at.tip.revision)

    def changes(self) -> Iterator[Change | None]:
        while True:
            pair = self._api.get(self._names.tip, self._at.index, _WAIT)
            if pair is None:
                raise Gap("the store was wiped")
            newest = read_tip(pair)
            if newest == self._at:
                yield None
                continue
            behind = newest.tip.batch - self._at.tip.batch
            if newest.tip.epoch != self._at.tip.epoch or not 0 < behind <= LOG_KEPT:
                raise Gap("the store began anew, went back or is far ahead")
            yield from self._until(newest.tip.batch)

    def interrupt(self) -> None:
        self._api.close()

    def close(self) -> None:
        self._api.close()

    def _state(self) -> dict[str, Pair]:
        # One answer of Consul is of one moment, so the tip fits the records.
        return {pair.key: pair for pair in self._api.tree(self._names.state)}

    def _record(self, pair: Pair, newest: int) -> Record:
        key = self._names.key(pair.key)
        if key is None or not 0 < pair.flags <= newest:
            raise foreign(pair.key)
        return Record(key, pair.value or b"", pair.flags)

    def _until(self, last: int) -> Iterator[Change]:
        while (first := self._at.tip.batch + 1) <= last:
            batches = range(first, min(first + _LOG_READ, last + 1))
            epoch = self._at.tip.epoch
            read = self._api.get_all([self._names.log(epoch, n) for n in batches])
            if read is None:
                raise Gap("the log is no longer there")
            for batch, pair in zip(batches, read, strict=True):
                yield from self._replayed(batch, pair)

    def _replayed(self, batch: int, pair: Pair) -> Iterator[Change]:
        entries = read_entries(pair)
        revision = self._at.tip.revision
        numbers = range(revision + 1, revision + 1 + len(entries))
        # The chain breaks when Consul was put back to an earlier state meanwhile.
        if pair.flags != self._at.index or list(numbers) != [
            entry.revision for entry in entries
        ]:
            raise Gap("the log does not go on from where it was read")
        for entry in entries:
            yield Change(entry.key, entry.value, entry.revision)
        tip = Tip(self._at.tip.epoch, batch, numbers.stop - 1)
        self._at = Sighting(tip, pair.modify_index)
