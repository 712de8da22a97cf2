"""Routes of tokens: list, create, rotate, revoke, and read your own rights."""

from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, request

from modularity_registry import schema, tokens
from modularity_registry.api import authorization, replies
from modularity_registry.api.routes import blueprint_of
from modularity_registry.clock import maybe_rfc3339
from modularity_registry.errors import TokenNotFound, Unauthorized
from modularity_registry.runtime import Registry
from modularity_registry.tokens import TokenBackend

NO_TOKENS = (
    "this registry uses no tokens, so everyone may make every call; start it with"
    " --auth to require tokens"
)


def routes(registry: Registry) -> Blueprint:
    """Return the routes under ``/api/tokens``, and ``/api/whoami``."""
    handlers = _Handlers(registry)
    return blueprint_of(
        "tokens",
        "/api",
        ("GET /tokens", handlers.list_tokens),
        ("POST /tokens", handlers.create),
        ("POST /tokens/<name>/rotate", handlers.rotate),
        ("DELETE /tokens/<name>", handlers.revoke),
        ("GET /whoami", whoami),
    )


class _Handlers:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._clock = registry.clock
        self._audit = registry.audit

    @property
    def _backend(self) -> TokenBackend:
        if self._registry.token_backend is None:
            raise TokenNotFound(NO_TOKENS)
        return self._registry.token_backend

    def list_tokens(self) -> Response:
        replies.query().finish()
        rows = [
            tokens.token_document(token) for token, _ in self._backend.all().values()
        ]
        return _secret({"tokens": rows, "count": len(rows)})

    def create(self) -> Response:
        token_request = schema.parse_token(replies.body())
        issued = tokens.create(self._backend, token_request, self._clock.now())
        self._audit.token("token.created", issued.token)
        return _secret(tokens.issued_document(issued), 201)

    def rotate(self, name: str) -> Response:
        grace = timedelta(seconds=schema.parse_rotation(replies.body()))
        issued = tokens.rotate(self._backend, name, grace, self._clock.now())
        self._audit.token("token.rotated", issued.token)
        return _secret(tokens.issued_document(issued))

    def revoke(self, name: str) -> Response:
        # In a namespace, the default one's admins can always make another.
        last_admin = self._registry.namespace is not None
        revoked = tokens.revoke(self._backend, name, last_admin)
        self._audit.token("token.revoked", revoked)
        return _secret({"status": "revoked", "name": name})


def whoami() -> Response:
    """Reply with the rights of the caller's token."""
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


def _secret(answer: dict[str, Any], status: int = 200) -> Response:
    response = replies.reply(answer, status)
    response.headers["Cache-Control"] = "no-store"
    return response
