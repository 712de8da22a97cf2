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
from modularity_registry.api.openapi.operation import WATCHING, Taken, call, read
from modularity_registry.api.openapi.operation import shown as said
from modularity_registry.api.openapi.parameters import FILTERS
from modularity_registry.api.openapi.schemas import registry, requests

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
        "description": "The stream; it goes on until somebody ends it. The schema is"
        " that of each event. A comment line keeps a silent stream open.",
        "headers": {
            "Cache-Control": header(
                "A stream is not to be kept.", {"type": "string", "const": "no-store"}
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
    """Return the replies with a file, by media type and its beginning."""
    tag = header("The file's tag, for `If-None-Match`.", {"type": "string"})
    files: Json = {}
    for kind, example in kinds.items():
        schema = {"type": "object" if kind == JSON else "string"}
        files |= content(schema, example, kind)
    return {
        "200": {"description": description, "headers": {"ETag": tag}, "content": files},
        "304": {"description": "It is the same as before.", "headers": {"ETag": tag}},
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
            "Streams changes as they happen",
            _EVENTS,
            ("invalid_request", *WATCHING),
            ("WatchedCapability", "WatchedService", "LastEventId"),
            description="Server-Sent Events. A browser's `EventSource` resumes by"
            " itself, with nothing lost and nothing twice.",
        )
    },
    "/api/track/invocation": {
        "post": call(
            "track_invocation",
            "Calls between services",
            "Reports a call of one service to another",
            {
                "200": said(
                    "It was noted.",
                    "Recorded",
                    example_of(registry.SCHEMAS["Recorded"]),
                )
            },
            ("invalid_request", "service_not_found"),
            (),
            Taken("Invocation", example_of(requests.SCHEMAS["Invocation"])),
        )
    },
    "/api/connections/{service_id}": {
        "get": call(
            "read_connections",
            "Calls between services",
            "Shows whom a service calls and who calls it",
            read(
                "Its connections.",
                "Connections",
                example_of(registry.SCHEMAS["Connections"]),
            ),
            ("invalid_request", "service_not_found"),
            ("ServiceId", "IfNoneMatch"),
        )
    },
    "/api/graph": {
        "get": call(
            "read_graph",
            "Calls between services",
            "Shows who calls whom",
            read("The graph.", "Graph", example_of(registry.SCHEMAS["Graph"])),
            ("invalid_request",),
            (*FILTERS, "IfNoneMatch"),
            description="Filters choose the providers.",
        )
    },
    "/api/stats": {
        "get": call(
            "read_stats",
            "The registry",
            "Shows the registry in numbers",
            read("The numbers.", "Stats", example_of(registry.SCHEMAS["Stats"])),
            ("invalid_request",),
            ("IfNoneMatch",),
        )
    },
    "/api/sd/prometheus": {
        "get": call(
            "discover_targets",
            "The registry",
            "Tells Prometheus whom to scrape",
            read("The targets.", "Targets", [example_of(registry.SCHEMAS["Target"])]),
            ("invalid_request",),
            (*FILTERS, "IfNoneMatch"),
            description="For `http_sd_configs`.",
        )
    },
    "/metrics": {
        "get": call(
            "read_metrics",
            "The registry",
            "Shows what is measured, for Prometheus",
            _METRICS,
        )
    },
    "/health": {
        "get": call(
            "read_health",
            "The registry",
            "Says that the process lives",
            {
                "200": said(
                    "It lives, degraded or not.",
                    "Health",
                    example_of(registry.SCHEMAS["Health"], "stale_seconds", "reasons"),
                )
            },
        )
    },
    "/ready": {
        "get": call(
            "read_readiness",
            "The registry",
            "Says that it may take traffic",
            {"200": said("It may.", "Ready", example_of(registry.SCHEMAS["Ready"]))},
            ("not_ready",),
        )
    },
    "/openapi.json": {
        "get": call(
            "read_document",
            "Pages",
            "This document",
            _page("The API in OpenAPI 3.1.", {JSON: {"openapi": "3.1.0"}}),
            (),
            ("IfNoneMatch",),
        )
    },
    "/docs": {
        "get": call(
            "show_document",
            "Pages",
            "This document as a page, to read and to try out",
            _page("The page.", _HTML),
            (),
            ("IfNoneMatch",),
        )
    },
    "/docs/{name}": {
        "get": call(
            "read_document_asset",
            "Pages",
            "What that page is made of",
            _page("The file.", _FILES),
            ("not_found",),
            ("AssetName", "IfNoneMatch"),
        )
    },
    "/": {
        "get": call(
            "show_dashboard",
            "Pages",
            "The dashboard",
            _page("The page.", _HTML),
            (),
            ("IfNoneMatch",),
        )
    },
    "/assets/{name}": {
        "get": call(
            "read_dashboard_asset",
            "Pages",
            "What the dashboard is made of",
            _page("The file.", _FILES),
            ("not_found",),
            ("AssetName", "IfNoneMatch"),
        )
    },
}
"""The other calls, by path and method."""
