"""Which web pages may read and write.

The browser itself limits reads, by the CORS headers (Fetch, 3.3). It does not limit
writes: any page can send a form or a call without a body, and only the reply is
withheld. So the registry refuses a write from a page of another origin.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Flask, request
from flask_cors import CORS

from modularity_registry.api.request_context import REQUEST_ID
from modularity_registry.errors import OriginRefused

# What scripts of other pages may read: not the registry's own pages, nor its metrics.
SHARED = r"/(api/.*|health|ready|openapi\.json)\Z"

READABLE = (
    "ETag",
    "X-Registry-Revision",
    "X-Registry-Stale",
    "X-Registry-Source",
    "Retry-After",
    REQUEST_ID,
)
SENDABLE = (
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "Traceparent",
    "Tracestate",
    "X-Owner-Key",
    "X-Zone",
    REQUEST_ID,
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
PREFLIGHT_SECONDS = 600

# Characters of an origin that an error repeats: more than a real one has.
_SHOWN = 300

_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
# Every file and frame without an origin of its own sends "null".
_ANY = re.compile(r"(?!null\Z).+\Z", re.IGNORECASE)


def install(app: Flask, allowed: Sequence[str]) -> None:
    """Let pages of the ``allowed`` origins call ``app``, and no others write."""
    origins = patterns(allowed)
    CORS(
        app,
        resources={re.compile(SHARED): {}},
        origins=origins,
        methods=list(METHODS),
        allow_headers=list(SENDABLE),
        expose_headers=list(READABLE),
        max_age=PREFLIGHT_SECONDS,
        supports_credentials=False,
        always_send=False,  # only browsers need the headers
        vary_header=False,  # every reply has it already
    )

    @app.before_request
    def refuse_foreign_writes() -> None:
        refuse_foreign_write(request.environ, origins)


def patterns(allowed: Sequence[str]) -> list[re.Pattern[str]]:
    """Return what the ``allowed`` origins match."""
    return [
        # As a pattern of our own: with brackets in it, as in http://[::1]:3000, the
        # library would take the text for one.
        _ANY if origin == "*" else re.compile(re.escape(origin) + r"\Z", re.IGNORECASE)
        for origin in allowed
    ]


def of_read(
    environ: Mapping[str, Any], allowed: Sequence[re.Pattern[str]]
) -> list[tuple[str, str]]:
    """Return the headers that a reply to a read has in addition, as `install` does."""
    origin = environ.get("HTTP_ORIGIN")
    if not origin or not any(pattern.match(origin) for pattern in allowed):
        return []
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", ", ".join(sorted(READABLE))),
    ]


def refuse_foreign_write(
    environ: Mapping[str, Any], allowed: Sequence[re.Pattern[str]]
) -> None:
    """Raise `OriginRefused` for what `is_foreign_write`."""
    if is_foreign_write(environ, allowed):
        raise OriginRefused(_detail(environ))


def is_foreign_write(
    environ: Mapping[str, Any], allowed: Sequence[re.Pattern[str]]
) -> bool:
    """Say whether a request of such a page may change something: see `is_foreign`."""
    return environ["REQUEST_METHOD"] not in _HARMLESS and is_foreign(environ, allowed)


def is_foreign(environ: Mapping[str, Any], allowed: Sequence[re.Pattern[str]]) -> bool:
    """Say whether a request is from a web page that is neither ours nor allowed.

    The browser's `Sec-Fetch-Site` comes first: behind a proxy the registry can't know
    the name and scheme of its own page. Browsers omit it without TLS; then `Origin`
    must be the address that was called. Programs send neither header.
    """
    origin = environ.get("HTTP_ORIGIN")
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if origin is not None and any(pattern.match(origin) for pattern in allowed):
        return False
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and origin.lower() != _own_origin(environ)


def _own_origin(environ: Mapping[str, Any]) -> str | None:
    scheme, host = environ["wsgi.url_scheme"], environ.get("HTTP_HOST")
    return f"{scheme}://{host}".lower() if host else None


def _detail(environ: Mapping[str, Any]) -> str:
    origin = environ.get("HTTP_ORIGIN")
    if origin == "null":
        return "web pages without an origin of their own may not change this registry"
    whose = "another site" if origin is None else f"the origin {origin[:_SHOWN]!r}"
    return (
        f"web pages of {whose} may not change this registry; allow them with"
        " REGISTRY_ALLOWED_ORIGINS"
    )
