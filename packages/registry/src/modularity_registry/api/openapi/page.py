"""Routes of the document and of the page that shows it, all from this machine."""

from functools import lru_cache
from importlib.resources import files

from flask import Blueprint, Response, abort

from modularity_registry import schema
from modularity_registry.api import security_headers
from modularity_registry.api.openapi.builders import JSON
from modularity_registry.api.openapi.document import document
from modularity_registry.api.static_files import File
from modularity_registry.model.rights import Right

_SCRIPT = "text/javascript; charset=utf-8"
_STYLE = "text/css; charset=utf-8"
# The page's files by name: the package that has them, the folder in it, their kind.
_OWN = (__package__, "static")
_SWAGGER_UI = ("flask_swagger_ui", "dist")
_FILES: dict[str, tuple[tuple[str, str], str]] = {
    "index.html": (_OWN, "text/html; charset=utf-8"),
    "start.js": (_OWN, _SCRIPT),
    "page.css": (_OWN, _STYLE),
    "swagger-ui-bundle.js": (_SWAGGER_UI, _SCRIPT),
    "swagger-ui.css": (_SWAGGER_UI, _STYLE),
    "favicon-32x32.png": (_SWAGGER_UI, "image/png"),
}
# Swagger's own styles have their pictures in them.
HEADERS = security_headers.page(img_src="'self' data:")


_ANONYMOUS = b'data-anonymous="%b"'


def routes(anonymous: frozenset[Right]) -> Blueprint:
    """Return ``/openapi.json``, ``/docs`` and what the page is made of.

    The page is told the rights of callers without a token.
    """
    blueprint = Blueprint("openapi", __name__)
    rights = " ".join(sorted(anonymous)).encode()
    index = _file("index.html").data.replace(_ANONYMOUS % b"", _ANONYMOUS % rights)
    start = File.of(index, _FILES["index.html"][1])

    @blueprint.get("/openapi.json")
    def read() -> Response:
        return _described().reply(HEADERS)

    @blueprint.get("/docs")
    def page() -> Response:
        return start.reply(HEADERS)

    @blueprint.get("/docs/<name>")
    def asset(name: str) -> Response:
        if name not in _FILES:
            abort(404)
        return _file(name).reply(HEADERS)

    return blueprint


# Nobody may ever ask for them, and the largest is 1.7 MB: read with the first request.
@lru_cache
def _file(name: str) -> File:
    (package, folder), kind = _FILES[name]
    return File.of(files(package).joinpath(folder, name).read_bytes(), kind)


@lru_cache
def _described() -> File:
    return File.of(schema.encode(document()), JSON)
