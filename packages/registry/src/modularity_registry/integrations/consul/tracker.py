"""Which lists have changed when, and which service a check is of."""

from collections.abc import Collection

from modularity_registry.catalog.catalog import Catalog, Transition
from modularity_registry.catalog.entry import Entry
from modularity_registry.integrations.consul import extras as extras_of
from modularity_registry.integrations.consul import names
from modularity_registry.integrations.consul.extras import MARK, Extras


class Tracker:
    """Follows a catalog.

    ``services`` is the revision of the last change of the list of services and their
    tags, ``everything`` that of the last change of any service. ``leaving`` are the
    services that go when one of these checks is critical for so many seconds.
    """

    def __init__(self, catalog: Catalog) -> None:
        """Return one that has seen all that is in the catalog now."""
        self._catalog = catalog
        self._by_check: dict[str, str] = {}
        self.leaving: dict[str, dict[str, float]] = {}
        self.services = self.everything = catalog.revision
        for entry in catalog.services():
            self._remember(entry)

    def changed(self, change: Transition) -> None:
        """Take note of a change of the catalog."""
        old, new = change.old, change.new
        if old is None and new is None:
            return
        self.everything = change.revision
        if old is not None and new is not None and _is_same(old, new):
            return
        if old is None or new is None or _listed(old) != _listed(new):
            self.services = change.revision
        if old is not None:
            self._forget(old)
        if new is not None:
            self._remember(new)

    def reloaded(self, changes: Collection[Transition], revision: int) -> None:
        """Take note of many changes."""
        for change in changes:
            self.changed(change)
        self.services = self.everything = revision

    def advanced(self, revision: int) -> None:
        """Nothing to take note of."""

    def find_check(self, check_id: str) -> Entry | None:
        """Return the service that has this check, or may have it."""
        service_id = self._by_check.get(check_id)
        if service_id is not None:
            return self._catalog.service(service_id)
        if not check_id.startswith("service:"):
            return None
        text = check_id.removeprefix("service:")
        entry = names.find(self._catalog, text)
        return entry or names.find(self._catalog, text.rpartition(":")[0])

    def _remember(self, entry: Entry) -> None:
        extras = _extras(entry)
        if extras is None:
            return
        leaving = {}
        for name, check in extras.checks.items():
            self._by_check[check.id] = entry.id
            if check.deregister_after:
                leaving[name] = check.deregister_after
        if leaving:
            self.leaving[entry.id] = leaving

    def _forget(self, entry: Entry) -> None:
        extras = _extras(entry)
        self.leaving.pop(entry.id, None)
        for check in extras.checks.values() if extras else ():
            if self._by_check.get(check.id) == entry.id:
                del self._by_check[check.id]


def _is_same(old: Entry, new: Entry) -> bool:
    """Say whether both have the same registration: only a new one has a new time."""
    return old.registered_at == new.registered_at


def _extras(entry: Entry) -> Extras | None:
    if MARK not in entry.document:
        return None
    return extras_of.of(entry.service.registration)


def _listed(entry: Entry) -> tuple[tuple[str, ...], list[str]]:
    registration = entry.service.registration
    extras = extras_of.of(registration)
    return entry.capabilities, extras_of.tags_and_meta(registration, extras)[0]
