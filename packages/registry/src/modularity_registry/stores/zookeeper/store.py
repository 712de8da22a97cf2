"""``zookeeper://host:port,host:port``: records in ZooKeeper, for several registries.

A write is one transaction on the record and on a log that watchers read; its zxid is
the revision. Needs ZooKeeper 3.5 or later;
https://zookeeper.apache.org/doc/r3.8.4/zookeeperProgrammers.html.
"""

from typing import Final

from modularity_registry.stores.base import Send
from modularity_registry.stores.reconnecting_watch import Follower, Followers
from modularity_registry.stores.server_url import Server
from modularity_registry.stores.zookeeper.connection import Line
from modularity_registry.stores.zookeeper.epoch import History
from modularity_registry.stores.zookeeper.feed import FeedSession
from modularity_registry.stores.zookeeper.layout import Layout
from modularity_registry.stores.zookeeper.writer import Writer


class ZookeeperStore:
    """Keeps records in ZooKeeper; a write returns when most servers have it on disk.

    With a user only that user may read or change what the store creates. ZooKeeper
    itself takes any password: a wrong one is one more user, who may do nothing.
    """

    shared: Final = True

    def __init__(self, server: Server, timeout: float = 5.0) -> None:
        """Connect; no call waits longer than ``timeout`` seconds for an answer.

        Raises `StoreUnavailable` when no server can be reached or they refuse the
        user, `StoreCorrupt` when the prefix is another program's.
        """
        self._followers = Followers("ZooKeeper")
        self._line = Line(server, timeout)
        self._history = History(self._line, Layout(server.prefix))
        self._writer = Writer(self._line, self._history)
        try:
            connection = self._line.take()
            place = self._history.enter(connection, connection.finish)
            self._writer.trimmer.sweep(connection.client, connection.finish, place)
        except BaseException:
            self._line.close()
            raise

    @property
    def epoch(self) -> str:
        return self._history.place.epoch

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        self._followers.require_open()
        revision = self._writer.write(key, value, expected)
        assert revision is not None
        return revision

    def delete(self, key: str, expected: int | None = None) -> int | None:
        self._followers.require_open()
        return self._writer.write(key, None, expected)

    def watch(self, send: Send) -> Follower:
        def session() -> FeedSession:
            return FeedSession(self._line, self._history, self._writer)

        return self._followers.follow(session, send)

    def ping(self) -> None:
        self._followers.require_open()
        connection = self._line.take()
        # Not answered before the server has heard from its leader.
        connection.finish(connection.client.sync_async(f"/{connection.server.prefix}"))

    def close(self) -> None:
        self._followers.close()
        self._line.close()
