"""``etcd://host:port,host:port``: records in an etcd cluster, for several registries.

A record is the key ``<prefix>/record/<key>``, the epoch is ``<prefix>/epoch``, and a
revision is etcd's own. A batch is one transaction, so its writes share a revision. It
holds a transaction for each write, and compares the epoch, so that a write meant for
one epoch can't end up in another. Needs etcd 3.4 or later;
https://etcd.io/docs/v3.5/learning/api/.
"""

from collections.abc import Sequence
from typing import Final

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import Outcome, Send, Write, require_valid
from modularity_registry.stores.etcd.cluster import Cluster, ConnectionPool
from modularity_registry.stores.etcd.epoch import EpochTracker
from modularity_registry.stores.etcd.feed import FeedSession
from modularity_registry.stores.etcd.layout import Layout, outcome
from modularity_registry.stores.reconnecting_watch import ReconnectingWatch, WatchSet
from modularity_registry.stores.server_url import Server


class EtcdStore:
    """Keeps records in etcd; a write returns when most members have it on disk.

    All calls go to one member until it fails, then to the next one in the URL.
    """

    shared: Final = True
    embedded: Final = False

    def __init__(self, server: Server, timeout: float = 5.0) -> None:
        """Connect; no call to a member takes longer than ``timeout`` seconds.

        Raises `StoreUnavailable` when no member can be reached or they refuse the
        user, `StoreCorrupt` when the prefix is another program's.
        """
        cluster = Cluster(server, timeout)
        self._cluster = cluster
        self._layout = Layout(server.prefix)
        self._tracker = EpochTracker(self._layout)
        self._watches = WatchSet("etcd")
        self._pool = ConnectionPool(cluster)
        try:
            self._tracker.read_epoch(self._pool)
        except BaseException:
            self._pool.close()
            raise

    @property
    def epoch(self) -> str:
        return self._tracker.epoch

    def commit(self, batch: Sequence[Write]) -> list[Outcome]:
        require_valid(batch)
        self._watches.require_open()
        reply = self._pool.write(self._layout.commit(self._tracker.epoch, batch))
        if not reply.succeeded:
            # A watch would notice, but there may be none.
            self._tracker.read_epoch(self._pool)
            raise StoreUnavailable(
                f"etcd at {self._cluster.server} was wiped or restored meanwhile;"
                " nothing was written, read before writing again"
            )
        revision = reply.header.revision
        return [
            outcome(write, response.response_txn, revision)
            for write, response in zip(batch, reply.responses, strict=True)
        ]

    def watch(self, send: Send) -> ReconnectingWatch:
        return self._watches.start(
            lambda: FeedSession(self._cluster, self._tracker), send
        )

    def begin_epoch(self) -> str:
        self._watches.require_open()
        return self._tracker.begin_epoch(self._pool)

    def ping(self) -> None:
        self._watches.require_open()
        # Not answered before a majority of the members agrees on what is current.
        self._pool.read(self._layout.read_epoch())

    def close(self) -> None:
        self._watches.close()
        self._pool.close()
