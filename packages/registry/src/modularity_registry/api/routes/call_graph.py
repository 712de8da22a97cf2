"""Routes of the call graph: services report calls, readers get connections."""

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
from modularity_registry.schema.replies.registry import (
    Connections,
    Consumed,
    Edge,
    Graph,
    Node,
    Provided,
    Recorded,
    RecordedCalls,
)


def routes(registry: Registry) -> Blueprint:
    """Return the routes under ``/api`` for invocations, connections and the graph."""
    handlers = _Handlers(registry)
    return blueprint_of(
        "calls",
        "/api",
        ("POST /track/invocation", handlers.track),
        ("POST /track/invocations", handlers.track_several),
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
        return replies.reply(Recorded("Invocation tracked"))

    def track_several(self) -> Response:
        calls = schema.parse_invocations(replies.body())
        providers = dict.fromkeys(call.provider_id for call in calls)
        unknown = [each for each in providers if self._catalog.service(each) is None]
        if unknown:
            left_out = frozenset(unknown)
            calls = [call for call in calls if call.provider_id not in left_out]
        self._traffic.note(*calls)
        self._hub.invoked(*calls)
        message = f"{len(calls)} invocation{'s' * (len(calls) != 1)} recorded"
        return replies.reply(RecordedCalls("ok", message, len(calls), unknown))

    def connections(self, service_id: str) -> Response:
        replies.query().finish()
        catalog = self._catalog
        revision = catalog.revision
        entry, pairs = catalog.service(service_id), self._traffic.pairs(service_id)
        if not pairs:
            catalog.require(service_id)
        answer = Connections(
            service_id,
            entry.name if entry else None,
            consuming=[
                Consumed(*_connection(pair.provider_id, pair, catalog))
                for pair in pairs
                if pair.consumer_id == service_id
            ],
            providing=[
                Provided(*_connection(pair.consumer_id, pair, catalog))
                for pair in pairs
                if pair.provider_id == service_id
            ],
        )
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
        answer = Graph(list(nodes.values()), [_edge(pair) for pair in pairs])
        # Rates fade without any call.
        rate = round(100 * sum(pair.rate for pair in pairs))
        tag = f"{_tag(pairs, revision)}-{rate}"
        return replies.read(schema.encode(answer), tag, revision)


def _tag(pairs: list[Pair], revision: int) -> str:
    return f"{revision}-{len(pairs)}-{sum(pair.calls for pair in pairs)}"


def _connection(
    service_id: str, pair: Pair, catalog: Catalog
) -> tuple[str, str | None, str, int, float, float | None, str, str]:
    """Return the fields of a `Consumed` or `Provided`, in their order."""
    entry = catalog.service(service_id)
    return (
        service_id,
        entry.name if entry else None,
        pair.capability,
        pair.calls,
        pair.success_rate,
        pair.avg_latency_ms,
        rfc3339(pair.first_seen),
        rfc3339(pair.last_seen),
    )


def _node(entry: Entry) -> Node:
    return Node(entry.id, entry.name, entry.status, registered=True)


def _caller(service_id: str, catalog: Catalog) -> Node:
    """A caller that the filter left out, or that is not registered at all."""
    entry = catalog.service(service_id)
    if entry is not None:
        return _node(entry)
    return Node(service_id, None, None, registered=False)


def _edge(pair: Pair) -> Edge:
    return Edge(
        pair.consumer_id,
        pair.provider_id,
        pair.capability,
        pair.calls,
        pair.avg_latency_ms,
        pair.success_rate,
        pair.rate,
    )
