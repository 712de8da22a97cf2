"""Which services a reader gets: filters narrow, a strategy picks a good one."""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, Literal

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from modularity_registry import schema, tasks
from modularity_registry.catalog.catalog import Capability, Catalog, Providers
from modularity_registry.catalog.entry import Entry, metadata
from modularity_registry.model import rendezvous
from modularity_registry.model.service import ACTIVE, Service
from modularity_registry.schema import Discovery

StrategyName = Literal["round_robin", "random", "weighted", "hash"]
STRATEGIES: tuple[StrategyName, ...] = ("round_robin", "random", "weighted", "hash")


@dataclass(frozen=True, slots=True)
class Filter:
    """What a reader wants to see; what is empty or None lets everything through.

    ``capabilities`` must all be provided, ``statuses`` and ``modes`` are
    alternatives. ``version`` is a range, ``exact_version`` one version. ``verified``
    says whether a check of kind `module` must have succeeded, or must not.
    """

    statuses: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()
    modes: frozenset[str] = frozenset()
    name: str | None = None
    exact_version: str | None = None
    version: SpecifierSet | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    zone: str | None = None
    region: str | None = None
    verified: bool | None = None

    def mismatch(self, entry: Entry) -> str | None:
        """Return in one sentence why the service is filtered out; None if it isn't."""
        if self.statuses and entry.status not in self.statuses:
            return f"its status is {entry.status}, not {_either(self.statuses)}"
        if self.modes and entry.mode not in self.modes:
            return f"its mode is {entry.mode}, not {_either(self.modes)}"
        if self.zone is not None and entry.zone != self.zone:
            return f"its zone is {entry.zone or 'not known'}, not {self.zone}"
        if self.region is not None and entry.region != self.region:
            return f"its region is {entry.region or 'not known'}, not {self.region}"
        if not self._needs_document:
            return None
        service = entry.service
        registration = service.registration
        if self.name is not None and registration.name != self.name:
            return f"its name is {registration.name!r}, not {self.name!r}"
        if self.verified is not None and self.verified != bool(service.verified):
            return f"it is {'not ' if self.verified else ''}verified by a module check"
        missing = self.capabilities.difference(registration.capabilities)
        if missing:
            return f"it does not provide {', '.join(sorted(missing))}"
        return self._version_mismatch(registration.version) or self._metadata_mismatch(
            service
        )

    @property
    def _needs_document(self) -> bool:
        texts = (self.name, self.exact_version, self.version)
        return (
            bool(self.capabilities or self.metadata)
            or self.verified is not None
            # Empty ones as well: no service has an empty name.
            or any(text is not None for text in texts)
        )

    def matches(self, entry: Entry) -> bool:
        """Say whether the service passes."""
        return self.mismatch(entry) is None

    def _version_mismatch(self, version: str) -> str | None:
        if self.exact_version is not None and version != self.exact_version:
            return f"its version is {version}, not {self.exact_version}"
        if self.version is not None and not _in_range(version, self.version):
            return f"its version {version} is not within {self.version}"
        return None

    def _metadata_mismatch(self, service: Service) -> str | None:
        if not self.metadata:
            return None
        document = metadata(service)
        for key, expected in self.metadata:
            if key not in document:
                return f"its metadata has no {key!r}"
            if _as_text(document[key]) != expected:
                return (
                    f"its metadata.{key} is {_as_text(document[key])}, not {expected}"
                )
        return None


EVERYTHING = Filter()


def _either(values: frozenset[str]) -> str:
    return " or ".join(sorted(values))


def _as_text(value: Any) -> str:
    """A metadata value as a query string would say it: text bare, the rest as JSON."""
    return value if isinstance(value, str) else schema.encode(value).decode()


@lru_cache(maxsize=4096)
def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _in_range(text: str, versions: SpecifierSet) -> bool:
    version = _version(text)
    return version is not None and versions.contains(version, prereleases=True)


@dataclass(frozen=True, slots=True)
class Strategy:
    """How to pick one of several; ``key`` is for ``hash``.

    ``prefer_healthy`` leaves those with a warning out as long as others are healthy.
    """

    name: StrategyName = "round_robin"
    key: str = ""
    prefer_healthy: bool = True

    def providers(self, capability: Capability) -> Providers:
        """Return who provides ``capability``, with this preference."""
        providers = capability.providers()
        return providers if self.prefer_healthy else providers.indifferent()


