"""The web application: Flask with the routes, behind the hot path."""

import logging

from flask import Flask, Response

from modularity_registry.api import (
    authorization,
    cors,
    metrics,
    namespaces,
    problems,
    rate_limits,
    replies,
    route_policy,
    security_headers,
)
from modularity_registry.api.dashboard import routes as dashboard
from modularity_registry.api.openapi import page as openapi
from modularity_registry.api.request_context import ContextMiddleware
from modularity_registry.api.route_policy import Cost
from modularity_registry.api.routes import (
    call_graph,
    capabilities,
    events,
    operations,
    prometheus_sd,
    services,
    statistics,
    tokens,
)
from modularity_registry.api.routes import namespaces as namespace_list
from modularity_registry.config import DEFAULT_NAMESPACE
from modularity_registry.model.rights import ALL
from modularity_registry.runtime import Registry
from modularity_registry.serving.certificate_reload import Certificates

log = logging.getLogger(__name__)


def create_app(
    registry: Registry,
    certificates: Certificates | None = None,
) -> Flask:
    """Return the Flask application over a registry; it starts and stops nothing.

    It answers the calls in all of the registry's namespaces.
    """
    app = _create_one(registry)
    app.register_blueprint(operations.routes(registry, certificates))
    app.register_blueprint(namespace_list.routes(registry))
    app.register_blueprint(dashboard.routes(registry.settings.auth))
    anonymous = ALL if registry.tokens is None else registry.settings.anonymous
    app.register_blueprint(openapi.routes(anonymous))
    route_policy.check(app)
    apps = {DEFAULT_NAMESPACE: app}
    for name, one in registry.namespaces.items():
        apps[name] = _create_one(one)
    namespaces.install(apps, registry)
    return app


def _create_one(registry: Registry) -> Flask:
    """Return the application of one namespace: its calls under ``/api``."""
    app = Flask("modularity_registry", static_folder=None)
    # A capability may hold slashes: they belong to its name, however many.
    app.url_map.merge_slashes = False
    security_headers.install(app, registry.settings)
    cors.install(app, registry.settings.allowed_origins)
    problems.install(app, registry.settings.debug, registry.audit)
    for module in (
        services,
        capabilities,
        events,
        call_graph,
        statistics,
        prometheus_sd,
        tokens,
    ):
        app.register_blueprint(module.routes(registry))

    metrics.time_requests(app, registry.metrics)

    @app.after_request
    def mark_stale(response: Response) -> Response:
        if "X-Registry-Revision" in response.headers:
            response.headers.extend(replies.stale(registry.view_health))
        return response

    authenticator = authorization.Authenticator(registry)
    authorization.install(app, authenticator)
    rate_limits.install(app, registry.rates)

    @app.before_request
    def refuse_parameters_of_writes() -> None:
        # Those who send ?dry_run=true must not take what follows for a rehearsal.
        if route_policy.current().cost in (Cost.WRITE, Cost.HEARTBEAT):
            replies.query(*route_policy.parameters()).finish()

    app.wsgi_app = ContextMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, authenticator
    )
    return app
