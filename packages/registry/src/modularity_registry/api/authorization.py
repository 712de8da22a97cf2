"""Who calls, and whether they have the right that the route needs."""

from typing import TYPE_CHECKING

from flask import Flask, Request, request

from modularity_registry.api import route_policy
from modularity_registry.api.route_policy import PUBLIC
from modularity_registry.model.rights import OPEN, Caller, Claim, Right
from modularity_registry.runtime import Registry

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

CALLER = "modularity.caller"
OWNER_KEY = "HTTP_X_OWNER_KEY"


class Authenticator:
    """Tells who makes a call, by its token.

    ``namespace`` is where: None for the default one.
    """

    def __init__(self, registry: Registry) -> None:
        self._tokens = registry.tokens
        self.namespace = registry.namespace
        anonymous = Caller(rights=registry.settings.anonymous)
        self._anonymous = OPEN if registry.tokens is None else anonymous

    @property
    def closed(self) -> bool:
        """Whether callers need a token."""
        return self._tokens is not None

    def is_unknown(self, caller: Caller) -> bool:
        """Whether a caller showed a token, and it is not a valid one."""
        return caller.refused is not None and caller is not _NO_BEARER

    def caller(self, environ: "WSGIEnvironment") -> Caller:
        """Return who makes this call. The answer is kept in ``environ``."""
        caller: Caller | None = environ.get(CALLER)
        if caller is None:
            caller = environ[CALLER] = self.caller_of(environ.get("HTTP_AUTHORIZATION"))
        return caller

    def caller_of(self, header: str | None) -> Caller:
        """Return who sends this ``Authorization``; None for none."""
        if header is None or self._tokens is None:
            return self._anonymous
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            return _NO_BEARER
        return self._tokens.caller(text.strip())


_NO_BEARER = Caller(
    refused="the Authorization header is not one of a token; send Authorization:"
    " Bearer <token>"
)


def claim(environ: "WSGIEnvironment", caller: Caller, key: str | None = None) -> Claim:
    """Return on whose behalf a service is written; ``key`` is from the body."""
    return Claim(caller, key if key is not None else environ.get(OWNER_KEY))


def caller_of(request: Request) -> Caller:
    """Return who makes a request that Flask answers."""
    caller: Caller = request.environ[CALLER]
    return caller


def install(app: Flask, authenticator: Authenticator) -> None:
    """Refuse the calls to ``app`` for which the caller lacks the right."""

    @app.before_request
    def authorize() -> None:
        caller = authenticator.caller(request.environ)
        is_question = request.method == "OPTIONS"
        if authenticator.namespace and not (caller.rights or is_question):
            # Not even whether there is such a namespace, or such a path in it.
            caller.require(Right.READ)
        right = route_policy.current().right
        if right is not PUBLIC:
            caller.require(right)
