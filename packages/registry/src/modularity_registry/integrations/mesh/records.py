"""Writes of records that are not services: by compare-and-set, visible on return."""

from collections.abc import Callable

from modularity_registry.errors import StoreConflict
from modularity_registry.runtime import Registry
from modularity_registry.stores.base import Write
from modularity_registry.writes.commands import MAX_ATTEMPTS, catch_up, contended

Decide = Callable[[], bytes | None]


async def change(
    registry: Registry,
    key: str,
    stored_revision: Callable[[], int],
    decide: Decide,
    written: Callable[[int], None],
) -> int | None:
    """Write what ``decide`` makes of the present view; return the revision.

    None deletes. ``stored_revision`` says the revision of what the view holds now, 0
    for nothing. ``decide`` may raise, which ends it. ``written`` is told of the write
    before anybody sees it. The view holds the change on the return.
    """
    feed = registry.feed
    for _ in range(MAX_ATTEMPTS):
        feed.require()
        seen, expected = registry.catalog.revision, stored_revision()
        value = decide()
        try:
            revision = await registry.writer.write(Write(key, value, expected))
        except StoreConflict as conflict:
            await catch_up(feed, seen, conflict)
            continue
        if revision is not None:
            written(revision)
            await feed.wait(revision)
        return revision
    raise contended(key)
