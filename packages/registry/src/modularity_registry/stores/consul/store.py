"""``consul://``: records in Consul's key/value store, shared by several processes.

Each batch of writes is one transaction that moves the store's tip, changes the
records and adds to a log. Watches wait for the tip and then read the log, for
Consul's own blocking queries tell of no deletion and skip what was overwritten.
"""

from typing import Final

from modularity_registry.stores.base import Send
from modularity_registry.stores.consul.api import ConsulApi
from modularity_registry.stores.consul.epoch import Tips
from modularity_registry.stores.consul.feed import ConsulSession
from modularity_registry.stores.consul.layout import Names
from modularity_registry.stores.consul.writer import ConsulWriter
from modularity_registry.stores.group_commit import GroupCommit
from modularity_registry.stores.reconnecting_watch import Follower, Followers
from modularity_registry.stores.server_url import Server
from modularity_registry.stores.write import Write


class ConsulStore:
    """A store in a Consul of version 1.8 or later; the password is an ACL token."""

    shared: Final = True

    def __init__(self, server: Server, timeout: float = 5.0) -> None:
        """Open it and make what it needs.

        ``timeout`` is in seconds and bounds every call to Consul, but for the read
        of a whole snapshot, which may take four times as long. Raises
        `StoreUnavailable` when Consul can't be reached or refuses the token, and
        `StoreCorrupt` when somebody else's entries are where the store's would be.
        """
        self._server = server
        self._timeout = timeout
        self._names = Names(server.prefix)
        self._tips = Tips(self._names)
        self._followers = Followers("consul")
        self._api = ConsulApi(server, timeout)
        self._writer = ConsulWriter(self._api, self._names, self._tips, timeout)
        self._commits: GroupCommit[Write] = GroupCommit(self._writer.commit)
        try:
            self._tips.current(self._api)
        except BaseException:
            self.close()
            raise

    @property
    def epoch(self) -> str:
        return self._tips.epoch

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        revision = self._write(Write(key, value, expected))
        assert revision is not None
        return revision

    def delete(self, key: str, expected: int | None = None) -> int | None:
        return self._write(Write(key, None, expected))

    def watch(self, send: Send) -> Follower:
        return self._followers.follow(self._session, send)

    def ping(self) -> None:
        self._followers.require_open()
        self._api.get(self._names.tip)

    def close(self) -> None:
        self._followers.close()
        self._writer.close()
        self._api.close()

    def _write(self, write: Write) -> int | None:
        self._followers.require_open()
        self._commits.run(write)
        return write.outcome()

    def _session(self) -> ConsulSession:
        self._followers.require_open()
        api = ConsulApi(self._server, self._timeout)
        return ConsulSession(api, self._names, self._tips)
