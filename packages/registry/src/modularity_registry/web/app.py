"""The web application: Flask with the routes, behind the hot path."""

import logging

from flask import Flask, Response

from modularity_registry.runtime import Registry
from modularity_registry.web import (
    access,
    browsers,
    calls,
    capabilities,
    counting,
    headers,
    limits,
    operations,
    problems,
    prometheus,
    replies,
    services,
    tokens,
    watching,
)
from modularity_registry.web.dashboard import dashboard
from modularity_registry.web.openapi import page as openapi
from modularity_registry.web.origin import Scope
from modularity_registry.web.renewal import Certificates

log = logging.getLogger(__name__)


def create_app(
    registry: Registry,
    keep_alive: float = watching.KEEP_ALIVE,
    certificates: Certificates | None = None,
) -> Flask:
    """Return the Flask application over a registry; it starts and stops nothing."""
    app = Flask("modularity_registry", static_folder=None)
    # A capability may hold slashes: they belong to its name, however many.
    app.url_map.merge_slashes = False
    headers.install(app, registry.settings)
    browsers.install(app, registry.settings.allowed_origins)
    problems.install(app, registry.settings.debug, registry.audit)
    app.register_blueprint(operations.routes(registry, certificates))
    for module in (services, capabilities, calls, prometheus, tokens):
        app.register_blueprint(module.routes(registry))
    app.register_blueprint(watching.routes(registry, keep_alive))
    app.register_blueprint(dashboard.routes(registry.settings.auth))
    app.register_blueprint(openapi.routes())

    counting.install(app, registry.metrics)

    @app.after_request
    def mark_stale(response: Response) -> Response:
        if "X-Registry-Revision" in response.headers:
            response.headers.extend(replies.stale(registry.freshness))
        return response

    guard = access.Guard(registry)
    access.install(app, guard)
    limits.install(app, registry.rates)
    if registry.tokens is not None:
        registry.tokens.listen(lambda: watching.dismiss(registry))
    app.wsgi_app = Scope(app.wsgi_app, guard)  # type: ignore[method-assign]
    return app
