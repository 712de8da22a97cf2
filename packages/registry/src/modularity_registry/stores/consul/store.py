"""``consul://``: records in Consul's key/value store, shared by several processes.

Each batch of writes is one transaction that moves the store's tip, changes the records
and adds to a log. Watches wait for the tip and then read the log, since Consul's own
blocking queries miss deletions and overwritten values.
"""

from collections.abc import Sequence
from typing import Final

from modularity_registry.stores.base import Outcome, Send, Write, require_valid
from modularity_registry.stores.consul.api import ConsulApi
from modularity_registry.stores.consul.epoch import EpochTracker
from modularity_registry.stores.consul.feed import FeedSession
from modularity_registry.stores.consul.layout import Layout
from modularity_registry.stores.consul.writer import Writer
from modularity_registry.stores.reconnecting_watch import ReconnectingWatch, WatchSet
from modularity_registry.stores.server_url import Server


class ConsulStore:
    """A store in a Consul of version 1.8 or later; the password is an ACL token."""

    shared: Final = True
    embedded: Final = False

    def __init__(self, server: Server, timeout: float = 5.0) -> None:
        """Open the store, and create it if there is none.

        ``timeout`` is in seconds and bounds every call to Consul, but for the read
        of a whole snapshot, which may take four times as long. Raises
        `StoreUnavailable` when Consul can't be reached or refuses the token, and
        `StoreCorrupt` when another program uses its keys.
        """
        self._server = server
        self._timeout = timeout
        self._layout = Layout(server.prefix)
        self._tracker = EpochTracker(self._layout)
        self._watches = WatchSet("Consul")
        self._api = ConsulApi(server, timeout)
        self._writer = Writer(self._api, self._layout, self._tracker, timeout)
        try:
            self._tracker.current(self._api)
        except BaseException:
            self.close()
            raise

    @property
    def epoch(self) -> str:
        return self._tracker.epoch

    def commit(self, batch: Sequence[Write]) -> list[Outcome]:
        require_valid(batch)
        self._watches.require_open()
        return self._writer.commit(batch)

    def watch(self, send: Send) -> ReconnectingWatch:
        return self._watches.start(self._session, send)

    def begin_epoch(self) -> str:
        self._watches.require_open()
        return self._tracker.begin_new(self._api)

    def ping(self) -> None:
        self._watches.require_open()
        self._api.get(self._layout.tip)

    def close(self) -> None:
        self._watches.close()
        self._writer.close()
        self._api.close()

    def _session(self) -> FeedSession:
        self._watches.require_open()
        api = ConsulApi(self._server, self._timeout)
        return FeedSession(api, self._layout, self._tracker)
