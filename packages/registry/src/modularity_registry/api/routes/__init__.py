"""The routes of the HTTP API, one module a topic."""

from collections.abc import Callable

from flask import Blueprint, Response


def blueprint_of(
    name: str, prefix: str | None, *routes: tuple[str, Callable[..., Response]]
) -> Blueprint:
    """Return a blueprint of ``routes``, each ``("GET /path", handler)``."""
    blueprint = Blueprint(name, __name__, url_prefix=prefix)
    for route, handler in routes:
        method, path = route.split()
        blueprint.add_url_rule(path, handler.__name__, handler, methods=[method])
    return blueprint
