"""``etcd://host:port,host:port``: records in an etcd cluster, for several registries.

A record is the key ``<prefix>/record/<key>``, the epoch is ``<prefix>/epoch``, and a
revision is etcd's own. Each write is one transaction that also compares the epoch, so
that none that was meant for one history can end up in another one. Needs etcd 3.4 or
later; https://etcd.io/docs/v3.5/learning/api/.
"""

from typing import Any, Final

from modularity_registry.errors import StoreConflict, StoreUnavailable
from modularity_registry.stores.base import Send
from modularity_registry.stores.etcd.cluster import Cluster, Lines
from modularity_registry.stores.etcd.epoch import History
from modularity_registry.stores.etcd.feed import FeedSession
from modularity_registry.stores.etcd.layout import Keys
from modularity_registry.stores.reconnecting_watch import Follower, Followers
from modularity_registry.stores.server_url import Server


class EtcdStore:
    """Keeps records in etcd; a write returns when most members have it on disk.

    One member is asked for everything until it fails, then the next one of the URL.
    """

    shared: Final = True

    def __init__(self, server: Server, timeout: float = 5.0) -> None:
        """Connect; no call to a member takes longer than ``timeout`` seconds.

        Raises `StoreUnavailable` when no member can be reached or they refuse the
        user, `StoreCorrupt` when the prefix is another program's.
        """
        cluster = Cluster(server, timeout)
        self._cluster = cluster
        self._keys = Keys(server.prefix)
        self._history = History(self._keys)
        self._followers = Followers("etcd")
        self._lines = Lines(cluster)
        try:
            self._history.look(self._lines)
        except BaseException:
            self._lines.close()
            raise

    @property
    def epoch(self) -> str:
        return self._history.epoch

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        self._followers.require_open()
        epoch = self._history.epoch
        reply = self._lines.write(self._keys.put(epoch, key, value, expected))
        if not reply.succeeded:
            raise self._refusal(reply, key, epoch)
        return int(reply.header.revision)

    def delete(self, key: str, expected: int | None = None) -> int | None:
        self._followers.require_open()
        epoch = self._history.epoch
        reply = self._lines.write(self._keys.delete(epoch, key, expected))
        if not reply.succeeded:
            raise self._refusal(reply, key, epoch)
        # A delete that finds nothing is answered with the revision of another write.
        if not reply.responses[0].response_delete_range.deleted:
            return None
        return int(reply.header.revision)

    def watch(self, send: Send) -> Follower:
        return self._followers.follow(
            lambda: FeedSession(self._cluster, self._history), send
        )

    def ping(self) -> None:
        self._followers.require_open()
        # Not answered before a majority of the members agrees on what is current.
        self._lines.read(self._keys.now())

    def close(self) -> None:
        self._followers.close()
        self._lines.close()

    def _refusal(
        self, reply: Any, key: str, epoch: str
    ) -> StoreConflict | StoreUnavailable:
        """Return why a transaction was not carried out."""
        there, record = (each.response_range.kvs for each in reply.responses)
        if there and there[0].value == epoch.encode():
            return StoreConflict(key, record[0].mod_revision if record else 0)
        # The watch finds out by itself, but there may be none.
        self._history.look(self._lines)
        return StoreUnavailable(
            f"etcd at {self._cluster.server} was wiped or restored meanwhile; nothing"
            " was written, read before writing again"
        )