def pick(
    strategy: Strategy, candidates: Sequence[Entry], turns: Iterator[int]
) -> Entry:
    """Return one of the candidates, which must not be empty.

    ``hash`` is rendezvous hashing, so that a key keeps its provider while that one is
    among the candidates. Weights of 0 get calls only if there are no others.
    """
    if strategy.name == "round_robin":
        return candidates[next(turns) % len(candidates)]
    if strategy.name == "random":
        return random.choice(candidates)
    if strategy.name == "hash":
        return rendezvous.pick(strategy.key, candidates)
    weights = (entry.service.registration.weight for entry in candidates)
    return weighted(candidates, list(accumulate(weights)))


def weighted(candidates: Sequence[Entry], thresholds: Sequence[int]) -> Entry:
    """Return a candidate by chance; ``thresholds`` are running totals of weights."""
    total = thresholds[-1]
    if total == 0:
        return random.choice(candidates)
    return candidates[bisect_right(thresholds, random.randrange(total))]


def pick_provider(
    strategy: Strategy, providers: Providers, turns: Iterator[int]
) -> Entry | None:
    """Return the provider for this call; None when no lookup may return any."""
    candidates = providers.candidates
    if candidates and strategy.name == "weighted":
        return weighted(candidates, providers.thresholds)
    return pick(strategy, candidates, turns) if candidates else None


class Match(msgspec.Struct, frozen=True):
    """A provider that fits a discovery.

    ``score`` counts the required and optional capabilities that it provides.
    """

    entry: Entry
    score: int
    required: tuple[str, ...]
    optional: tuple[str, ...]


async def discover(
    catalog: Catalog,
    asked: Discovery,
    selection: Filter,
    distance: Callable[[Entry], int],
    prefer_healthy: bool = True,
) -> list[Match]:
    """Return the services that provide all the required capabilities.

    Healthy ones first if ``prefer_healthy``, then those with a warning; of these, by
    priority, best score first, then by ``distance``, then by id. Other work has its
    turn in between.
    """

    def order(match: Match) -> tuple[bool, int, int, int, str]:
        entry = match.entry
        warns = prefer_healthy and entry.status == "warning"
        return warns, entry.priority, -match.score, distance(entry), entry.id

    matches = []
    required = frozenset(asked.required)
    async for entry in tasks.in_slices(_candidates(catalog, required)):
        provided = frozenset(entry.capabilities)
        if entry.status not in ACTIVE or not required <= provided:
            continue
        if selection.matches(entry):
            optional = tuple(name for name in asked.optional if name in provided)
            score = len(required) + len(optional)
            matches.append(Match(entry, score, asked.required, optional))
    return sorted(matches, key=order)


def _candidates(catalog: Catalog, required: frozenset[str]) -> Sequence[Entry]:
    """Return the services among which all matches are, as few as is known at once."""
    providers: list[Sequence[Entry]] = []
    for name in required:
        capability = catalog.capability(name)
        if capability is None:
            return ()
        providers.append(capability.providers().entries)
    return min(providers, key=len) if providers else catalog.services()


async def offers(catalog: Catalog, selection: Filter) -> list[tuple[str, list[str]]]:
    """Return the capabilities that an active service offers which passes the filter.

    By name, each with the ids of these services in order: those of the healthy ones,
    then of those with a warning. The filter looks at each
    service once. Other work has its turn in between.
    """
    passing: set[str] | None = None
    if selection is not EVERYTHING:
        passing = set()
        async for entry in tasks.in_slices(catalog.services()):
            if entry.status in ACTIVE and selection.matches(entry):
                passing.add(entry.id)
    found = []
    async for capability in tasks.in_slices(catalog.capabilities()):
        offering = [
            (entry.status == "warning", entry.id)
            for entry in capability.providers().indifferent().usable
            if passing is None or entry.id in passing
        ]
        if offering:
            found.append((capability.name, [id_ for _, id_ in sorted(offering)]))
    return found
