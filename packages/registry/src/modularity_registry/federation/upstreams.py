"""All upstreams of a registry, in the order in which they are asked."""

import logging
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from modularity_registry.catalog import splits
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.selection import EVERYTHING, Filter, Strategy
from modularity_registry.clock import Clock
from modularity_registry.config import Settings
from modularity_registry.errors import BadSetting
from modularity_registry.federation.errors import UpstreamAway
from modularity_registry.schema.replies.registry import Upstream as State

# The client takes 0.2 s to load, and most registries need none.
if TYPE_CHECKING:
    from modularity_client.http.credentials import Credentials
    from modularity_registry.federation.upstream import Upstream


class Elsewhere(NamedTuple):
    """A provider that an upstream knows: the upstream's name, and the provider."""

    source: str
    entry: Entry


class Upstreams:
    """The upstreams that the settings name; false if there are none.

    ``lookups`` counts, by upstream and result, what they were asked.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._upstreams = _upstreams(settings, clock) if settings.upstream else []
        self.lookups: Counter[tuple[str, str]] = Counter()

    def __bool__(self) -> bool:
        return bool(self._upstreams)

    def start(self) -> None:
        """Begin to follow all of them. They need not run yet."""
        if self._upstreams:
            # The client's library logs each call.
            logging.getLogger("httpx").setLevel(logging.WARNING)
        for upstream in self._upstreams:
            upstream.start()

    async def stop(self) -> None:
        """Follow them no more. Idempotent."""
        for upstream in self._upstreams:
            await upstream.stop()

    def states(self) -> list[State]:
        """Return what there is to say of each, in their order."""
        return [upstream.state for upstream in self._upstreams]

    async def find(
        self, name: str, strategy: Strategy, selection: Filter
    ) -> tuple[Elsewhere | None, list[str]]:
        """Return the provider that the first upstream with a matching one picks.

        And a sentence for each that could not be asked before.
        """
        unknown = []
        for upstream in self._upstreams:
            try:
                capability = await upstream.capability(name)
            except UpstreamAway as fault:
                self.lookups[upstream.name, "unknown"] += 1
                unknown.append(_unasked(upstream.name, fault))
                continue
            providers = strategy.providers(capability)
            if selection is not EVERYTHING:
                providers = providers.matching(selection.matches)
            entry = splits.pick_anywhere(capability, providers, strategy)
            self.lookups[upstream.name, "hit" if entry else "miss"] += 1
            if entry is not None:
                return Elsewhere(upstream.name, entry), unknown
        return None, unknown

    async def explain(self, name: str) -> list[str]:
        """Return a sentence about each upstream: how many provide ``name`` there."""
        sentences = []
        for upstream in self._upstreams:
            try:
                capability = await upstream.capability(name)
            except UpstreamAway as fault:
                sentences.append(_unasked(upstream.name, fault))
            else:
                count = len(capability.providers().indifferent().usable)
                providers = "1 provider" if count == 1 else f"{count} providers"
                sentences.append(f"the upstream {upstream.name} has {providers}")
        return sentences


def check(settings: Settings) -> None:
    """Raise `BadSetting` for a file of an upstream's token that can't be read."""
    if settings.upstream_token_file:
        _tokens(settings)


def _upstreams(settings: Settings, clock: Clock) -> "list[Upstream]":
    from modularity_client.http.credentials import Credentials
    from modularity_registry.federation.upstream import Upstream

    tokens = _tokens(settings)
    named = (text.partition("=") for text in settings.upstream)
    return [
        Upstream(name, url, tokens.get(name, Credentials()), clock)
        for name, _, url in named
    ]


def _tokens(settings: Settings) -> "dict[str, Credentials]":
    from modularity_client.http.credentials import Credentials

    tokens = {}
    for text in settings.upstream_token_file:
        name, _, path = text.partition("=")
        try:
            tokens[name] = Credentials(file=path)
        except ValueError as error:
            raise BadSetting(f"--upstream-token-file: {error}") from None
    return tokens


def _unasked(name: str, fault: object) -> str:
    return f"the upstream {name} could not be asked: {fault}"
