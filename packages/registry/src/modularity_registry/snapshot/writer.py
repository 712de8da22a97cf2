"""Writes the snapshot every so often, beside all else that the event loop does."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Final, NamedTuple

from filelock import FileLock, Timeout

from modularity_registry import __version__, tasks
from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.feed import Feed
from modularity_registry.clock import Clock
from modularity_registry.snapshot import layout
from modularity_registry.snapshot.layout import Index
from modularity_registry.snapshot.writing import PRIVATE, SectionWriter, SnapshotFile
from modularity_registry.stores.base import Store

log = logging.getLogger(__name__)

PERIOD: Final = 60.0
"""Seconds between two looks whether anything has changed."""

SHARE: Final = 10
"""Writing takes one in so many seconds at most: a large one is written less often."""

PAUSE: Final = 0.002
"""Seconds between two steps on the event loop, each of about one millisecond."""


class Source(NamedTuple):
    """What is written of a namespace."""

    catalog: Catalog
    feed: Feed


class SnapshotWriter:
    """Keeps the file up to date. ``sources`` are by namespace, "" for the default one.

    Of several processes with the same file, one writes: who has the lock of the file
    beside it, ``<path>.lock``. ``fault`` is why the file is older than it should be,
    None if it is not. ``store_identity`` is the `identity` of the store.
    """

    def __init__(
        self,
        path: Path,
        store: Store,
        store_identity: str,
        sources: Mapping[str, Source],
        clock: Clock,
        period: float = PERIOD,
    ) -> None:
        self.fault: str | None = None
        self._path = path
        self._store = store
        self._identity = store_identity
        self._sources = sources
        self._clock = clock
        self._period = period
        self._lock = FileLock(f"{path}.lock", mode=PRIVATE, thread_local=False)
        self._written: object = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Write it every so often from now on."""
        self._task = tasks.start("snapshot", self._run())

    async def stop(self) -> None:
        """Write what has changed since, without pauses, then stop. Idempotent."""
        task, self._task = self._task, None
        if task is None:
            return
        await tasks.cancel(task)
        await self.look(pause=0.0)
        self._lock.release()

    async def look(self, pause: float = PAUSE) -> None:
        """Write the file if something has changed, and this process is to write it."""
        state = self._state()
        if state is None or state == self._written:
            return
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return
        except OSError as error:
            self._fail(error)
            return
        try:
            await self._write(pause)
        except OSError as error:
            self._fail(error)
        else:
            self._written, self.fault = state, None

    def _fail(self, error: OSError) -> None:
        fault = f"can't write the snapshot {self._path}: {error.strerror or error}"
        if fault != self.fault:
            log.warning("%s", fault)
        self.fault = fault

    def _state(self) -> object:
        """Return what differs after each change; None while the view is not current."""
        if any(source.feed.interruption for source in self._sources.values()):
            return None
        return self._store.epoch, [
            (source.catalog.changed, source.feed.records_changed)
            for source in self._sources.values()
        ]

    async def _run(self) -> None:
        pause = self._period
        while True:
            await asyncio.sleep(pause)
            began = perf_counter()
            await self.look()
            pause = max(self._period, SHARE * (perf_counter() - began))

    async def _write(self, pause: float) -> None:
        began, epoch = self._clock.now(), self._store.epoch
        file = await asyncio.to_thread(SnapshotFile, self._path)
        try:
            sections = {}
            for name, (catalog, feed) in self._sources.items():
                writer = SectionWriter(file, catalog, feed.kept())
                for step in writer.steps():
                    await asyncio.to_thread(step)
                    await asyncio.sleep(pause)
                assert writer.section is not None  # all steps are done
                sections[name] = writer.section
            index = Index(
                layout.FORMAT,
                layout.BYTEORDER,
                self._identity,
                epoch,
                began,
                __version__,
                sections,
            )
            await asyncio.to_thread(file.finish, index)
        finally:
            await asyncio.to_thread(file.abandon)
