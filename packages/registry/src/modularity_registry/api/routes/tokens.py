"""Routes of tokens: list, make, rotate, revoke; and what one's own is good for."""

from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, request

from modularity_registry import schema, tokens
from modularity_registry.api import authorization, replies
from modularity_registry.clock import maybe_rfc3339
from modularity_registry.errors import TokenNotFound, Unauthorized
from modularity_registry.runtime import Registry
from modularity_registry.tokens import Shelf

NO_TOKENS = (
    "there are no tokens here, and everybody may do everything; start the registry"
    " with --auth to have them"
)


def routes(registry: Registry) -> Blueprint:
    """Return the routes under ``/api/tokens``, and ``/api/whoami``."""
    blueprint = Blueprint("tokens", __name__, url_prefix="/api")
    clock = registry.clock

    def shelf() -> Shelf:
        if registry.token_shelf is None:
            raise TokenNotFound(NO_TOKENS)
        return registry.token_shelf

    @blueprint.get("/tokens")
    def list_tokens() -> Response:
        replies.query().finish()
        found = [tokens.shown(token) for token, _ in shelf().all().values()]
        return _secret({"tokens": found, "count": len(found)})

    @blueprint.post("/tokens")
    def create() -> Response:
        wish = schema.parse_token(replies.body())
        issued = tokens.create(shelf(), wish, clock.now())
        registry.audit.token("token.created", issued.token)
        return _secret(tokens.shown_once(issued), 201)

    @blueprint.post("/tokens/<name>/rotate")
    def rotate(name: str) -> Response:
        grace = timedelta(seconds=schema.parse_rotation(replies.body()))
        issued = tokens.rotate(shelf(), name, grace, clock.now())
        registry.audit.token("token.rotated", issued.token)
        return _secret(tokens.shown_once(issued))

    @blueprint.delete("/tokens/<name>")
    def revoke(name: str) -> Response:
        replies.query().finish()
        registry.audit.token("token.revoked", tokens.revoke(shelf(), name))
        return _secret({"status": "revoked", "name": name})

    @blueprint.get("/whoami")
    def own() -> Response:
        replies.query().finish()
        caller = authorization.caller_of(request)
        if caller.refused is not None:
            raise Unauthorized(caller.refused, shown=True)
        if caller.open:
            raise TokenNotFound(NO_TOKENS)
        return _secret(
            {
                "name": caller.name,
                "rights": sorted(caller.rights),
                "ids": caller.ids.texts,
                "capabilities": caller.capabilities.texts,
                "expires_at": maybe_rfc3339(caller.expires_at),
            }
        )

    return blueprint


def _secret(answer: dict[str, Any], status: int = 200) -> Response:
    response = replies.reply(answer, status)
    response.headers["Cache-Control"] = "no-store"
    return response
