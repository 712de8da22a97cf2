"""Lookups, lists and single services."""

from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from urllib.parse import parse_qsl

from modularity_registry.api import rate_limits, replies
from modularity_registry.api.authorization import Authenticator
from modularity_registry.api.hot_path.reply import ReplyWriter, request_ids
from modularity_registry.api.long_replies.lists import CAPABILITIES, LONG, PROVIDERS
from modularity_registry.api.query import FILTERS, NEAR, STRATEGY, Query
from modularity_registry.catalog import splits
from modularity_registry.catalog.catalog import Capability, Catalog
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.selection import EVERYTHING, Filter, Strategy
from modularity_registry.catalog.zones import Place
from modularity_registry.errors import InvalidRequest
from modularity_registry.model.rights import Right
from modularity_registry.runtime import Registry
from modularity_registry.serving.front import Connection
from modularity_registry.serving.head import Answer, Head, PathAnswer

SERVICES = "/api/services/"
EXPLAIN = "/explain"

LONGEST_QUERY = 512

NARROWED = (*FILTERS, "metadata", *STRATEGY, *NEAR)
ZONE = "HTTP_X_ZONE"
_TURNS = Strategy()

Found = tuple[bytes, int]
"""A reply's body, and the revision that it is tagged with."""

Pick = Callable[[Catalog, Capability], Entry | None]
"""Picks a provider of a capability, None if there is none to pick."""


class Reads:
    """Makes the answers to reads: one for each head, or for all with its headers."""

    def __init__(
        self, registry: Registry, writer: ReplyWriter, authenticator: Authenticator
    ) -> None:
        self._catalog = registry.catalog
        self._membership = registry.membership
        self._rate = registry.rates.reads
        self._writer = writer
        self._authenticator = authenticator
        request = registry.metrics.request
        self._lookups = request("/api/capabilities/{name}", 200)
        self._lists = request("/api/capabilities/{name}/services", 200)
        self._services = request("/api/services/{id}", 200)

    def plan(self, head: Head) -> Answer | None:
        """Return what answers a GET with this head; None for Flask."""
        path, query = head.path, head.environ["QUERY_STRING"]
        if path is None or not path.startswith((CAPABILITIES, SERVICES)):
            return None
        if query and (path.startswith(SERVICES) or path.endswith(PROVIDERS)):
            return None
        answer = self._answer(head, query)
        if answer is None:
            return None
        return lambda connection, _: answer(connection, path)

    def plan_paths(self, head: Head) -> PathAnswer | None:
        """Return what answers GETs that differ from this head in their path alone."""
        return None if head.environ["QUERY_STRING"] else self._answer(head)

    def _answer(self, head: Head, query: str = "") -> PathAnswer | None:
        zone = head.environ.get(ZONE)
        if "HTTP_IF_NONE_MATCH" in head.environ or len(query) > LONGEST_QUERY:
            return None  # so long a query would be remembered
        pick: Pick = _round_robin
        if query or zone is not None:
            try:
                pick = _picker(query, zone)
            except InvalidRequest:
                return None  # Flask says what is wrong with it
        catalog, reply = self._catalog, self._writer.read
        may_read, request_id = self._may_read(head), request_ids(head.environ)

        def answer(connection: Connection, path: str) -> bytes | None:
            started = perf_counter()
            if may_read is not None and not may_read():
                return None
            # Before the data, so that the header is never newer than the body.
            revision = catalog.revision
            found: Found | None = None
            if path.startswith(CAPABILITIES):
                name, timings = path[len(CAPABILITIES) :], self._lookups
                if "/" not in name or not name.endswith((PROVIDERS, EXPLAIN)):
                    found = self._lookup(name, pick)
                elif name.endswith(PROVIDERS):
                    listed, timings = name.removesuffix(PROVIDERS), self._lists
                    found = self._list(head, connection, listed, revision)
            elif path.startswith(SERVICES):
                timings = self._services
                found = self._service(path[len(SERVICES) :])
            if found is None:
                return None
            whole = reply(*found, revision, request_id())
            timings.observe(perf_counter() - started)
            return whole

        return answer

    def _lookup(self, name: str, pick: Pick) -> Found | None:
        capability = self._catalog.capability(name)
        if capability is None:
            return None
        entry = pick(self._catalog, capability)
        return None if entry is None else (entry.json, entry.revision)

    def _list(
        self, head: Head, connection: Connection, name: str, revision: int
    ) -> Found | None:
        capability = self._catalog.capability(name)
        if capability is None:
            return None
        providers = capability.providers()
        entries = providers.by_id
        if len(entries) > LONG or not self._admits(head, connection):
            return None
        bodies = [entry.json for entry in entries]
        listed = replies.listing("services", bodies, revision, split=providers.split)
        return listed, capability.revision

    def _service(self, service_id: str) -> Found | None:
        entry = self._catalog.service(service_id)
        if entry is None:
            return None
        checker = self._membership.owner(service_id)
        return entry.json_with_evidence(checker), entry.revision

    def _may_read(self, head: Head) -> "_Check | None":
        if not self._authenticator.closed:
            return None
        return _Check(self._authenticator, head)

    def _admits(self, head: Head, connection: Connection) -> bool:
        if self._rate is None:
            return True
        environ = connection.environ_of(head)
        caller = self._authenticator.caller(environ)
        return rate_limits.admits(self._rate, environ, caller)


class _Check:
    """Says whether the token in a head gives the right to read, at every call."""

    def __init__(self, authenticator: Authenticator, head: Head) -> None:
        self._caller = authenticator.caller_of
        self._header = head.environ.get("HTTP_AUTHORIZATION")

    def __call__(self) -> bool:
        return self._caller(self._header).may(Right.READ)


def _round_robin(catalog: Catalog, capability: Capability) -> Entry | None:
    providers = capability.providers()
    if providers.split is not None:
        return splits.pick_anywhere(capability, providers, _TURNS)
    candidates = providers.candidates
    return candidates[next(capability.turns) % len(candidates)] if candidates else None


class _Picker:
    """Picks by a strategy among those that pass a filter, nearest to a place."""

    def __init__(
        self, selection: Filter, strategy: Strategy, place: Place | None
    ) -> None:
        self._selection = selection
        self._strategy = strategy
        self._place = place

    def __call__(self, catalog: Catalog, capability: Capability) -> Entry | None:
        providers = self._strategy.providers(capability)
        if self._selection is not EVERYTHING:
            providers = providers.part(self, self._selection.matches)
        return splits.pick(catalog, capability, providers, self._strategy, self._place)


@lru_cache(maxsize=1024)
def _picker(query: str, zone: str | None) -> _Picker:
    """Return the picker for a query and the header X-Zone; raises `InvalidRequest`."""
    arguments = parse_qsl(query, keep_blank_values=True)
    parsed = Query(arguments, NARROWED)
    selection, strategy = parsed.filter(), parsed.strategy()
    place = parsed.near(zone)
    parsed.finish()
    return _Picker(selection, strategy, place)
