"""The web application: Flask with the routes, behind the hot path."""

import gc
import logging

from flask import Flask, Response
from flask_cors import CORS

from modularity_registry import __version__, dns, logs, runtime
from modularity_registry.config import OFF, Settings
from modularity_registry.runtime import Registry
from modularity_registry.web import (
    calls,
    capabilities,
    counting,
    operations,
    problems,
    prometheus,
    replies,
    services,
    watching,
)
from modularity_registry.web.bridge import WsgiApp
from modularity_registry.web.dashboard import dashboard
from modularity_registry.web.hot import HotPath
from modularity_registry.web.openapi import page as openapi
from modularity_registry.web.origin import REQUEST_ID, Scope
from modularity_registry.web.requestlog import RequestLog
from modularity_registry.web.server import Factory, Served, ServerOptions
from modularity_registry.web.tracing import Tracing, require

log = logging.getLogger(__name__)

EXPOSED = [
    "ETag",
    "X-Registry-Revision",
    "X-Registry-Stale",
    "Retry-After",
    REQUEST_ID,
]


def create_app(registry: Registry, keep_alive: float = watching.KEEP_ALIVE) -> Flask:
    """Return the Flask application over a registry; it starts and stops nothing."""
    app = Flask("modularity_registry", static_folder=None)
    # A capability may hold slashes: they belong to its name, however many.
    app.url_map.merge_slashes = False
    CORS(
        app,
        origins=list(registry.settings.allowed_origins),
        expose_headers=EXPOSED,
        always_send=False,  # nothing to say to who isn't a browser
    )
    problems.install(app, registry.settings.debug)
    for module in (services, capabilities, operations, calls, prometheus):
        app.register_blueprint(module.routes(registry))
    app.register_blueprint(watching.routes(registry, keep_alive))
    app.register_blueprint(dashboard.routes())
    app.register_blueprint(openapi.routes())

    counting.install(app, registry.metrics)

    @app.after_request
    def mark_stale(response: Response) -> Response:
        if "X-Registry-Revision" in response.headers:
            response.headers.extend(replies.stale(registry.freshness))
        return response

    app.wsgi_app = Scope(app.wsgi_app)  # type: ignore[method-assign]
    return app


# Beside all watchers there is room for so many calls and other connections.
CALLS = 512
CONNECTIONS = 4096


def server_options(settings: Settings) -> ServerOptions:
    """Return the server's bounds: streams may take all their places, calls go on."""
    return ServerOptions(
        workers=settings.workers,
        threads=settings.max_watchers + CALLS,
        connections=settings.max_watchers + CONNECTIONS,
    )


def factory(settings: Settings, keep_alive: float = watching.KEEP_ALIVE) -> Factory:
    """Return what builds and starts the registry in the process that serves it.

    ``keep_alive`` (seconds) is for its streams. The sockets for DNS are opened here, so
    that a port in use is found out before anything starts and all processes share one.

    Raises `BadSetting` when that port can't be had, or the library that the settings
    ask for.
    """
    if settings.otel_endpoint != OFF:
        require()
    sockets = (
        dns.listen(settings.host, settings.dns_port) if settings.dns_port else None
    )

    def build() -> Served:
        # What is loaded will stay, so there is no garbage to look for meanwhile.
        gc.disable()
        try:
            registry = runtime.build(settings)
            logs.bind(replica=registry.replica)
            logs.gather()
            names = _names(registry, sockets)
            registry.start()
        finally:
            gc.enable()
        flask = create_app(registry, keep_alive)
        tracing = None
        if settings.otel_endpoint != OFF:
            tracing = Tracing(settings.otel_endpoint, registry.replica)
            tracing.install(flask)
        app: WsgiApp = HotPath(registry, flask, traced=tracing is not None)
        if settings.level == "debug":
            app = RequestLog(app)
        reaper = watching.Reaper(registry.hub, settings.port, keep_alive)
        reaper.start()
        if names is not None:
            names.start()

        def stop() -> None:
            reaper.stop()
            registry.hub.stop()
            if names is not None:
                names.stop()

        def close() -> None:
            if names is not None:
                names.close()
            registry.stop()
            if tracing is not None:
                tracing.stop()

        _say_started(registry)
        return Served(app, stop=stop, close=close)

    return build


def _say_started(registry: Registry) -> None:
    settings = registry.settings
    log.info(
        "registry started",
        extra=logs.fields(
            version=__version__,
            address=f"{settings.host}:{settings.port}",
            store=settings.store_kind,
            workers=settings.workers,
            services=len(registry.catalog),
        ),
    )


def _names(registry: Registry, sockets: dns.Sockets | None) -> dns.DnsServer | None:
    if sockets is None:
        return None
    settings = registry.settings
    return dns.DnsServer(
        registry.catalog, registry.feed, sockets, settings.dns_domain, settings.dns_ttl
    )
