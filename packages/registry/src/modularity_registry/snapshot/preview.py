"""Serves a snapshot, and reads the store meanwhile."""

import asyncio
import gc
import logging
from collections.abc import Sequence
from datetime import datetime
from time import perf_counter
from typing import Final, NamedTuple

from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.feed import UNREAD, Feed
from modularity_registry.clock import rfc3339
from modularity_registry.errors import RegistryError
from modularity_registry.model.split import Split
from modularity_registry.snapshot.reading import Snapshot
from modularity_registry.stores.base import Store

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 2.0
"""Seconds between two attempts to read the store."""


class Previewed(NamedTuple):
    """What shows a snapshot in a namespace, "" for the default one."""

    namespace: str
    catalog: Catalog
    feed: Feed


class Preview:
    """Shows ``snapshot`` in all of ``shown`` until ``store`` has been read."""

    def __init__(
        self, snapshot: Snapshot, store: Store, shown: Sequence[Previewed]
    ) -> None:
        self._snapshot = snapshot
        self._store = store
        self._shown = shown
        self._reason = UNREAD

    def show(self, now: datetime) -> float:
        """Answer reads from the snapshot; return how many seconds old it is."""
        snapshot = self._snapshot
        for name, catalog, feed in self._shown:
            feed.preview(snapshot.records(name), UNREAD)

            def split(capability: str, catalog: Catalog = catalog) -> Split | None:
                stored = catalog.split(capability)
                return stored.split if stored else None

            view = snapshot.view(name, catalog.make, split)
            catalog.preview(view, snapshot.revision(name))
        log.warning(
            "serving %s services from a snapshot of %s until the store has been read",
            f"{sum(len(one.catalog) for one in self._shown):,}",
            rfc3339(snapshot.written_at),
        )
        return (now - snapshot.written_at).total_seconds()

    async def read_store(self) -> None:
        """Return when the store has been read, however long that takes."""
        began, pause = perf_counter(), FIRST_PAUSE
        while not await self._attempt():
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        gc.freeze()
        log.info("the store has been read after %.1f s", perf_counter() - began)
        if self._store.epoch != self._snapshot.epoch:
            log.warning("the store was wiped or restored after the snapshot")

    async def _attempt(self) -> bool:
        # What is loaded now stays loaded: a garbage collection would only take time.
        gc.disable()
        try:
            for one in self._shown:
                await one.feed.follow()
        except RegistryError as error:
            reason = f"{UNREAD}: {error.detail}"
            if reason != self._reason:
                log.warning("%s", reason)
            self._reason = reason
            for one in self._shown:
                if one.feed.unread:
                    one.feed.interruption = reason
            return False
        finally:
            gc.enable()
        return True
