"""Traffic splits: which group of a capability's providers gets a call.

A lookup first chooses the group, by weight among those that have somebody to return, so
that a split never fails a call. Zones and strategies then choose within the group.
"""

import logging
import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import accumulate, count
from typing import Any, NamedTuple

import msgspec

from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import (
    Capability,
    Catalog,
    Providers,
    StoredSplit,
)
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.selection import Strategy, pick_provider
from modularity_registry.catalog.zones import Place, nearest
from modularity_registry.errors import StoreCorrupt
from modularity_registry.model import rendezvous
from modularity_registry.model.split import Split, getting_calls, group_of
from modularity_registry.stores.base import Record

log = logging.getLogger(__name__)

MOST_LABELS = 16_384
"""So many services' tags and versions are remembered."""


class Groups(NamedTuple):
    """Some providers, divided by their split.

    ``members`` are the providers in each group, healthy or not, ``group_of`` says the
    group of each by its id. ``weights`` are those of the groups that get calls: none if
    no group has anybody to return. ``thresholds`` are the running totals of them.
    """

    members: dict[str, Providers]
    group_of: dict[str, str]
    weights: dict[str, int]
    thresholds: list[int]


class Choices(NamedTuple):
    """Among whom a call from one place is decided.

    It holds while the catalog's regions have the version ``regions``. ``parts`` are the
    groups of the split, or all as one: who of each is nearest, and what counts their
    callers. ``weights`` and ``thresholds`` are as in `Groups`.
    """

    regions: int
    weights: dict[str, int]
    thresholds: list[int]
    parts: list[tuple[Providers, "count[int]"]]


def pick(
    catalog: Catalog,
    capability: Capability,
    providers: Providers,
    strategy: Strategy,
    place: Place | None,
) -> Entry | None:
    """Return the provider for a call; None when no lookup may return any.

    ``providers`` are those of the capability, or some of them. The group is chosen
    first, by chance, or with ``hash`` by the key, so that a key stays in its group.
    Then comes who of it is nearest to ``place``, then one by the strategy. After their
    first call, it takes the same time for any number of providers.
    """
    if place is None:
        return pick_anywhere(capability, providers, strategy)
    choices = providers.choices.get(place)
    if choices is None or choices.regions != catalog.regions.version:
        near = partial(nearest, catalog, capability, place=place)
        choices = _choices(providers, near, catalog.regions.version)
        providers.remember(place, choices)
    return pick_provider(strategy, *_part(choices, strategy))


def pick_anywhere(
    capability: Capability, providers: Providers, strategy: Strategy
) -> Entry | None:
    """Return the same for a caller that is nowhere in particular."""
    if providers.split is None:
        return pick_provider(strategy, providers, capability.turns)
    choices = providers.choices.get(None)
    if choices is None:
        choices = _choices(providers, partial(_all, capability), 0)
        providers.remember(None, choices)
    return pick_provider(strategy, *_part(choices, strategy))


def _part(choices: Choices, strategy: Strategy) -> tuple[Providers, "count[int]"]:
    if len(choices.parts) == 1:
        return choices.parts[0]
    if strategy.name == "hash":
        name = rendezvous.pick_weighted(strategy.key, choices.weights)
        return choices.parts[list(choices.weights).index(name)]
    thresholds = choices.thresholds
    # The product may round up to the total; hence the upper bound.
    point = random.random() * thresholds[-1]
    return choices.parts[bisect_right(thresholds, point, 0, len(thresholds) - 1)]


def _choices(
    providers: Providers,
    near: Callable[..., tuple[Providers, "count[int]"]],
    regions: int,
) -> Choices:
    """Return the choices with those of each group that are ``near``."""
    groups = groups_of(providers)
    if groups is None or not groups.weights:
        return Choices(regions, {}, [], [near(providers)])
    parts = [near(groups.members[name], group=name) for name in groups.weights]
    return Choices(regions, groups.weights, groups.thresholds, parts)


def _all(
    capability: Capability, providers: Providers, group: str = ""
) -> tuple[Providers, "count[int]"]:
    return providers, capability.turns_of(group) if group else capability.turns


def groups_of(providers: Providers) -> Groups | None:
    """Return the providers by group; divided when first asked for. None if unsplit."""
    if providers.groups is None and providers.split is not None:
        providers.groups = _divide(providers, providers.split)
    return providers.groups


def _divide(providers: Providers, split: Split) -> Groups:
    known: dict[_Label, str | None] = {}
    names: dict[str, str] = {}
    entries: dict[str, list[Entry]] = defaultdict(list)
    for entry in providers.entries:
        label = _label(entry.document)
        if label not in known:
            known[label] = group_of(split.groups, *label)
        name = known[label]
        if name is not None:
            names[entry.id] = name
            entries[name].append(entry)
    members = {
        name: Providers(
            tuple(entries[name]),
            providers.revision,
            prefer_healthy=providers.prefer_healthy,
        )
        for name in split.groups
        if name in entries
    }
    present = [name for name, group in members.items() if group.candidates]
    weights = getting_calls(split.groups, present)
    thresholds = list(accumulate(weights.values()))
    return Groups(members, names, weights, thresholds)


class _Label(NamedTuple):
    """What decides on a provider's group."""

    tag: str | None
    version: str


class _Metadata(msgspec.Struct, frozen=True):
    tag: Any = None


class _Registration(msgspec.Struct, frozen=True):
    # What is stored leaves out the version that a registration has by default.
    version: str = "1.0.0"
    metadata: _Metadata = _Metadata()


class _Document(msgspec.Struct):
    registration: _Registration


_decode = msgspec.json.Decoder(_Document).decode


@lru_cache(MOST_LABELS)
def _label(document: bytes) -> _Label:
    # As few fields as are needed: all of them would take ten times as long.
    registration = _decode(document).registration
    tag = registration.metadata.tag
    return _Label(tag if isinstance(tag, str) else None, registration.version)


class SplitChange(NamedTuple):
    """What became of a split: no ``old`` for a new one, no ``new`` for an ended one."""

    capability: str
    old: Split | None
    new: Split | None
    revision: int


class SplitFeed:
    """Puts the store's splits into the catalog. For the store's feed, as its listener.

    ``listener`` is told of each change, before the catalog has its revision.
    """

    def __init__(
        self, catalog: Catalog, listener: Callable[[SplitChange], None]
    ) -> None:
        self._catalog = catalog
        self._listener = listener

    def changed(self, key: str, value: bytes | None, revision: int) -> None:
        """Take one change of a record."""
        name = key.removeprefix(documents.SPLITS)
        old = self._catalog.split(name)
        new = None if value is None else _read(key, value, revision)
        if old is None and new is None:
            return
        self._catalog.put_split(name, new, revision)
        self._listener(
            SplitChange(
                name, old.split if old else None, new.split if new else None, revision
            )
        )

    def loaded(self, records: list[Record]) -> None:
        """Replace all splits by those of ``records``."""
        present = set()
        for record in records:
            new = _read(record.key, record.value, record.revision)
            if new is None:
                continue
            name = new.split.capability
            present.add(name)
            if self._catalog.split(name) != new:
                self._catalog.put_split(name, new, record.revision)
        for stored in self._catalog.splits():
            name = stored.split.capability
            if name not in present:
                self._catalog.put_split(name, None, self._catalog.revision)


def _read(key: str, value: bytes, revision: int) -> StoredSplit | None:
    try:
        return StoredSplit(documents.decode_split(key, value), revision)
    except StoreCorrupt as error:
        # The calls of this capability are not split; all others are as they should be.
        log.error("unreadable split: %s", error.detail)
        return None
