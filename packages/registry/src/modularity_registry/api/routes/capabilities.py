"""Routes of capabilities: who provides them, and who should be called now."""

from flask import Blueprint, Response

from modularity_registry import schema
from modularity_registry.api import replies
from modularity_registry.api.query import FILTERS, PAGES, STRATEGY, WAIT
from modularity_registry.api.routes.events import wait_for_change
from modularity_registry.catalog.catalog import Capability, Catalog
from modularity_registry.catalog.selection import (
    EVERYTHING,
    Filter,
    Match,
    discover,
    pick_provider,
    why_not_returned,
)
from modularity_registry.errors import CapabilityNotFound, NoHealthyProvider
from modularity_registry.events import Interest
from modularity_registry.runtime import Registry

NARROWED = (*FILTERS, "metadata")
LISTS = (*NARROWED, *PAGES, *WAIT)


def routes(registry: Registry) -> Blueprint:
    """Return the routes under ``/api`` that start from a capability."""
    blueprint = Blueprint("capabilities", __name__, url_prefix="/api")
    catalog = registry.catalog

    @blueprint.get("/capabilities/<path:name>")
    def read_provider(name: str) -> Response:
        query = replies.query(*NARROWED, *STRATEGY)
        wanted, strategy = query.filter(), query.strategy()
        query.finish()
        revision = catalog.revision
        capability = _offered(catalog, name)
        providers = capability.providers()
        entry = pick_provider(strategy, wanted, providers, capability.turns)
        if entry is None:
            raise _nobody(name, len(providers.entries), len(providers.healthy))
        return replies.read(lambda: entry.json, entry.revision, revision)

    @blueprint.get("/capabilities/<path:name>/services")
    def list_providers(name: str) -> Response:
        query = replies.query(*LISTS)
        wanted, page, wait = query.filter(), query.page(), query.wait()
        query.finish()
        wait_for_change(registry, wait, Interest(frozenset((name,))), wanted)
        revision = catalog.revision
        capability = catalog.capability(name)
        tag = capability.revision if capability else catalog.departed(name) or 0

        def render() -> bytes:
            entries = capability.providers().by_id if capability else []
            return replies.services(entries, wanted, page, revision)

        return replies.read(render, tag, revision)

    @blueprint.get("/capabilities/<path:name>/explain")
    def explain(name: str) -> Response:
        query = replies.query(*LISTS)
        wanted, page, wait = query.filter(), query.page(), query.wait()
        query.finish()
        wait_for_change(registry, wait, Interest(frozenset((name,))), EVERYTHING)
        revision = catalog.revision
        capability = catalog.capability(name)
        tag = capability.revision if capability else catalog.departed(name)
        if tag is None:
            raise _never_offered(name)
        entries = capability.providers().by_id if capability else []
        chosen, cursor = replies.cut(entries, page, lambda each: each.id)
        items = []
        for entry in chosen:
            reasons = why_not_returned(entry, wanted)
            items.append(
                {
                    "service_id": entry.id,
                    "name": entry.service.registration.name,
                    "status": entry.status,
                    "returned": not reasons,
                    "reasons": reasons,
                }
            )
        bodies = [schema.encode(item) for item in items]
        body = replies.listing("providers", bodies, revision, cursor)
        return replies.read(body, tag, revision)

    @blueprint.get("/capabilities")
    def list_capabilities() -> Response:
        query = replies.query(*LISTS)
        wanted, page, wait = query.filter(), query.page(), query.wait()
        query.finish()
        wait_for_change(registry, wait, Interest(wanted.capabilities), wanted)
        revision, tag = catalog.revision, catalog.changed

        def render() -> bytes:
            found = ((each, _healthy(each, wanted)) for each in catalog.capabilities())
            offered = ((each.name, ids) for each, ids in found if ids)
            chosen, cursor = replies.cut(offered, page, lambda item: item[0])
            bodies = [_summary(name, ids) for name, ids in chosen]
            return replies.listing("capabilities", bodies, revision, cursor)

        return replies.read(render, tag, revision)

    @blueprint.post("/discover")
    def discover_services() -> Response:
        query = replies.query(*NARROWED)
        wanted = query.filter()
        query.finish()
        asked = schema.parse_discovery(replies.body())
        revision, tag = catalog.revision, catalog.changed
        bodies = [_match(each) for each in discover(catalog, asked, wanted)]
        return replies.read(replies.listing("matches", bodies, revision), tag, revision)

    return blueprint


def _offered(catalog: Catalog, name: str) -> Capability:
    capability = catalog.capability(name)
    if capability is not None:
        return capability
    if catalog.departed(name) is not None:
        raise _nobody(name, 0, 0)
    raise _never_offered(name)


def _never_offered(name: str) -> CapabilityNotFound:
    return CapabilityNotFound(f"nobody has ever offered the capability {name!r}")


def _nobody(name: str, known: int, healthy: int) -> NoHealthyProvider:
    if healthy:
        why = f"none of its {healthy} healthy providers passes the filter"
    elif known:
        why = f"none of its {known} providers is healthy now"
    else:
        why = "its last provider has unregistered"
    return NoHealthyProvider(
        f"the capability {name!r} is known, but {why};"
        f" GET /api/capabilities/{name}/explain says more"
    )


def _healthy(capability: Capability, wanted: Filter) -> list[str]:
    healthy = capability.providers().healthy
    return sorted(each.id for each in healthy if wanted.matches(each))


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
