"""Routes about who calls whom: what services report, and what comes of it."""

from typing import Any

from flask import Blueprint, Response

from modularity_registry import schema
from modularity_registry.api import replies
from modularity_registry.api.query import FILTERS
from modularity_registry.catalog.call_graph import Pair
from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.entry import Entry
from modularity_registry.clock import rfc3339
from modularity_registry.runtime import Registry


def routes(registry: Registry) -> Blueprint:
    """Return the routes under ``/api`` for invocations, connections and the graph."""
    blueprint = Blueprint("calls", __name__, url_prefix="/api")
    catalog, traffic = registry.catalog, registry.traffic

    @blueprint.post("/track/invocation")
    def track() -> Response:
        call = schema.parse_invocation(replies.body())
        catalog.require(call.provider_id)
        traffic.note(call)
        registry.hub.invoked(call)
        return replies.reply({"message": "Invocation recorded"})

    @blueprint.get("/connections/<service_id>")
    def connections(service_id: str) -> Response:
        replies.query().finish()
        revision = catalog.revision
        entry, pairs = catalog.service(service_id), traffic.pairs(service_id)
        if not pairs:
            catalog.require(service_id)
        consuming = [
            _connection("provider", pair.provider_id, pair, catalog)
            for pair in pairs
            if pair.consumer_id == service_id
        ]
        providing = [
            _connection("consumer", pair.consumer_id, pair, catalog)
            for pair in pairs
            if pair.provider_id == service_id
        ]
        answer = {
            "service_id": service_id,
            "service_name": entry.name if entry else None,
            "consuming": consuming,
            "providing": providing,
        }
        return replies.read(schema.encode(answer), _tag(pairs, revision), revision)

    @blueprint.get("/graph")
    def graph() -> Response:
        query = replies.query(*FILTERS, "metadata")
        wanted = query.filter()
        query.finish()
        revision, pairs = catalog.revision, traffic.pairs()
        nodes = {
            entry.id: _node(entry)
            for entry in catalog.providing(wanted.capabilities)
            if wanted.matches(entry)
        }
        shown = [pair for pair in pairs if pair.provider_id in nodes]
        for pair in shown:
            if pair.consumer_id not in nodes:
                nodes[pair.consumer_id] = _caller(pair.consumer_id, catalog)
        answer = {
            "nodes": list(nodes.values()),
            "edges": [_edge(each) for each in shown],
        }
        return replies.read(schema.encode(answer), _tag(shown, revision), revision)

    return blueprint


def _tag(pairs: list[Pair], revision: int) -> str:
    return f"{revision}-{len(pairs)}-{sum(pair.calls for pair in pairs)}"


def _connection(
    side: str, service_id: str, pair: Pair, catalog: Catalog
) -> dict[str, Any]:
    entry = catalog.service(service_id)
    return {
        f"{side}_id": service_id,
        f"{side}_name": entry.name if entry else None,
        "capability": pair.capability,
        "request_count": pair.calls,
        "success_rate": pair.success_rate,
        "avg_latency_ms": pair.avg_latency_ms,
        "first_seen": rfc3339(pair.first_seen),
        "last_seen": rfc3339(pair.last_seen),
    }


def _node(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "name": entry.name,
        "status": entry.status,
        "registered": True,
    }


def _caller(service_id: str, catalog: Catalog) -> dict[str, Any]:
    """A caller that the filter left out, or that is not registered at all."""
    entry = catalog.service(service_id)
    if entry is not None:
        return _node(entry)
    return {"id": service_id, "name": None, "status": None, "registered": False}


def _edge(pair: Pair) -> dict[str, Any]:
    return {
        "from": pair.consumer_id,
        "to": pair.provider_id,
        "capability": pair.capability,
        "weight": pair.calls,
        "avg_latency_ms": pair.avg_latency_ms,
        "success_rate": pair.success_rate,
    }
