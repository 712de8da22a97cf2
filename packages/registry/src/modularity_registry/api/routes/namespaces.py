"""The route that lists the namespaces."""

from flask import Blueprint, Response, request

from modularity_registry.api import authorization, replies
from modularity_registry.api.authorization import Authenticator
from modularity_registry.api.routes import blueprint_of
from modularity_registry.model.rights import Right
from modularity_registry.runtime import Registry
from modularity_registry.schema.replies import registry as models


def routes(registry: Registry) -> Blueprint:
    """Return ``/api/namespaces``, which is not in a namespace itself."""
    namespaces = [
        (name, one, Authenticator(one)) for name, one in registry.by_name.items()
    ]

    def list_namespaces() -> Response:
        header = request.environ.get("HTTP_AUTHORIZATION")
        readable = [
            models.Namespace(name, len(one.catalog), one.catalog.total_capabilities)
            for name, one, authenticator in namespaces
            if authenticator.caller_of(header).may(Right.READ)
        ]
        if not readable:
            authorization.caller_of(request).require(Right.READ)
        replies.query().finish()
        return replies.reply(models.Namespaces(readable, len(readable)))

    return blueprint_of("namespaces", "/api", ("GET /namespaces", list_namespaces))
