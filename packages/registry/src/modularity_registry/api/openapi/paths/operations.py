"""The calls about events, calls between services, and the registry itself."""

from typing import Any

from modularity_registry.api.openapi.builders import (
    JSON,
    Json,
    content,
    example_of,
    header,
    ref,
)
from modularity_registry.api.openapi.operation import (
    WATCHING,
    RequestBody,
    call,
    read,
    reply,
)
from modularity_registry.api.openapi.parameters import FILTERS
from modularity_registry.api.openapi.schemas.replies import SCHEMAS

_STREAM = (
    "retry: 1000\n"
    "id: 3f9c0d-7\n"
    "event: connected\n"
    'data: {"event":"connected","timestamp":"2026-10-17T03:04:31.123456Z",'
    '"revision":7,"data":{"epoch":"3f9c0d"}}\n'
    "\n"
)
_STREAMED = content(ref("StreamedEvent"), _STREAM, "text/event-stream")
_EVENTS = {
    "200": {
        "description": "The stream, open until one side closes it. The schema is"
        " that of each event. Comment lines keep the stream open; their `id` resumes"
        " it as an event's does.",
        "headers": {
            "Cache-Control": header(
                "Caches must not store the stream.",
                {"type": "string", "const": "no-store"},
            )
        },
        "content": _STREAMED,
    }
}
_SAMPLE = (
    "# HELP registry_services Services by status.\n"
    "# TYPE registry_services gauge\n"
    'registry_services{status="healthy"} 2.0\n'
)
_METRICS = {
    "200": {
        "description": "The metrics, in Prometheus' text format.",
        "content": content({"type": "string"}, _SAMPLE, "text/plain"),
    }
}


def _page(description: str, kinds: dict[str, Any]) -> dict[str, Json]:
    """Return the replies with a file; ``kinds`` are examples by media type."""
    tag = header("The file's tag, for `If-None-Match`.", {"type": "string"})
    files: Json = {}
    for kind, example in kinds.items():
        schema = {"type": "object" if kind == JSON else "string"}
        files |= content(schema, example, kind)
    return {
        "200": {"description": description, "headers": {"ETag": tag}, "content": files},
        "304": {"description": "The file has not changed.", "headers": {"ETag": tag}},
    }


_HTML = {"text/html": "<!doctype html>…"}
_FILES = {
    "text/javascript": "export …",
    "text/css": "body { … }",
    "text/html": "<!doctype html>…",
    "image/svg+xml": "<svg …",
    "image/png": "…",
}

PATHS: dict[str, Json] = {
    "/api/events": {
        "get": call(
            "watch",
            "Events",
            "Stream changes as they happen",
            _EVENTS,
            ("invalid_request", *WATCHING),
            ("WatchedCapability", "WatchedService", "EventType", "LastEventId"),
            description="Server-Sent Events. A browser's `EventSource` resumes by"
            " itself, without losing or repeating an event.",
        )
    },
    "/api/track/invocation": {
        "post": call(
            "track_invocation",
            "Calls between services",
            "Report a call from one service to another",
            {"200": reply("The registry recorded the call.", "Recorded")},
            ("invalid_request", "service_not_found"),
            (),
            RequestBody("Invocation"),
        )
    },
    "/api/track/invocations": {
        "post": call(
            "track_invocations",
            "Calls between services",
            "Report several calls between services",
            {
                "200": reply(
                    "The registry recorded the calls to registered providers.",
                    "RecordedCalls",
                )
            },
            ("invalid_request",),
            (),
            RequestBody("Invocations"),
            "A call whose provider is not registered is left out, and the others are"
            " recorded. If one is malformed, none is recorded.",
        )
    },
    "/api/connections/{service_id}": {
        "get": call(
            "read_connections",
            "Calls between services",
            "Show a service's callers and the services that it calls",
            read("The service's connections.", "Connections"),
            ("invalid_request", "service_not_found"),
            ("ServiceId", "IfNoneMatch"),
        )
    },
    "/api/graph": {
        "get": call(
            "read_graph",
            "Calls between services",
            "Show which services call which",
            read("The graph.", "Graph"),
            ("invalid_request",),
            (*FILTERS, "IfNoneMatch"),
            description="Filters apply to the services that are called.",
        )
    },
    "/api/stats": {
        "get": call(
            "read_stats",
            "The registry",
            "Count what is registered and running",
            read("The counts.", "Stats"),
            ("invalid_request",),
            ("IfNoneMatch",),
        )
    },
    "/api/namespaces": {
        "get": call(
            "list_namespaces",
            "The registry",
            "List the namespaces that you may read",
            {"200": reply("The namespaces, the default one first.", "Namespaces")},
            ("invalid_request", "unauthorized", "forbidden"),
        )
    },
    "/api/sd/prometheus": {
        "get": call(
            "discover_targets",
            "The registry",
            "List the targets for Prometheus to scrape",
            read("The targets.", "Targets"),
            ("invalid_request",),
            (*FILTERS, "IfNoneMatch"),
            description="For `http_sd_configs`.",
        )
    },
    "/metrics": {
        "get": call(
            "read_metrics",
            "The registry",
            "Show the registry's metrics for Prometheus",
            _METRICS,
        )
    },
    "/health": {
        "get": call(
            "read_health",
            "The registry",
            "Check that the process is running",
            {
                "200": reply(
                    "The process is running, degraded or not.",
                    "Health",
                    example_of(SCHEMAS["Health"], "stale_seconds", "reasons"),
                )
            },
        )
    },
    "/ready": {
        "get": call(
            "read_readiness",
            "The registry",
            "Check that the registry can take traffic",
            {"200": reply("The registry can take traffic.", "Ready")},
            ("not_ready",),
        )
    },
    "/openapi.json": {
        "get": call(
            "read_document",
            "Pages",
            "Read this document",
            _page("The API in OpenAPI 3.1.", {JSON: {"openapi": "3.1.0"}}),
            (),
            ("IfNoneMatch",),
        )
    },
    "/docs": {
        "get": call(
            "show_document",
            "Pages",
            "Show this document as a page, to read and try out",
            _page("The page.", _HTML),
            (),
            ("IfNoneMatch",),
        )
    },
    "/docs/{name}": {
        "get": call(
            "read_document_asset",
            "Pages",
            "Read a file of that page",
            _page("The file.", _FILES),
            ("not_found",),
            ("AssetName", "IfNoneMatch"),
        )
    },
    "/": {
        "get": call(
            "show_dashboard",
            "Pages",
            "Show the dashboard",
            _page("The page.", _HTML),
            (),
            ("IfNoneMatch",),
        )
    },
    "/assets/{name}": {
        "get": call(
            "read_dashboard_asset",
            "Pages",
            "Read a file of the dashboard",
            _page("The file.", _FILES),
            ("not_found",),
            ("AssetName", "IfNoneMatch"),
        )
    },
}
"""The other calls, by path and method."""
