"""Routes of the call graph: services report calls, readers get connections."""

from typing import Any

from flask import Blueprint, Response

from modularity_registry import schema
from modularity_registry.api import replies
from modularity_registry.api.query import FILTERS
from modularity_registry.api.routes import blueprint_of
from modularity_registry.catalog.call_graph import Pair
from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.entry import Entry
from modularity_registry.clock import rfc3339
from modularity_registry.runtime import Registry


def routes(registry: Registry) -> Blueprint:
    """Return the routes under ``/api`` for invocations, connections and the graph."""
    handlers = _Handlers(registry)
    return blueprint_of(
        "calls",
        "/api",
        ("POST /track/invocation", handlers.track),
        ("GET /connections/<service_id>", handlers.connections),
        ("GET /graph", handlers.graph),
    )


class _Handlers:
    def __init__(self, registry: Registry) -> None:
        self._catalog = registry.catalog
        self._traffic = registry.traffic
        self._hub = registry.hub

    def track(self) -> Response:
        call = schema.parse_invocation(replies.body())
        self._catalog.require(call.provider_id)
        self._traffic.note(call)
        self._hub.invoked(call)
        return replies.reply({"message": "Invocation recorded"})

    def connections(self, service_id: str) -> Response:
        replies.query().finish()
        catalog = self._catalog
        revision = catalog.revision
        entry, pairs = catalog.service(service_id), self._traffic.pairs(service_id)
        if not pairs:
            catalog.require(service_id)
        answer = {
            "service_id": service_id,
            "service_name": entry.name if entry else None,
            "consuming": [
                _connection("provider", pair.provider_id, pair, catalog)
                for pair in pairs
                if pair.consumer_id == service_id
            ],
            "providing": [
                _connection("consumer", pair.consumer_id, pair, catalog)
                for pair in pairs
                if pair.provider_id == service_id
            ],
        }
        return replies.read(schema.encode(answer), _tag(pairs, revision), revision)

    def graph(self) -> Response:
        query = replies.query(*FILTERS, "metadata")
        selection = query.filter()
        query.finish()
        revision, pairs = self._catalog.revision, self._traffic.pairs()
        nodes = {
            entry.id: _node(entry)
            for entry in self._catalog.providing(selection.capabilities)
            if selection.matches(entry)
        }
        pairs = [pair for pair in pairs if pair.provider_id in nodes]
        for pair in pairs:
            if pair.consumer_id not in nodes:
                nodes[pair.consumer_id] = _caller(pair.consumer_id, self._catalog)
        answer = {
            "nodes": list(nodes.values()),
            "edges": [_edge(pair) for pair in pairs],
        }
        return replies.read(schema.encode(answer), _tag(pairs, revision), revision)


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
