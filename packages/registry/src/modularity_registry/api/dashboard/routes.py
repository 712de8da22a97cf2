"""Routes of the dashboard: one page and the files that it loads."""

from pathlib import Path

from flask import Blueprint, Response, abort

from modularity_registry import __version__
from modularity_registry.api import security_headers
from modularity_registry.api.static_files import File

STATIC = Path(__file__).with_name("static")
PAGE = "index.html"
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# The browser refuses to turn text into HTML or script, even if a script here tries.
HEADERS = security_headers.page(
    require_trusted_types_for="'script'", trusted_types="'none'"
)
# Without it the page would have to call /api/whoami, which a registry without tokens
# answers with 404, and the browser would log that as an error.
_OPEN, _WITH_TOKENS = b'data-access="open"', b'data-access="tokens"'
_VERSION = b'<span id="version">%b</span>'


def routes(has_tokens: bool) -> Blueprint:
    """Return ``/`` and ``/assets/<name>``; the page is told whether tokens exist."""
    blueprint = Blueprint("dashboard", __name__)
    assets = load(has_tokens)

    @blueprint.get("/")
    def page() -> Response:
        return assets[PAGE].reply(HEADERS)

    @blueprint.get("/assets/<path:name>")
    def asset(name: str) -> Response:
        if name not in assets:
            abort(404)
        return assets[name].reply(HEADERS)

    return blueprint


def load(has_tokens: bool = False) -> dict[str, File]:
    """Return all files of the dashboard by path below ``static``."""
    assets = {}
    for path in STATIC.rglob("*"):
        if path.suffix in KINDS:
            name, data = path.relative_to(STATIC).as_posix(), path.read_bytes()
            if name == PAGE:
                data = data.replace(_VERSION % b"0", _VERSION % __version__.encode())
            if name == PAGE and has_tokens:
                data = data.replace(_OPEN, _WITH_TOKENS)
            assets[name] = File.of(data, KINDS[path.suffix])
    return assets
