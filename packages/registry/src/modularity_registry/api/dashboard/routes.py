"""Routes of the dashboard: one page and what it loads, all from this package."""

from importlib.resources import files

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
# Nor does any script here make a script or HTML out of text: the browser sees to it.
HEADERS = security_headers.page(
    require_trusted_types_for="'script'", trusted_types="'none'"
)


# Else it would have to ask, and the browser would log that there is no such call.
_OPEN, _WITH_TOKENS = b'data-access="open"', b'data-access="tokens"'


def routes(has_tokens: bool) -> Blueprint:
    """Return ``/`` and ``/assets/<name>``; the page knows whether there are tokens."""
    blueprint = Blueprint("dashboard", __name__)
    assets = load(has_tokens)

    @blueprint.get("/")
    def page() -> Response:
        return assets[PAGE].reply(HEADERS)

    @blueprint.get("/assets/<name>")
    def asset(name: str) -> Response:
        if name not in assets:
            abort(404)
        return assets[name].reply(HEADERS)

    return blueprint


def load(has_tokens: bool = False) -> dict[str, File]:
    """Return all files of the dashboard by name."""
    found = {}
    for file in files(__package__).joinpath("static").iterdir():
        kind = KINDS.get(f".{file.name.rpartition('.')[2]}")
        if kind is not None:
            data = file.read_bytes()
            if has_tokens and file.name == PAGE:
                data = data.replace(_OPEN, _WITH_TOKENS)
            found[file.name] = File.of(data, kind)
    return found
