"""Tracks the epoch and the era of its log, and begins new ones."""

import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from kazoo.exceptions import (  # type: ignore[import-untyped]  # has no types
    NodeExistsError,
    NoNodeError,
)

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.zookeeper.connection import Connection, ConnectionPool
from modularity_registry.stores.zookeeper.errors import ANSWERS, failure, first_error
from modularity_registry.stores.zookeeper.layout import BUCKETS, Era, Layout

Finish = Callable[..., Any]
"""Returns the result of an asynchronous call, as `Connection.finish` does."""

ERA_LENGTH: Final = 1_000_000
ATTEMPTS: Final = 20
DELETION_SECONDS: Final = 3.0
"""For a deletion of the tree that is still running."""


class EpochTracker:
    """The epoch and era read last."""

    def __init__(self, pool: ConnectionPool, layout: Layout) -> None:
        self.layout = layout
        self._pool = pool
        self._entering = threading.Lock()
        self._era: Era | None = None

    @property
    def era(self) -> Era:
        assert self._era is not None  # the store reads it first
        return self._era

    def read_or_begin(self, connection: Connection, finish: Finish) -> Era:
        """Return the current era; begins an epoch where there is none.

        Raises `StoreUnavailable` and `StoreCorrupt`.
        """
        client = connection.client
        with self._entering:
            for _ in range(ATTEMPTS):
                # This server may be behind the one that was written to.
                finish(client.sync_async(self.layout.root))
                try:
                    content, stat = finish(
                        client.get_async(self.layout.epoch), NoNodeError
                    )
                except NoNodeError:
                    self._begin(connection, finish)
                    continue
                self._era = self.layout.era(content, stat.version)
                return self._era
        raise StoreUnavailable(
            f"/{connection.server.prefix} at ZooKeeper at {connection.server} is being"
            " deleted repeatedly"
        )

    def begin_epoch(self, connection: Connection) -> Era:
        """Begin a new epoch with the same records, and return its era."""
        for _ in range(ATTEMPTS):
            era = self.read_or_begin(connection, connection.finish)
            following = era._replace(
                epoch=uuid.uuid4().hex[:12], folder=era.folder or era.epoch
            )
            steps = connection.client.transaction()
            steps.set_data(self.layout.epoch, following.content, version=era.version)
            failed = first_error(connection.finish(steps.commit_async()))
            if failed is None:
                return self.read_or_begin(connection, connection.finish)
            if not isinstance(failed.error, ANSWERS):
                raise failure(failed.error, connection.server, False) from failed.error
        raise StoreUnavailable(
            f"/{connection.server.prefix} at ZooKeeper at {connection.server} changes"
            " all the time, so it has no new epoch; try again"
        )

    def begin_era(self, connection: Connection, era: Era) -> None:
        """Begin the next era of the log, unless another process has."""
        following = era._replace(number=era.number + 1)
        steps = connection.client.transaction()
        steps.set_data(self.layout.epoch, following.content, version=era.version)
        steps.create(self.layout.log(following))
        connection.finish(steps.commit_async())

    def _begin(self, connection: Connection, finish: Finish) -> None:
        if self._era is not None:
            self._wait_for_deletion(connection.client, finish)
        with suppress(NodeExistsError):
            finish(connection.client.create_async(self.layout.root), NodeExistsError)
        failed = first_error(finish(self._creation(connection.client).commit_async()))
        # Another process may be faster, or delete the tree: the caller reads it again.
        if failed is not None and not isinstance(failed.error, ANSWERS):
            raise failure(failed.error, connection.server, False) from failed.error

    def _creation(self, client: Any) -> Any:
        """Return the transaction that creates a new epoch."""
        era = Era(uuid.uuid4().hex[:12], 0, 0)
        base = self.layout.base(era)
        steps = client.transaction()
        steps.create(self.layout.epoch, era.content)
        for path in (base, f"{base}/record", f"{base}/log", self.layout.log(era)):
            steps.create(path)
        for number in range(BUCKETS):
            steps.create(self.layout.bucket(era, number))
        return steps

    def _wait_for_deletion(self, client: Any, finish: Finish) -> None:
        pause = 0.1
        for _ in range(int(DELETION_SECONDS / pause)):
            if finish(client.exists_async(self.layout.root)) is None:
                return
            self._pool.pause(pause)
