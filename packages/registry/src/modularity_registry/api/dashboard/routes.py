"""Routes of the dashboard: one page and the files that it loads."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from flask import Blueprint, Response, abort

from modularity_registry.api import security_headers
from modularity_registry.api.static_files import File

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
    for name, file in _files(files(__package__).joinpath("static")):
        data = file.read_bytes()
        if has_tokens and name == PAGE:
            data = data.replace(_OPEN, _WITH_TOKENS)
        assets[name] = File.of(data, KINDS[f".{name.rpartition('.')[2]}"])
    return assets


def _files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            yield from _files(entry, f"{name}/")
        elif f".{name.rpartition('.')[2]}" in KINDS:
            yield name, entry
