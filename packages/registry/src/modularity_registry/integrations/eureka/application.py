"""Eureka's routes, how its clients show a token, and how they are told of errors."""

import base64
import binascii
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from werkzeug.exceptions import HTTPException

from modularity_registry.api import problems
from modularity_registry.api.route_policy import Cost
from modularity_registry.errors import RegistryError
from modularity_registry.integrations.eureka.reads import Reads
from modularity_registry.integrations.eureka.writes import Writes
from modularity_registry.integrations.http import Application, Reply, Route
from modularity_registry.integrations.http.application import Arguments, beside_content
from modularity_registry.integrations.http.route import Handler
from modularity_registry.model.rights import Right
from modularity_registry.serving.head import Environ

PREFIXES: Final = ("/eureka/v2/", "/eureka/")
TEXT: Final = "text/plain; charset=utf-8"


class EurekaApplication(Application):
    """Eureka's API, with and without its version in the path."""

    def __init__(self, reads: Reads, writes: Writes) -> None:
        routes = [
            route for prefix in PREFIXES for route in _routes(prefix, reads, writes)
        ]
        super().__init__(PREFIXES, routes)

    def match(self, environ: Environ) -> tuple[Route, Mapping[str, Any]]:
        """Return the route of a call; a slash at its end is none of a name."""
        route, names = super().match(environ)
        return route, {key: name.rstrip("/") for key, name in names.items()}

    def authorization(self, environ: Environ, arguments: Arguments) -> str | None:
        """Return the caller's header; of HTTP Basic, the password is the token."""
        header = super().authorization(environ, arguments)
        if header is None or header[:6].lower() != "basic ":
            return header
        try:
            pair = base64.b64decode(header[6:].strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return header
        return f"Bearer {pair.partition(':')[2]}"

    def error(self, error: RegistryError) -> Reply:
        """Return an error as plain text: Eureka's clients read its status alone."""
        problem = problems.of(error)
        headers = beside_content(problem.headers.items())
        return Reply(problem.status_code, error.detail.encode(), TEXT, headers)

    def http_error(self, error: HTTPException) -> Reply:
        """Return one for a path or a method that Eureka does not have."""
        status = HTTPStatus(error.code or HTTPStatus.NOT_FOUND)
        headers = beside_content(error.get_headers())
        return Reply(status, status.phrase.encode(), TEXT, headers)


def _routes(prefix: str, reads: Reads, writes: Writes) -> list[Route]:
    def read(rule: str, handler: Handler, cost: Cost = Cost.LOOKUP) -> Route:
        return Route("GET", prefix + rule, handler, Right.READ, cost)

    def write(
        method: str, rule: str, handler: Handler, cost: Cost = Cost.WRITE
    ) -> Route:
        return Route(method, prefix + rule, handler, Right.REGISTER, cost)

    # Names of applications may have slashes, as those of capabilities do.
    return [
        read("apps", reads.applications, Cost.READ),
        read("apps/delta", reads.delta, Cost.READ),
        read("apps/<path:path>", reads.application_or_instance),
        read("instances/<path:instance_id>", reads.instance),
        read("vips/<path:address>", reads.vip),
        read("svips/<path:address>", reads.secure_vip),
        write("POST", "apps/<path:app>", writes.register),
        write("PUT", "apps/<path:path>", writes.renew, Cost.HEARTBEAT),
        write("DELETE", "apps/<path:path>", writes.cancel),
        write("PUT", "apps/<path:path>/status", writes.override),
        write("DELETE", "apps/<path:path>/status", writes.end_override),
        write("PUT", "apps/<path:path>/metadata", writes.set_metadata),
    ]
