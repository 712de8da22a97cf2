"""``etcd://host:port,host:port``: records in an etcd cluster, for several registries.

A record is the key ``<prefix>/record/<key>``, the epoch is ``<prefix>/epoch``, and a
revision is etcd's own. Each write is one transaction that also compares the epoch, so
that a write meant for one epoch can't end up in another. Needs etcd 3.4 or
later; https://etcd.io/docs/v3.5/learning/api/.
"""

from typing import Any, Final

from modularity_registry.errors import StoreConflict, StoreUnavailable
from modularity_registry.stores.base import Send
from modularity_registry.stores.etcd.cluster import Cluster, ConnectionPool
from modularity_registry.stores.etcd.epoch import EpochTracker
from modularity_registry.stores.etcd.feed import FeedSession
from modularity_registry.stores.etcd.layout import Layout
from modularity_registry.stores.reconnecting_watch import ReconnectingWatch, WatchSet
from modularity_registry.stores.server_url import Server


class EtcdStore:
    """Keeps records in etcd; a write returns when most members have it on disk.

    All calls go to one member until it fails, then to the next one in the URL.
    """

    shared: Final = True

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

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        self._watches.require_open()
        epoch = self._tracker.epoch
        reply = self._pool.write(self._layout.put(epoch, key, value, expected))
        if not reply.succeeded:
            raise self._refusal(reply, key, epoch)
        return int(reply.header.revision)

    def delete(self, key: str, expected: int | None = None) -> int | None:
        self._watches.require_open()
        epoch = self._tracker.epoch
        reply = self._pool.write(self._layout.delete(epoch, key, expected))
        if not reply.succeeded:
            raise self._refusal(reply, key, epoch)
        # When nothing is deleted, the reply has the revision of another write.
        if not reply.responses[0].response_delete_range.deleted:
            return None
        return int(reply.header.revision)

    def watch(self, send: Send) -> ReconnectingWatch:
        return self._watches.start(
            lambda: FeedSession(self._cluster, self._tracker), send
        )

    def ping(self) -> None:
        self._watches.require_open()
        # Not answered before a majority of the members agrees on what is current.
        self._pool.read(self._layout.read_epoch())

    def close(self) -> None:
        self._watches.close()
        self._pool.close()

    def _refusal(
        self, reply: Any, key: str, epoch: str
    ) -> StoreConflict | StoreUnavailable:
        """Return why a transaction was not carried out."""
        stored, record = (part.response_range.kvs for part in reply.responses)
        if stored and stored[0].value == epoch.encode():
            return StoreConflict(key, record[0].mod_revision if record else 0)
        # A watch would notice, but there may be none.
        self._tracker.read_epoch(self._pool)
        return StoreUnavailable(
            f"etcd at {self._cluster.server} was wiped or restored meanwhile; nothing"
            " was written, read before writing again"
        )
