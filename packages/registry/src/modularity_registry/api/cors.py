"""Which web pages may do what: a browser calls for whichever page it has open.

Reading is bounded by the browser itself, by what CORS tells it (Fetch, 3.3). A write
is not: a form or a call without a body is sent from any page, and only its reply is
withheld. So a write from a page of elsewhere is refused here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Flask, request
from flask_cors import CORS

from modularity_registry.api.request_context import REQUEST_ID
from modularity_registry.errors import OriginRefused

# Where a program in a page has something to read. The registry's own pages and its
# metrics are for nobody else's.
SHARED = r"/(api/.*|health|ready|openapi\.json)\Z"

READABLE = (
    "ETag",
    "X-Registry-Revision",
    "X-Registry-Stale",
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
    REQUEST_ID,
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
PREFLIGHT_SECONDS = 600

# Characters of an origin that a refusal repeats: more than any has that is meant.
_SHOWN = 300

_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
# Files and frames without an origin of their own all say "null": it is nobody's name.
_ANY = re.compile(r"(?!null\Z).+\Z", re.IGNORECASE)


def install(app: Flask, allowed: Sequence[str]) -> None:
    """Let pages of the ``allowed`` origins call ``app``, and no others write."""
    origins = [
        # As a pattern of our own: with brackets in it, as in http://[::1]:3000, the
        # library would take the text for one.
        _ANY if each == "*" else re.compile(re.escape(each) + r"\Z", re.IGNORECASE)
        for each in allowed
    ]
    CORS(
        app,
        resources={re.compile(SHARED): {}},
        origins=origins,
        methods=list(METHODS),
        allow_headers=list(SENDABLE),
        expose_headers=list(READABLE),
        max_age=PREFLIGHT_SECONDS,
        supports_credentials=False,
        always_send=False,  # nothing to say to who isn't a browser
        vary_header=False,  # every reply says so already
    )

    @app.before_request
    def refuse_strangers() -> None:
        if request.method not in _HARMLESS and is_foreign(request.environ, origins):
            raise OriginRefused(_said(request.environ))


def is_foreign(environ: Mapping[str, Any], allowed: Sequence[re.Pattern[str]]) -> bool:
    """Say whether a request is from a web page that is neither ours nor allowed.

    The browser's own word on it (`Sec-Fetch-Site`) comes first: a proxy may hide from
    us under which name and scheme our page was asked for. Browsers leave it out where
    there is no TLS; there `Origin` has to be the address that was asked. Programs send
    neither, and are no page.
    """
    origin = environ.get("HTTP_ORIGIN")
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if origin is not None and any(each.match(origin) for each in allowed):
        return False
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and origin.lower() != _own(environ)


def _own(environ: Mapping[str, Any]) -> str | None:
    scheme, host = environ["wsgi.url_scheme"], environ.get("HTTP_HOST")
    return f"{scheme}://{host}".lower() if host else None


def _said(environ: Mapping[str, Any]) -> str:
    origin = environ.get("HTTP_ORIGIN")
    if origin == "null":
        return "web pages without an origin of their own may not change anything here"
    whose = "another site" if origin is None else f"the origin {origin[:_SHOWN]!r}"
    return (
        f"web pages of {whose} may not change anything here; allow theirs with"
        " REGISTRY_ALLOWED_ORIGINS"
    )
