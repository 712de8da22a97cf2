"""Routes of the dashboard: one page and what it loads, all from this package."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from flask import Blueprint, Response, abort, request

from modularity_registry.web import headers

PAGE = "index.html"
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nor does any script here make a script or HTML out of text: the browser sees to it.
HEADERS = headers.page(require_trusted_types_for="'script'", trusted_types="'none'")


# Else it would have to ask, and the browser would log that there is no such call.
_OPEN, _WITH_TOKENS = b'data-access="open"', b'data-access="tokens"'


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    data: bytes
    kind: str
    tag: str


def routes(has_tokens: bool) -> Blueprint:
    """Return ``/`` and ``/assets/<name>``; the page knows whether there are tokens."""
    blueprint = Blueprint("dashboard", __name__)
    assets = load(has_tokens)

    @blueprint.get("/")
    def page() -> Response:
        return _send(assets[PAGE])

    @blueprint.get("/assets/<name>")
    def asset(name: str) -> Response:
        if name not in assets:
            abort(404)
        return _send(assets[name])

    return blueprint


def load(has_tokens: bool = False) -> dict[str, Asset]:
    """Return all files of the dashboard by name."""
    found = {}
    for file in files(__package__).joinpath("static").iterdir():
        kind = KINDS.get(f".{file.name.rpartition('.')[2]}")
        if kind is not None:
            data = file.read_bytes()
            if has_tokens and file.name == PAGE:
                data = data.replace(_OPEN, _WITH_TOKENS)
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
