"""A watch over one connection: everything that there is, then the log."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from kazoo.exceptions import (  # type: ignore[import-untyped]  # has no types
    ConnectionLoss,
    NoNodeError,
)

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import Change, Record, Snapshot
from modularity_registry.stores.reconnecting_watch import Gap
from modularity_registry.stores.zookeeper.change_log import WINDOW, LogReader
from modularity_registry.stores.zookeeper.connection import Connection, Line
from modularity_registry.stores.zookeeper.epoch import History
from modularity_registry.stores.zookeeper.errors import failure
from modularity_registry.stores.zookeeper.layout import BUCKETS, Place, key_of
from modularity_registry.stores.zookeeper.writer import Hint, Writer

TICK_SECONDS: Final = 1.0
ATTEMPTS: Final = 5


class _Path(NamedTuple):
    """A record's node in a bucket that had ``version`` when it was listed."""

    bucket: str
    name: str
    version: int
    epoch: str


class FeedSession:
    """Shares the store's connection, and is over when that is lost."""

    def __init__(self, line: Line, history: History, writer: Writer) -> None:
        self._line = line
        self._history = history
        self._layout = history.layout
        self._writer = writer
        self._woken = threading.Event()
        self._stopped = False
        self._waits_for: Any = None
        self._connection: Connection | None = None
        self._breaks = 0
        self._log: LogReader | None = None

    def snapshot(self) -> Snapshot:
        connection = self._line.take(lambda: self._stopped)
        self._breaks = connection.breaks
        self._connection = connection
        for _ in range(ATTEMPTS):
            try:
                return self._read_all(connection)
            except Gap:
                continue
        raise StoreUnavailable(
            f"ZooKeeper at {connection.server} changes faster than it can be read"
        )

    def changes(self) -> Iterator[Change | None]:
        log = self._log
        assert log is not None
        while True:
            self._woken.clear()
            yield from log.drain()
            if log.sleeps() and not self._woken.wait(TICK_SECONDS):
                # Asked again now and then, in case the server has nobody to tell.
                yield None
            self._require_going()

    def interrupt(self) -> None:
        self._stopped = True
        waits_for = self._waits_for
        if waits_for is not None:
            waits_for.set_exception(ConnectionLoss())
        self._woken.set()
        self._line.wake()

    def close(self) -> None:
        self._stopped = True

    def _ask(self, result: Any, *answers: type[Exception]) -> Any:
        # Set before the look: one of the two hears an interrupt.
        self._waits_for = result
        self._require_going()
        assert self._connection is not None
        return self._connection.finish(result, *answers)

    def _require_going(self) -> None:
        connection = self._connection
        assert connection is not None
        if self._stopped:
            raise StoreUnavailable("the watch was closed")
        if connection.breaks != self._breaks:
            raise failure(ConnectionLoss(), connection.server, False)

    def _wake(self, _: object) -> None:
        self._woken.set()

    def _read_all(self, connection: Connection) -> Snapshot:
        """Return all records as they were at one revision.

        They are read while others write, so the log is read along with them. What is
        read later is never older, so of what is read of a key the last counts.
        """
        client = connection.client
        place = self._history.enter(connection, self._ask)
        log = LogReader(client, self._ask, self._layout, place, self._wake)
        latest: dict[str, Change] = {}
        paths = self._paths(client, place)
        for first in range(0, len(paths) or 1, WINDOW):
            for change in self._read(client, paths[first : first + WINDOW]):
                latest[change.key] = change
            # In between, so that a long way through the records is not too long for it.
            for change in log.drain():
                latest[change.key] = change
        self._log = log
        return _snapshot(latest, log.reached)

    def _paths(self, client: Any, place: Place) -> list[_Path]:
        """Return where the records are, and the version of the bucket of each."""
        buckets = [self._layout.bucket(place, number) for number in range(BUCKETS)]
        results = [
            client.get_children_async(bucket, include_data=True) for bucket in buckets
        ]
        paths: list[_Path] = []
        for bucket, result in zip(buckets, results, strict=True):
            try:
                names, stat = self._ask(result, NoNodeError)
            except NoNodeError:
                raise Gap("the store was wiped") from None
            paths += [_Path(bucket, name, stat.version, place.epoch) for name in names]
        return paths

    def _read(self, client: Any, paths: Sequence[_Path]) -> Iterator[Change]:
        results = [client.get_async(f"{path.bucket}/{path.name}") for path in paths]
        for path, result in zip(paths, results, strict=True):
            key = key_of(path.name)
            if key is None:
                raise self._layout.corrupt(f"{path.bucket}/{path.name}")
            try:
                value, stat = self._ask(result, NoNodeError)
            except NoNodeError:
                continue  # deleted since, so the log will tell
            self._writer.learn(
                key, Hint(path.epoch, stat.mzxid, stat.version, path.version)
            )
            yield Change(key, value, stat.mzxid)


def _snapshot(latest: dict[str, Change], reached: int) -> Snapshot:
    records = [
        Record(change.key, change.value, change.revision)
        for change in latest.values()
        if change.value is not None
    ]
    records.sort(key=lambda record: record.revision)
    return Snapshot(tuple(records), reached)
