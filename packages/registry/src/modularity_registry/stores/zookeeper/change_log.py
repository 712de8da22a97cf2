"""Reads the log of changes: each is a node, and the number of the next one is known.

A watch of ZooKeeper fires once and tells only that there was something, so it does no
more than wake the reader, who then reads what the log has by now.
"""

from collections.abc import Iterator
from typing import Any, Final

from kazoo.exceptions import NoNodeError  # type: ignore[import-untyped]  # no types

from modularity_registry.stores.base import Change
from modularity_registry.stores.reconnecting_watch import Gap
from modularity_registry.stores.zookeeper.epoch import Ask
from modularity_registry.stores.zookeeper.layout import Layout, Place, decode

WINDOW: Final = 256
"""How many nodes are asked for before the first one has come."""


class LogReader:
    """A position in the log, from which it goes on with what comes after.

    Everything is read over one session, so what is read later is never older.
    """

    def __init__(
        self, client: Any, ask: Ask, layout: Layout, place: Place, wake: Any
    ) -> None:
        """Begin behind what there is now; ``wake`` is called when there may be more."""
        self.reached = 0
        """All changes up to this revision have been read."""
        self._client = client
        self._ask = ask
        self._layout = layout
        self._place = place
        self._wake = wake
        self._next = self._end(ask(client.exists_async(layout.log(place))))

    def drain(self) -> Iterator[Change]:
        """Yield all changes that there are; raises `Gap` where some are gone."""
        while True:
            # In this order: when the era is over, its end is final.
            looks = [
                self._client.get_async(self._layout.guard, watch=self._wake),
                self._client.exists_async(self._layout.log(self._place)),
            ]
            try:
                content, stat = self._ask(looks[0], NoNodeError)
            except NoNodeError:
                raise Gap("the store was wiped") from None
            now = self._layout.place(content, stat.version)
            if now.epoch != self._place.epoch:
                raise Gap("the store was begun anew")
            log = self._ask(looks[1])
            yield from self._read(self._end(log))
            self.reached = max(self.reached, log.pzxid)
            if now.era == self._place.era:
                return
            self._place = now._replace(era=self._place.era + 1)
            self._next = 0

    def sleeps(self) -> bool:
        """Return whether nothing more is there, so that ``wake`` will be called."""
        path = self._layout.entry(self._place, self._next)
        return self._ask(self._client.exists_async(path, watch=self._wake)) is None

    def _end(self, log: Any) -> int:
        """Return the number that the next node of a log will have."""
        if log is None:
            raise Gap("the log was deleted")
        # ZooKeeper counts what was created and what was deleted in one number.
        return int(log.cversion + log.numChildren) // 2

    def _read(self, end: int) -> Iterator[Change]:
        while self._next < end:
            numbers = range(self._next, min(end, self._next + WINDOW))
            paths = [self._layout.entry(self._place, number) for number in numbers]
            results = [self._client.get_async(path) for path in paths]
            for path, result in zip(paths, results, strict=True):
                yield self._change(path, result)
                self._next += 1

    def _change(self, path: str, result: Any) -> Change:
        try:
            content, stat = self._ask(result, NoNodeError)
        except NoNodeError:
            raise Gap(f"{path} is gone") from None
        change = decode(content, stat)
        if change is None:
            raise self._layout.corrupt(path)
        return change
