"""The names of all services, each with the tags of its instances."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import NamedTuple

from modularity_registry import tasks
from modularity_registry.catalog.entry import Entry
from modularity_registry.integrations.consul import extras, names
from modularity_registry.integrations.consul.reads.lists import LONG
from modularity_registry.runtime import Registry

Names = dict[str, list[str]]


class _Kept(NamedTuple):
    stamp: int
    names: Names


class ServiceNames:
    """Finds them, and keeps what was found last in each namespace."""

    def __init__(self) -> None:
        self._kept: dict[str | None, _Kept] = {}
        self._coming: dict[str | None, tuple[int, asyncio.Task[Names]]] = {}

    def get(self, registry: Registry, stamp: int) -> Names | Awaitable[Names]:
        """Return the names and the tags, both in order.

        They are found again if ``stamp`` is another one than at the last time; of many
        services in slices, once for all who ask meanwhile.
        """
        namespace = registry.namespace
        kept = self._kept.get(namespace)
        if kept is not None and kept.stamp == stamp:
            return kept.names
        entries = registry.catalog.services()
        if len(entries) <= LONG:
            found: dict[str, set[str]] = {}
            for entry in entries:
                _add(found, entry)
            return self._keep(namespace, stamp, found)
        coming = self._coming.get(namespace)
        if coming is None or coming[0] != stamp or coming[1].done():
            job = self._find(namespace, stamp, entries)
            coming = stamp, asyncio.get_running_loop().create_task(job)
            self._coming[namespace] = coming
        return asyncio.shield(coming[1])

    async def _find(
        self, namespace: str | None, stamp: int, entries: Sequence[Entry]
    ) -> Names:
        found: dict[str, set[str]] = {}
        async for entry in tasks.in_slices(entries):
            _add(found, entry)
        return self._keep(namespace, stamp, found)

    def _keep(
        self, namespace: str | None, stamp: int, found: dict[str, set[str]]
    ) -> Names:
        listed = {name: sorted(found[name]) for name in sorted(found)}
        self._kept[namespace] = _Kept(stamp, listed)
        return listed


def _add(found: dict[str, set[str]], entry: Entry) -> None:
    registration = entry.service.registration
    tags, _ = extras.tags_and_meta(registration, extras.of(registration))
    for name in entry.capabilities:
        found.setdefault(names.original(name), set()).update(tags)
