"""Routes of capabilities: which services provide them, and which one to call."""

from http import HTTPStatus
from zlib import crc32

from flask import Blueprint, Response, request

from modularity_registry import schema
from modularity_registry.api import replies
from modularity_registry.api.long_replies.waits import require_place
from modularity_registry.api.query import (
    FILTERS,
    LISTS,
    NEAR,
    PAGES,
    PREFERENCE,
    STRATEGY,
    ZONE_HEADER,
)
from modularity_registry.api.routes import blueprint_of
from modularity_registry.catalog import splits
from modularity_registry.catalog.catalog import (
    Capability,
    Catalog,
    Providers,
    StoredSplit,
)
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.explanations import Explainer
from modularity_registry.catalog.selection import (
    EVERYTHING,
    Filter,
    Match,
    Strategy,
    discover,
    offers,
)
from modularity_registry.catalog.zones import Place, distance
from modularity_registry.errors import CapabilityNotFound, NoHealthyProvider
from modularity_registry.federation import LOCAL_ONLY
from modularity_registry.runtime import Registry
from modularity_registry.writes.splits import SplitResult, not_split

NARROWED = (*FILTERS, "metadata")

SOURCE = "X-Registry-Source"
"""The header that names the upstream which has the provider."""

NOT_ASKED = "no upstream was asked, because this registry's own view is not current"


def routes(registry: Registry) -> Blueprint:
    """Return the routes under ``/api`` that start from a capability."""
    handlers = _Handlers(registry)
    return blueprint_of(
        "capabilities",
        "/api",
        ("GET /capabilities/<path:name>", handlers.read_provider),
        ("GET /capabilities/<path:name>/services", handlers.list_providers),
        ("GET /capabilities/<path:name>/explain", handlers.explain),
        ("GET /capabilities/<path:name>/split", handlers.read_split),
        ("PUT /capabilities/<path:name>/split", handlers.split),
        ("DELETE /capabilities/<path:name>/split", handlers.end_split),
        ("GET /splits", handlers.list_splits),
        ("GET /capabilities", handlers.list_capabilities),
        ("POST /discover", handlers.discover_services),
    )


