"""Which epoch it is, who begins one, and when the log begins a new era."""

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
from modularity_registry.stores.zookeeper.connection import Connection, Line
from modularity_registry.stores.zookeeper.errors import ANSWERS, failure, first_error
from modularity_registry.stores.zookeeper.layout import BUCKETS, Layout, Place

Ask = Callable[..., Any]
"""Waits for an asynchronous call, as `Connection.finish` does."""

ERA_LENGTH: Final = 1_000_000
ATTEMPTS: Final = 20
SETTLING_SECONDS: Final = 3.0
"""A tree that is being deleted may take a moment; whoever does it wants it gone."""


class History:
    """The epoch as last seen."""

    def __init__(self, line: Line, layout: Layout) -> None:
        self.layout = layout
        self._line = line
        self._entering = threading.Lock()
        self._place: Place | None = None

    @property
    def place(self) -> Place:
        assert self._place is not None  # the store enters before anybody asks
        return self._place

    def enter(self, connection: Connection, ask: Ask) -> Place:
        """Return the place as it is now, having begun an epoch when there was none.

        Raises `StoreUnavailable` and `StoreCorrupt`.
        """
        client = connection.client
        with self._entering:
            for _ in range(ATTEMPTS):
                # The server that answers may be behind the one that was written to.
                ask(client.sync_async(self.layout.root))
                try:
                    content, stat = ask(
                        client.get_async(self.layout.guard), NoNodeError
                    )
                except NoNodeError:
                    self._begin(connection, ask)
                    continue
                self._place = self.layout.place(content, stat.version)
                return self._place
        raise StoreUnavailable(
            f"/{connection.server.prefix} at ZooKeeper at {connection.server} is being"
            " deleted again and again"
        )

    def roll(self, connection: Connection, place: Place) -> None:
        """Begin the next era of the log, unless somebody else has."""
        following = place._replace(era=place.era + 1)
        steps = connection.client.transaction()
        steps.set_data(self.layout.guard, following.content, version=place.version)
        steps.create(self.layout.log(following))
        connection.finish(steps.commit_async())

    def _begin(self, connection: Connection, ask: Ask) -> None:
        if self._place is not None:
            self._settle(connection.client, ask)
        with suppress(NodeExistsError):
            ask(connection.client.create_async(self.layout.root), NodeExistsError)
        failed = first_error(ask(self._births(connection.client).commit_async()))
        # Others may come first, or delete what was just made: it is looked at again.
        if failed is not None and not isinstance(failed.error, ANSWERS):
            raise failure(failed.error, connection.server, False) from failed.error

    def _births(self, client: Any) -> Any:
        """Return everything that an epoch begins with, as one transaction."""
        place = Place(uuid.uuid4().hex[:12], 0, 0)
        base = self.layout.base(place)
        steps = client.transaction()
        steps.create(self.layout.guard, place.content)
        for path in (base, f"{base}/record", f"{base}/log", self.layout.log(place)):
            steps.create(path)
        for number in range(BUCKETS):
            steps.create(self.layout.bucket(place, number))
        return steps

    def _settle(self, client: Any, ask: Ask) -> None:
        pause = 0.1
        for _ in range(int(SETTLING_SECONDS / pause)):
            if ask(client.exists_async(self.layout.root)) is None:
                return
            self._line.pause(pause)
