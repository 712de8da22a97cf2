"""A watch over one connection: all records, then the log."""

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
from modularity_registry.stores.zookeeper.connection import Connection, ConnectionPool
from modularity_registry.stores.zookeeper.epoch import EpochTracker
from modularity_registry.stores.zookeeper.errors import failure
from modularity_registry.stores.zookeeper.hints import Hint, Hints
from modularity_registry.stores.zookeeper.layout import BUCKETS, Era, key_of
from modularity_registry.stores.zookeeper.writer import Writer

CHECK_SECONDS: Final = 1.0
ATTEMPTS: Final = 5


class _Path(NamedTuple):
    """A record's node in a bucket that had ``version`` when it was listed."""

    bucket: str
    name: str
    version: int


class FeedSession:
    """Uses the store's connection, and ends when that is lost."""

    def __init__(
        self, pool: ConnectionPool, tracker: EpochTracker, writer: Writer
    ) -> None:
        self._pool = pool
        self._tracker = tracker
        self._layout = tracker.layout
        self._writer = writer
        self._woken = threading.Event()
        self._stopped = False
        self._pending: Any = None
        self._connection: Connection | None = None
        self._breaks = 0
        self._log: LogReader | None = None

    def snapshot(self) -> Snapshot:
        connection = self._pool.get(lambda: self._stopped)
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
            yield from log.read_new()
            if log.is_at_end() and not self._woken.wait(CHECK_SECONDS):
                # Checked now and then, in case the server lost the watch.
                yield None
            self._require_running()

    def interrupt(self) -> None:
        self._stopped = True
        pending = self._pending
        if pending is not None:
            pending.set_exception(ConnectionLoss())
        self._woken.set()
        self._pool.wake()

    def close(self) -> None:
        self._stopped = True

    def _finish(self, result: Any, *answers: type[Exception]) -> Any:
        # Set before the check: one of the two notices an interrupt.
        self._pending = result
        self._require_running()
        assert self._connection is not None
        return self._connection.finish(result, *answers)

    def _require_running(self) -> None:
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

        Others write meanwhile, so the log is read along with the records. A later read
        is never older, so the last read of a key counts.
        """
        client = connection.client
        era = self._tracker.read_or_begin(connection, self._finish)
        log = LogReader(client, self._finish, self._layout, era, self._wake)
        latest: dict[str, Change] = {}
        hints = self._writer.hints(era)
        paths = self._paths(client, era, hints)
        for first in range(0, len(paths) or 1, WINDOW):
            for change in self._read(client, paths[first : first + WINDOW], hints):
                latest[change.key] = change
            # In between, so that the log is not trimmed while many records are read.
            for change in log.read_new():
                latest[change.key] = change
        self._log = log
        return _snapshot(latest, log.reached)

    def _paths(self, client: Any, era: Era, hints: Hints) -> list[_Path]:
        """Return the paths of all records, each with the version of its bucket."""
        buckets = [self._layout.bucket(era, number) for number in range(BUCKETS)]
        results = [
            client.get_children_async(bucket, include_data=True) for bucket in buckets
        ]
        paths: list[_Path] = []
        for number, (bucket, result) in enumerate(zip(buckets, results, strict=True)):
            try:
                names, stat = self._finish(result, NoNodeError)
            except NoNodeError:
                raise Gap("the store was wiped") from None
            hints.add_bucket(number, stat.version)
            paths += [_Path(bucket, name, stat.version) for name in names]
        return paths

    def _read(
        self, client: Any, paths: Sequence[_Path], hints: Hints
    ) -> Iterator[Change]:
        results = [client.get_async(f"{path.bucket}/{path.name}") for path in paths]
        for path, result in zip(paths, results, strict=True):
            key = key_of(path.name)
            if key is None:
                raise self._layout.corrupt(f"{path.bucket}/{path.name}")
            try:
                value, stat = self._finish(result, NoNodeError)
            except NoNodeError:
                continue  # deleted since: it is in the log
            hints.add(key, Hint(stat.mzxid, stat.version, path.version))
            yield Change(key, value, stat.mzxid)


def _snapshot(latest: dict[str, Change], reached: int) -> Snapshot:
    records = [
        Record(change.key, change.value, change.revision)
        for change in latest.values()
        if change.value is not None
    ]
    records.sort(key=lambda record: record.revision)
    return Snapshot(tuple(records), reached)
