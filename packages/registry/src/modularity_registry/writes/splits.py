"""Writes of traffic splits: as those of services, but of a record of their own."""

from collections.abc import Mapping
from typing import NamedTuple

from modularity_registry.audit import OFF, Audit
from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import Catalog, StoredSplit
from modularity_registry.catalog.feed import Feed
from modularity_registry.errors import RegistryFull, SplitNotFound, StoreConflict
from modularity_registry.model.split import MOST_SPLITS, Split, split_of
from modularity_registry.stores.base import Write
from modularity_registry.stores.group_commit import Writer
from modularity_registry.writes import change_log
from modularity_registry.writes.commands import MAX_ATTEMPTS, catch_up, contended
from modularity_registry.writes.precondition import ANY, Precondition


class SplitResult(NamedTuple):
    """A split that is in effect; ``created`` says that there was none before."""

    split: Split
    revision: int
    created: bool = False


class SplitCommands:
    """Writes splits, on the feed's event loop.

    Every command returns after the catalog holds the change.
    """

    def __init__(
        self,
        writer: Writer,
        feed: Feed,
        catalog: Catalog,
        audit: Audit = OFF,
        namespace: str | None = None,
    ) -> None:
        self._writer = writer
        self._feed = feed
        self._catalog = catalog
        self._audit = audit
        self._namespace = namespace

    async def put(
        self,
        capability: str,
        groups: Mapping[str, int],
        precondition: Precondition = ANY,
    ) -> SplitResult:
        """Split the calls of a capability, whether or not somebody offers it.

        Raises `RevisionMismatch` if ``precondition`` fails, and `RegistryFull` if there
        are as many splits as there may be. One that changes nothing is not written.
        """
        split = split_of(capability, groups)
        for _ in range(MAX_ATTEMPTS):
            seen, stored = self._read(capability)
            _check(precondition, capability, stored)
            if stored is None and self._catalog.total_splits >= MOST_SPLITS:
                raise RegistryFull(
                    f"the registry holds {MOST_SPLITS:,} splits, which is all that it"
                    " may; end some"
                )
            if stored is not None and stored.split == split:
                return SplitResult(split, stored.revision)
            revision = await self._write(seen, stored, split)
            if revision is not None:
                return SplitResult(split, revision, created=stored is None)
        raise contended(capability)

    async def end(
        self, capability: str, precondition: Precondition = ANY
    ) -> SplitResult:
        """Split the calls of a capability no more; return what the split was.

        Raises `SplitNotFound`, and `RevisionMismatch` as `put`.
        """
        for _ in range(MAX_ATTEMPTS):
            seen, stored = self._read(capability)
            if stored is None:
                raise not_split(capability)
            _check(precondition, capability, stored)
            revision = await self._write(seen, stored, None)
            if revision is not None:
                return SplitResult(stored.split, revision)
        raise contended(capability)

    def _read(self, capability: str) -> tuple[int, StoredSplit | None]:
        """Return the view's revision and the split; raises `StoreUnavailable`."""
        self._feed.require()
        return self._catalog.revision, self._catalog.split(capability)

    async def _write(
        self, seen: int, stored: StoredSplit | None, split: Split | None
    ) -> int | None:
        """Write it over what is stored; return the revision, None if overtaken."""
        old = stored.split if stored else None
        changed = split or old
        assert changed is not None  # one of them is there
        key = documents.key_of_split(changed.capability)
        value = documents.encode_split(split) if split else None
        try:
            revision = await self._writer.write(
                Write(key, value, stored.revision if stored else 0)
            )
        except StoreConflict as conflict:
            await catch_up(self._feed, seen, conflict)
            return None
        if revision is None:
            raise not_split(changed.capability)
        change_log.split(old, split, revision, self._namespace)
        self._audit.split(old, split, revision)
        await self._feed.wait(revision)
        return revision


def _check(
    precondition: Precondition, capability: str, stored: StoredSplit | None
) -> None:
    state = f"at revision {stored.revision}" if stored else "not there"
    revision = stored.revision if stored else None
    precondition.check_revision(revision, f"the split of {capability!r} is {state}")


def not_split(capability: str) -> SplitNotFound:
    """Return the error that the calls of a capability are not split."""
    return SplitNotFound(f"the calls of {capability!r} are not split")
