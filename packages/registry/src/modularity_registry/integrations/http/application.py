"""Another registry's API: its routes, its tokens and its errors."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from flask import Response
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from modularity_registry.api import problems, route_policy
from modularity_registry.api.route_policy import Cost
from modularity_registry.config import DEFAULT_NAMESPACE
from modularity_registry.errors import RegistryError
from modularity_registry.integrations.http.call import Reply
from modularity_registry.integrations.http.route import Route
from modularity_registry.serving.head import Environ

Arguments = Sequence[tuple[str, str]]


class Application:
    """The routes under some prefixes of the path, such as ``/v1/``.

    A subclass says how its clients show a token and are told of errors.
    """

    def __init__(self, prefixes: Sequence[str], routes: Sequence[Route]) -> None:
        self.prefixes = tuple(prefixes)
        self.routes = tuple(routes)
        rules = [
            # A GET's rule takes HEAD as well.
            Rule(route.rule, methods=[route.method], endpoint=number)
            for number, route in enumerate(self.routes)
        ]
        paths = Map(rules, merge_slashes=False, strict_slashes=False)
        self._paths = paths.bind("")
        self.templates = {
            route: route_policy.template(route.rule) for route in self.routes
        }

    def match(self, environ: Environ) -> tuple[Route, Mapping[str, Any]]:
        """Return the route of a call and the parameters in its path.

        Raises `HTTPException` where there is none.
        """
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        number, names = self._paths.match(path, environ["REQUEST_METHOD"])
        return self.routes[number], names

    def authorization(self, environ: Environ, arguments: Arguments) -> str | None:
        """Return what a caller shows, as a header ``Authorization``; None for none."""
        header: str | None = environ.get("HTTP_AUTHORIZATION")
        return header

    def namespace(self, environ: Environ, arguments: Arguments) -> str:
        """Return the name of the namespace that a call is for."""
        return DEFAULT_NAMESPACE

    def cost(self, route: Route, arguments: Arguments) -> Cost:
        """Return towards which rate a call counts."""
        return route.cost

    def error(self, error: RegistryError) -> Reply:
        """Return the reply for one of the registry's own errors."""
        return reply_of(problems.of(error))

    def http_error(self, error: HTTPException) -> Reply:
        """Return the reply for a path or a method that no route has."""
        return reply_of(problems.http(error))

    def failure(self, error: BaseException) -> Reply:
        """Return the reply for an error that nobody expected, and log it."""
        return reply_of(problems.unexpected(error))


def reply_of(problem: Response) -> Reply:
    """Return a problem as a reply."""
    return Reply(
        problem.status_code,
        problem.get_data(),
        problems.CONTENT_TYPE,
        beside_content(problem.headers.items()),
    )


def beside_content(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers that a `Reply` does not write by itself."""
    written = ("content-type", "content-length")
    return [(name, value) for name, value in headers if name.lower() not in written]


@lru_cache(maxsize=4096)
def arguments_of(query: str) -> Arguments:
    """Return the arguments of a query, those without a value as empty texts."""
    return tuple(parse_qsl(query, keep_blank_values=True))
