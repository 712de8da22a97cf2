"""Capabilities, ids and zones as names of the DNS, and back.

DNS knows no case, and not every character fits. So that each of them has a name, and
people can read most of these, lower case is taken and

- dots part labels, as they are: ``weather.forecast``;
- ``/`` is ``_2f`` and ``:`` is ``_3a``, a dot that would leave a label empty ``_2e``,
  and an underscore that would be read as one of these ``_5f``;
- a name that is too long is ``_h`` and the first 32 hexadecimal digits of the SHA-256
  of it in lower case.

Names that differ in case alone share one in the DNS.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Collection
from typing import Final

from modularity_registry.catalog.catalog import Catalog, Transition

MAX_LABEL: Final = 62
MAX_NAME: Final = 170
"""Longer ones are hashed: there is room for an underscore, ``_tcp`` and the domain."""

MAX_DOMAIN: Final = 60

_ESCAPED = re.compile(r"[/:]|\.(?=\.|\Z)|_(?=2e|2f|3a|5f)")


def dns_name(name: str) -> str:
    """Return the labels, with dots, under which a capability or an id is found."""
    lowered = name.lower()
    escaped = _ESCAPED.sub(lambda match: f"_{ord(match[0]):02x}", lowered)
    if len(escaped) > MAX_NAME or max(map(len, escaped.split("."))) > MAX_LABEL:
        return "_h" + hashlib.sha256(lowered.encode()).hexdigest()[:32]
    return escaped


class Index:
    """Which names a DNS name stands for.

    Most names are their own DNS name, and of those nothing is kept.
    """

    def __init__(self) -> None:
        self._kept: set[str] = set()
        self._aliases: dict[str, tuple[str, ...]] = {}
        self._above: Counter[str] = Counter()

    def find(self, key: str) -> tuple[str, ...]:
        """Return the names that ``key``, in lower case, may stand for."""
        aliases = self._aliases.get(key, ())
        return (*aliases, key) if dns_name(key) == key else aliases

    def has_below(self, key: str) -> bool:
        """Say whether there are names that end in ``key``, a dot before it."""
        return self._above[key] > 0

    def note(self, name: str, present: bool) -> None:
        """Say whether ``name`` is there now."""
        key = dns_name(name)
        if present == (name in self._kept) or (key == name and "." not in key):
            return
        (self._kept.add if present else self._kept.discard)(name)
        others = tuple(alias for alias in self._aliases.get(key, ()) if alias != name)
        if key != name:
            self._aliases[key] = (*others, name) if present else others
            if not self._aliases[key]:
                del self._aliases[key]
        while "." in key:
            key = key.partition(".")[2]
            self._above[key] += 1 if present else -1
            if not self._above[key]:
                del self._above[key]


class Names:
    """All capabilities, ids and zones that need looking up by another name; a listener.

    They are those of ``catalog``.
    ``version`` counts the catalog's changes, several of which may share a revision.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.capabilities = Index()
        self.services = Index()
        self.zones = Index()
        self.version = 0
        self.catalog = catalog

    def changed(self, change: Transition) -> None:
        """As `feed.Listener`."""
        self.version += 1
        self.services.note(change.id, change.new is not None)
        for name in change.capabilities:
            present = self.catalog.capability(name) is not None
            self.capabilities.note(name, present)
        for entry in (change.old, change.new):
            if entry is not None and entry.zone:
                self.zones.note(entry.zone, entry.zone in self.catalog.regions)

    def reloaded(self, changes: Collection[Transition], revision: int) -> None:
        """As `feed.Listener`."""
        self.version += 1
        for change in changes:
            self.changed(change)

    def advanced(self, revision: int) -> None:
        """As `feed.Listener`."""
