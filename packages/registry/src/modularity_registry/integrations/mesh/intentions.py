"""The intentions of this registry: who may call what, the same on all replicas."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from modularity_registry.catalog import documents
from modularity_registry.errors import RegistryFull, StoreCorrupt
from modularity_registry.integrations.mesh import records
from modularity_registry.integrations.mesh.errors import IntentionNotFound
from modularity_registry.model import intention
from modularity_registry.model.intention import MOST_INTENTIONS, Intention
from modularity_registry.runtime import Registry
from modularity_registry.stores.base import Record

log = logging.getLogger(__name__)


class StoredIntention(NamedTuple):
    """An intention, and the revision of the write that stored it."""

    intention: Intention
    revision: int


class Intentions:
    """Follows the records of the intentions, and writes them.

    For the store's feed, as its listener. ``on_change`` is called after each change,
    ``version`` counts them.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._stored: dict[str, StoredIntention] = {}
        self._rules: dict[str, list[Intention]] = {}
        self.version = 0
        self.on_change: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._stored)

    # What the feed tells

    def changed(self, key: str, value: bytes | None, revision: int) -> None:
        self._take(key, value, revision)
        self._note_change()

    def loaded(self, loaded: list[Record]) -> None:
        self._stored.clear()
        for each in loaded:
            self._take(each.key, each.value, each.revision)
        self._note_change()

    def _take(self, key: str, value: bytes | None, revision: int) -> None:
        self._stored.pop(key, None)
        if value is None:
            return
        try:
            one = documents.decode_intention(key, value)
            self._stored[key] = StoredIntention(one, revision)
        except StoreCorrupt as error:
            log.error("unreadable intention: %s", error.detail)

    def _note_change(self) -> None:
        self._rules.clear()
        self.version += 1
        self.on_change()

    # Who reads and writes them

    def all(self) -> list[StoredIntention]:
        """Return all of them, the most exact one first."""
        return sorted(
            self._stored.values(),
            key=lambda stored: intention.rank(stored.intention),
            reverse=True,
        )

    def require(self, source: str, capability: str) -> StoredIntention:
        """Return an intention; raises `IntentionNotFound`."""
        stored = self._stored.get(documents.key_of_intention(source, capability))
        if stored is None:
            raise IntentionNotFound(
                f"there is no intention for {source!r} and {capability!r}"
            )
        return stored

    def rules(self, capability: str) -> list[Intention]:
        """Return those that decide on a capability's callers, the first one first."""
        rules = self._rules.get(capability)
        if rules is None:
            present = (stored.intention for stored in self._stored.values())
            default = self._registry.settings.mesh_default
            rules = intention.for_capability(present, default, capability)
            self._rules[capability] = rules
        return rules

    async def put(self, new: Intention) -> int:
        """Store an intention over the one for the same names; return the revision.

        Raises `RegistryFull` if there are as many as there may be.
        """
        key = documents.key_of_intention(new.source, new.capability)
        if key not in self._stored and len(self._stored) >= MOST_INTENTIONS:
            raise RegistryFull(
                f"the registry holds {MOST_INTENTIONS:,} intentions, which is all that"
                " it may; remove some"
            )
        value = documents.encode_intention(new)
        return await self._write("mesh.intention_changed", key, new, lambda: value) or 0

    async def remove(self, source: str, capability: str) -> int:
        """Remove an intention; return the revision. Raises `IntentionNotFound`."""
        key = documents.key_of_intention(source, capability)
        old = self.require(source, capability).intention

        def decide() -> None:
            self.require(source, capability)

        revision = await self._write("mesh.intention_removed", key, old, decide)
        if revision is None:
            self.require(source, capability)
        return revision or 0

    async def _write(
        self, event: str, key: str, one: Intention, decide: records.Decide
    ) -> int | None:
        before = self._stored.get(key)
        old = before.intention.action if before else None

        def written(revision: int) -> None:
            self._registry.audit.write(
                event,
                source=one.source,
                capability=one.capability,
                old=old,
                new=one.action if event == "mesh.intention_changed" else None,
                revision=revision,
            )

        def stored_revision() -> int:
            stored = self._stored.get(key)
            return stored.revision if stored else 0

        return await records.change(
            self._registry, key, stored_revision, decide, written
        )