class _Handlers:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._catalog = registry.catalog
        self._splits = registry.split_commands

    def read_provider(self, name: str) -> Response:
        query = replies.query(*NARROWED, *STRATEGY, *NEAR)
        selection, strategy = query.filter(), query.strategy()
        place = query.near(request.headers.get(ZONE_HEADER))
        query.finish()
        revision = self._catalog.revision
        try:
            entry = self._pick(name, strategy, selection, place)
        except (CapabilityNotFound, NoHealthyProvider) as error:
            if not self._may_ask_upstreams():
                raise
            return self._read_elsewhere(name, strategy, selection, error)
        return replies.read(lambda: entry.json, entry.revision, revision)

    def _pick(
        self, name: str, strategy: Strategy, selection: Filter, place: Place | None
    ) -> Entry:
        capability = _require(self._catalog, name)
        providers = strategy.providers(capability)
        matching = providers
        if selection is not EVERYTHING:
            matching = providers.matching(selection.matches)
        entry = splits.pick(self._catalog, capability, matching, strategy, place)
        if entry is None:
            raise _no_provider(name, len(providers.entries), len(providers.candidates))
        return entry

    def _may_ask_upstreams(self) -> bool:
        # A registry whose upstream this one is asks for the services here alone.
        return bool(self._registry.upstreams) and LOCAL_ONLY not in request.headers

    def _read_elsewhere(
        self,
        name: str,
        strategy: Strategy,
        selection: Filter,
        error: CapabilityNotFound | NoHealthyProvider,
    ) -> Response:
        """Return an upstream's provider; raise ``error``, with why, if none has one."""
        registry = self._registry
        if registry.view_health.problems():
            # Somebody healthy may well be here, unknown to this view.
            reasons = [NOT_ASKED]
        else:
            revision = self._catalog.revision
            upstreams = registry.upstreams
            found, reasons = registry.call(upstreams.find(name, strategy, selection))
            if found is not None:
                source, entry = found
                # Revisions of two registries have nothing to do with each other.
                tag = f"{source}-{entry.revision}"
                response = replies.read(lambda: entry.json, tag, revision)
                response.headers[SOURCE] = source
                return response
        raise type(error)("; ".join((error.detail, *reasons))) from None

    def read_split(self, name: str) -> Response:
        # A capability of this name was looked up here before there were splits.
        longer = f"{name}/split"
        if self._catalog.capability(longer) or self._catalog.departed(longer):
            return self.read_provider(longer)
        replies.query().finish()
        revision = self._catalog.revision
        stored = self._catalog.split(name)
        if stored is None:
            raise not_split(name)
        body = schema.encode(stored.split.groups)
        return replies.read(body, stored.revision, revision)

    def split(self, name: str) -> Response:
        groups = schema.parse_split(replies.body(), name)
        condition = replies.precondition()
        result = self._registry.call(self._splits.put(name, groups, condition))
        message = f"The calls of {name!r} are split"
        status = HTTPStatus.CREATED if result.created else HTTPStatus.OK
        return _split_written(result, "split", message, status)

    def end_split(self, name: str) -> Response:
        condition = replies.precondition()
        result = self._registry.call(self._splits.end(name, condition))
        message = f"The calls of {name!r} are no longer split"
        return _split_written(result, "ended", message)

    def list_splits(self) -> Response:
        query = replies.query(*PAGES)
        page = query.page()
        query.finish()
        revision, tag = self._catalog.revision, self._catalog.changed
        chosen, cursor = replies.cut(
            self._catalog.splits(), page, lambda stored: stored.split.capability
        )
        bodies = [_split(stored) for stored in chosen]
        body = replies.listing("splits", bodies, revision, cursor)
        return replies.read(body, tag, revision)

    def list_providers(self, name: str) -> Response:
        query = replies.query(*LISTS)
        selection, page, wait = query.filter(), query.page(), query.wait()
        query.finish()
        require_place(self._registry, wait)
        revision = self._catalog.revision
        capability = self._catalog.capability(name)
        tag = capability.revision if capability else self._catalog.departed(name) or 0
        stored = self._catalog.split(name)
        if stored is not None:
            # Somebody may come to offer it after it was split.
            tag = max(tag, stored.revision)

        def render() -> bytes:
            entries = capability.providers().by_id if capability else []
            split = stored.split if stored else None
            return replies.services(entries, selection, page, revision, split)

        return replies.read(render, tag, revision)

    def explain(self, name: str) -> Response:
        query = replies.query(*LISTS, *PREFERENCE)
        selection, page, wait = query.filter(), query.page(), query.wait()
        strategy = Strategy(prefer_healthy=query.prefer_healthy())
        query.finish()
        require_place(self._registry, wait)
        revision = self._catalog.revision
        capability = self._catalog.capability(name)
        tag = capability.revision if capability else self._catalog.departed(name)
        elsewhere = self._explain_elsewhere(name)
        if tag is None:
            error = _not_offered(name)
            raise CapabilityNotFound("; ".join((error.detail, *elsewhere)))
        stored = self._catalog.split(name)
        split = stored.split if stored else None
        if stored is not None:
            tag = max(tag, stored.revision)
        providers = strategy.providers(capability) if capability else Providers((), 0)
        chosen, cursor = replies.cut(providers.by_id, page, lambda entry: entry.id)
        explainer = Explainer(providers, selection)
        bodies = [_explanation(entry, explainer) for entry in chosen]
        body = replies.listing("providers", bodies, revision, cursor, split)
        # What is not of the store may change without a new revision.
        if not elsewhere and not any(entry.second_opinion for entry in chosen):
            return replies.read(body, tag, revision)
        if elsewhere:
            body = body[:-1] + b',"upstreams":%b}' % schema.encode(elsewhere)
        return replies.read(body, f"{tag}-{crc32(body)}", revision)

    def _explain_elsewhere(self, name: str) -> list[str]:
        if not self._may_ask_upstreams():
            return []
        return self._registry.call(self._registry.upstreams.explain(name))

    def list_capabilities(self) -> Response:
        query = replies.query(*LISTS)
        selection, page, wait = query.filter(), query.page(), query.wait()
        query.finish()
        require_place(self._registry, wait)
        revision, tag = self._catalog.revision, self._catalog.changed

        def render() -> bytes:
            # On the loop, in slices: many services with many capabilities take long,
            # and a thread would hold up all other calls for as long.
            offered = self._registry.call(offers(self._catalog, selection))
            items, cursor = replies.cut(offered, page, lambda item: item[0])
            bodies = [_summary(name, ids) for name, ids in items]
            return replies.listing("capabilities", bodies, revision, cursor)

        return replies.read(render, tag, revision)

    def discover_services(self) -> Response:
        query = replies.query(*NARROWED, *PREFERENCE, *NEAR)
        selection, prefer_healthy = query.filter(), query.prefer_healthy()
        place = query.near(request.headers.get(ZONE_HEADER))
        query.finish()
        demand = schema.parse_discovery(replies.body())
        revision, tag = self._catalog.revision, self._catalog.changed

        def from_caller(entry: Entry) -> int:
            return 0 if place is None else distance(self._catalog, entry, place)

        matches = self._registry.call(
            discover(self._catalog, demand, selection, from_caller, prefer_healthy)
        )
        bodies = [_match(match) for match in matches]
        return replies.read(replies.listing("matches", bodies, revision), tag, revision)


