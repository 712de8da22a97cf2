"""Reads the change log: each batch is a node, and the next node's number is known.

A watch of ZooKeeper fires once and says only that something changed. So it just wakes
the reader, which then reads the log.
"""

from collections.abc import Iterator
from typing import Any, Final

from kazoo.exceptions import NoNodeError  # type: ignore[import-untyped]  # no types

from modularity_registry.stores.base import Change
from modularity_registry.stores.reconnecting_watch import Gap
from modularity_registry.stores.zookeeper.epoch import Finish
from modularity_registry.stores.zookeeper.layout import Era, Layout, decode

WINDOW: Final = 256
"""Nodes that are requested before the first one has come."""


class LogReader:
    """Reads the log on from its position.

    All reads use one session, so a later read never returns older data.
    """

    def __init__(
        self, client: Any, finish: Finish, layout: Layout, era: Era, wake: Any
    ) -> None:
        """Begin at the current end; ``wake`` is called when there may be more."""
        self.reached = 0
        """All changes up to this revision have been read."""
        self._client = client
        self._finish = finish
        self._layout = layout
        self._era = era
        self._wake = wake
        self._next = self._end(finish(client.exists_async(layout.log(era))))

    def read_new(self) -> Iterator[Change]:
        """Yield all new changes; raises `Gap` where some are gone."""
        while True:
            # In this order: once the era is over, its end is final.
            results = [
                self._client.get_async(self._layout.epoch, watch=self._wake),
                self._client.exists_async(self._layout.log(self._era)),
            ]
            try:
                content, stat = self._finish(results[0], NoNodeError)
            except NoNodeError:
                raise Gap("the store was wiped") from None
            current = self._layout.era(content, stat.version)
            if current.epoch != self._era.epoch:
                raise Gap("the store has a new epoch")
            log = self._finish(results[1])
            yield from self._read(self._end(log))
            self.reached = max(self.reached, log.pzxid)
            if current.number == self._era.number:
                return
            self._era = current._replace(number=self._era.number + 1)
            self._next = 0

    def is_at_end(self) -> bool:
        """Return whether there is no more; ``wake`` is then called when there is."""
        path = self._layout.entry(self._era, self._next)
        return self._finish(self._client.exists_async(path, watch=self._wake)) is None

    def _end(self, log: Any) -> int:
        """Return the number that the next node of a log will have."""
        if log is None:
            raise Gap("the log was deleted")
        # ``cversion`` counts created and deleted nodes together.
        return int(log.cversion + log.numChildren) // 2

    def _read(self, end: int) -> Iterator[Change]:
        while self._next < end:
            numbers = range(self._next, min(end, self._next + WINDOW))
            paths = [self._layout.entry(self._era, number) for number in numbers]
            results = [self._client.get_async(path) for path in paths]
            for path, result in zip(paths, results, strict=True):
                yield from self._changes(path, result)
                self._next += 1

    def _changes(self, path: str, result: Any) -> Iterator[Change]:
        try:
            content, stat = self._finish(result, NoNodeError)
        except NoNodeError:
            raise Gap(f"{path} was deleted") from None
        batch = decode(content)
        if batch is None:
            raise self._layout.corrupt(path)
        revision = stat.czxid
        *others, (last_key, last_value) = batch
        for key, value in others:
            yield Change(key, value, revision, last=False)
        yield Change(last_key, last_value, revision)
