"""Calls in a namespace: ``/api/ns/team-a/services`` is ``/api/services`` of team-a.

Behind this, a call in a namespace is as one in the default namespace: an app and a
front of the namespace's registry answer it, at the path that they know.
"""

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from flask import Flask, request

from modularity_registry.api import request_context
from modularity_registry.api.authorization import CALLER, Authenticator
from modularity_registry.config import DEFAULT_NAMESPACE
from modularity_registry.errors import (
    RegistryError,
    Unauthorized,
    UnknownNamespace,
)
from modularity_registry.model.rights import Right
from modularity_registry.runtime import Registry
from modularity_registry.tokens import ELSEWHERE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX: Final = "/api/ns/"
NAMESPACE: Final = "modularity.namespace"
"""Where a call has the name of its namespace; it is missing where the path has none."""

_APPS: Final = "namespaces"


def enter(environ: "WSGIEnvironment", names: Container[str]) -> str | None:
    """Make a call in one of these namespaces one of ``/api``; return the namespace.

    None if it is in none of them. What a browser asks before a call is answered for any
    name: it comes without the token by which names are shown.
    """
    path: str = environ["PATH_INFO"]
    if not path.startswith(PREFIX):
        return None
    name, _, rest = path[len(PREFIX) :].partition("/")
    if name not in names:
        if environ["REQUEST_METHOD"] != "OPTIONS":
            return None
        name = DEFAULT_NAMESPACE
    environ[request_context.PATH] = path
    environ[NAMESPACE] = name
    environ["PATH_INFO"] = f"/api/{rest}"
    environ.pop(CALLER, None)
    return name


class NamespaceMiddleware:
    """Hands each call to the application of its namespace."""

    def __init__(self, applications: "Mapping[str, WSGIApplication]") -> None:
        self._applications = applications

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        # The front has entered it already, but for a call that was never planned.
        name = environ.get(NAMESPACE) or enter(environ, self._applications)
        application = self._applications[name or DEFAULT_NAMESPACE]
        return application(environ, start_response)


def install(apps: Mapping[str, Flask], registry: Registry) -> None:
    """Have the default namespace's app take the calls for all of ``apps``, by name."""
    app = apps[DEFAULT_NAMESPACE]
    app.extensions[_APPS] = apps
    authenticator = Authenticator(registry)

    @app.before_request
    def refuse_unknown() -> None:
        if request.path.startswith(PREFIX):
            name = request.path[len(PREFIX) :].partition("/")[0]
            raise unknown(authenticator, request.environ, name)

    applications = {name: one.wsgi_app for name, one in apps.items()}
    app.wsgi_app = NamespaceMiddleware(applications)  # type: ignore[method-assign]


def apps_of(app: Flask) -> Mapping[str, Flask]:
    """Return the apps of all namespaces, by name, of the default one's."""
    apps: Mapping[str, Flask] = app.extensions[_APPS]
    return apps


def unknown(
    authenticator: Authenticator, environ: "WSGIEnvironment", name: str
) -> RegistryError:
    """Return the error of a call in a namespace that is not here.

    It is `UnknownNamespace` for those who may know which ones there are. For others, it
    is what they would get in one that is.
    """
    caller = authenticator.caller(environ)
    if not (caller.open or caller.is_admin or (caller.name is None and caller.rights)):
        if caller.name is None and not authenticator.is_unknown(caller):
            caller.require(Right.READ)
        return Unauthorized(ELSEWHERE.refused or "", shown=True)
    return UnknownNamespace(
        f"there is no namespace {name[:63]!r} here; name it with --namespace on every"
        " replica, or see GET /api/namespaces for those that there are"
    )
