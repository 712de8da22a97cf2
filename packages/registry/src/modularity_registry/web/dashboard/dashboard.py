"""Routes of the dashboard: one page and what it loads, all from this package."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from flask import Blueprint, Response, abort, request

PAGE = "index.html"
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    # Nothing but what comes from here; no script and no style within the page.
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Kept, but asked for again each time: a new version must not meet an old half.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    data: bytes
    kind: str
    tag: str


def routes() -> Blueprint:
    """Return ``/`` and ``/assets/<name>``."""
    blueprint = Blueprint("dashboard", __name__)
    assets = load()

    @blueprint.get("/")
    def page() -> Response:
        return _send(assets[PAGE])

    @blueprint.get("/assets/<name>")
    def asset(name: str) -> Response:
        if name not in assets:
            abort(404)
        return _send(assets[name])

    return blueprint


def load() -> dict[str, Asset]:
    """Return all files of the dashboard by name."""
    found = {}
    for file in files(__package__).joinpath("static").iterdir():
        kind = KINDS.get(f".{file.name.rpartition('.')[2]}")
        if kind is not None:
            data = file.read_bytes()
            found[file.name] = Asset(data, kind, hashlib.sha256(data).hexdigest()[:20])
    return found


def _send(asset: Asset) -> Response:
    if request.if_none_match.contains_weak(asset.tag):
        response = Response(status=304)
        del response.headers["Content-Type"]
    else:
        response = Response(asset.data, content_type=asset.kind)
    response.headers["ETag"] = f'"{asset.tag}"'
    response.headers.update(HEADERS)
    return response
