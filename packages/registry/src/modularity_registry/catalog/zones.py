"""Who is near to a caller: its zone first, then its region, then anywhere.

A zone, or a region, keeps its callers while a lookup may return a share of its
providers, the healthy ones: with fewer, those that are left would get the calls of all.
When no provider is healthy, in any zone, those with a warning count. A priority comes
before the zone, as in Envoy: only providers of the best priority count. That is Envoy's
rule for localities with an overprovisioning factor (1.4: a locality gets all of its
traffic while 1 / 1.4 = 71 % of its hosts are healthy), without the partial shares below
that:
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/locality_weight
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import count
from typing import Literal, NamedTuple

from modularity_registry.catalog.catalog import Capability, Catalog, Providers
from modularity_registry.catalog.entry import Entry

Key = tuple[Literal["zone", "region"], str]
"""A zone's name, or a region's."""


class Place(NamedTuple):
    """Where a caller is. Without a ``region``, it is the one that the zone is in."""

    zone: str
    region: str = ""


class Locality(NamedTuple):
    """The providers in a zone or region that a lookup may return; never none.

    ``share`` says how many these are of all its providers, from 0 to 1.
    """

    providers: Providers
    share: float


Localities = dict[Key, Locality]


def nearest(
    catalog: Catalog,
    capability: Capability,
    providers: Providers,
    place: Place,
    group: str = "",
) -> tuple[Providers, "count[int]"]:
    """Return who is nearest to ``place``, and what counts the callers of these.

    ``providers`` are those of the capability, or some of them, as those of a ``group``.
    They are divided once: then it takes the same time for any number of them.
    """
    key = nearest_locality(catalog, providers, place)
    if key is None:
        return providers, capability.turns_of(group) if group else capability.turns
    turns = capability.turns_of((group, key) if group else key)
    return localities(providers)[key].providers, turns


def near(catalog: Catalog, providers: Providers, place: Place) -> Providers:
    """Return who is nearest to ``place``: the same object until something changes."""
    key = nearest_locality(catalog, providers, place)
    return providers if key is None else localities(providers)[key].providers


def nearest_locality(
    catalog: Catalog, providers: Providers, place: Place
) -> Key | None:
    """Return the zone or the region that the caller's provider comes from.

    None if it may come from anywhere.
    """
    region = place.region or catalog.regions.of(place.zone)
    keys: tuple[Key, Key] = ("zone", place.zone), ("region", region)
    known = localities(providers)
    for key in keys:
        locality = known.get(key)
        if locality is not None and locality.share >= catalog.zone_threshold:
            return key
    return None


def distance(catalog: Catalog, entry: Entry, place: Place) -> int:
    """Return 0 for a service in the caller's zone, 1 in its region, 2 elsewhere."""
    if entry.zone == place.zone:
        return 0
    region = place.region or catalog.regions.of(place.zone)
    return 1 if region and entry.region == region else 2


def localities(providers: Providers) -> Localities:
    """Return the providers by zone and by region; divided when first asked for."""
    if providers.localities is None:
        providers.localities = _divide(providers)
    return providers.localities


def _divide(providers: Providers) -> Localities:
    priorities = {entry.priority for entry in providers.candidates}  # one, or none
    total = Counter(
        key
        for entry in providers.entries
        if entry.priority in priorities
        for key in _keys(entry)
    )
    candidates: dict[Key, list[Entry]] = defaultdict(list)
    for entry in providers.candidates:
        for key in _keys(entry):
            candidates[key].append(entry)
    return {
        key: Locality(providers.only(tuple(entries)), len(entries) / total[key])
        for key, entries in candidates.items()
    }


def _keys(entry: Entry) -> Iterator[Key]:
    if entry.zone:
        yield "zone", entry.zone
    if entry.region:
        yield "region", entry.region