def _explanation(entry: Entry, explainer: Explainer) -> bytes:
    group, reasons = explainer.explain(entry)
    explanation = {
        "service_id": entry.id,
        "name": entry.name,
        "status": entry.status,
        "returned": not reasons,
        "reasons": reasons,
        **group,
    }
    if entry.second_opinion is not None:
        explanation["second_opinion"] = entry.second_opinion
    return schema.encode(explanation)


def _require(catalog: Catalog, name: str) -> Capability:
    capability = catalog.capability(name)
    if capability is not None:
        return capability
    if catalog.departed(name) is not None:
        raise _no_provider(name, 0, 0)
    raise _not_offered(name)


def _not_offered(name: str) -> CapabilityNotFound:
    return CapabilityNotFound(f"no service offers the capability {name!r}")


def _no_provider(name: str, total: int, candidates: int) -> NoHealthyProvider:
    if candidates:
        detail = f"no healthy provider of the capability {name!r} matches the filter"
    elif total:
        detail = f"the capability {name!r} has no healthy provider"
    else:
        detail = f"no service offers the capability {name!r} any more"
    return NoHealthyProvider(f"{detail}; GET /api/capabilities/{name}/explain says why")


def _summary(name: str, ids: list[str]) -> bytes:
    summary = {"capability": name, "providers": ids, "count": len(ids)}
    return schema.encode(summary)


def _match(match: Match) -> bytes:
    return b'{"service":%b,"match_score":%b,"provides_required":%b,%b}' % (
        match.entry.json,
        schema.encode(match.score),
        schema.encode(match.required),
        b'"provides_optional":' + schema.encode(match.optional),
    )


def _split(stored: StoredSplit) -> bytes:
    split = stored.split
    return schema.encode(
        {
            "capability": split.capability,
            "split": split.groups,
            "revision": stored.revision,
        }
    )


def _split_written(
    result: SplitResult,
    status: str,
    message: str,
    code: HTTPStatus = HTTPStatus.OK,
) -> Response:
    answer = {
        "status": status,
        "capability": result.split.capability,
        "split": result.split.groups,
        "revision": result.revision,
        "message": message,
    }
    return replies.reply(answer, code)
