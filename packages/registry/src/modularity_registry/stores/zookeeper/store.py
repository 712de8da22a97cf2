"""``zookeeper://host:port,host:port``: records in ZooKeeper, for several registries.

A batch is one transaction on the records and on a log that watches read; its zxid is
the revision of all its writes. Needs ZooKeeper 3.5 or later;
https://zookeeper.apache.org/doc/r3.8.4/zookeeperProgrammers.html.
"""

from collections.abc import Sequence
from typing import Final

from modularity_registry.stores.base import Outcome, Send, Write, require_valid
from modularity_registry.stores.reconnecting_watch import ReconnectingWatch, WatchSet
from modularity_registry.stores.server_url import Server
from modularity_registry.stores.zookeeper.connection import ConnectionPool
from modularity_registry.stores.zookeeper.epoch import EpochTracker
from modularity_registry.stores.zookeeper.feed import FeedSession
from modularity_registry.stores.zookeeper.layout import Layout
from modularity_registry.stores.zookeeper.writer import Writer


class ZookeeperStore:
    """Keeps records in ZooKeeper; a write returns when most servers have it on disk.

    With a user, only that user can read or change what the store creates. ZooKeeper
    accepts any password: a wrong one is another user, without access.
    """

    shared: Final = True
    embedded: Final = False

    def __init__(self, server: Server, timeout: float = 5.0) -> None:
        """Connect; no call waits longer than ``timeout`` seconds for an answer.

        Raises `StoreUnavailable` when no server can be reached or they refuse the
        user, `StoreCorrupt` when the prefix is another program's.
        """
        self._watches = WatchSet("ZooKeeper")
        self._pool = ConnectionPool(server, timeout)
        self._tracker = EpochTracker(self._pool, Layout(server.prefix))
        self._writer = Writer(self._pool, self._tracker)
        try:
            connection = self._pool.get()
            era = self._tracker.read_or_begin(connection, connection.finish)
            self._writer.delete_leftovers(connection, era)
        except BaseException:
            self._pool.close()
            raise

    @property
    def epoch(self) -> str:
        return self._tracker.era.epoch

    def commit(self, batch: Sequence[Write]) -> list[Outcome]:
        require_valid(batch)
        self._watches.require_open()
        return self._writer.commit(batch)

    def watch(self, send: Send) -> ReconnectingWatch:
        def session() -> FeedSession:
            return FeedSession(self._pool, self._tracker, self._writer)

        return self._watches.start(session, send)

    def begin_epoch(self) -> str:
        self._watches.require_open()
        return self._tracker.begin_epoch(self._pool.get()).epoch

    def ping(self) -> None:
        self._watches.require_open()
        connection = self._pool.get()
        # Not answered before the server has reached its leader.
        connection.finish(connection.client.sync_async(f"/{connection.server.prefix}"))

    def close(self) -> None:
        self._watches.close()
        self._pool.close()
