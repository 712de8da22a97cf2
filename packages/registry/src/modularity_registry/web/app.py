"""The web application: Flask with the routes, behind the hot path."""

import gc

from flask import Flask, Response
from flask_cors import CORS

from modularity_registry import runtime
from modularity_registry.config import Settings
from modularity_registry.runtime import Registry
from modularity_registry.web import (
    calls,
    capabilities,
    operations,
    problems,
    replies,
    services,
    watching,
)
from modularity_registry.web.bridge import WsgiApp
from modularity_registry.web.hot import HotPath
from modularity_registry.web.requestlog import RequestLog
from modularity_registry.web.server import Factory, Served, ServerOptions

EXPOSED = ["ETag", "X-Registry-Revision", "X-Registry-Stale", "Retry-After"]


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
    for module in (services, capabilities, operations, calls):
        app.register_blueprint(module.routes(registry))
    app.register_blueprint(watching.routes(registry, keep_alive))

    @app.after_request
    def mark_stale(response: Response) -> Response:
        if "X-Registry-Revision" in response.headers:
            response.headers.extend(replies.stale(registry.freshness))
        return response

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

    ``keep_alive`` (seconds) is for its streams.
    """

    def build() -> Served:
        # What is loaded will stay, so there is no garbage to look for meanwhile.
        gc.disable()
        try:
            registry = runtime.build(settings)
            registry.start()
        finally:
            gc.enable()
        app: WsgiApp = HotPath(registry, create_app(registry, keep_alive))
        if settings.debug:
            app = RequestLog(app)
        reaper = watching.Reaper(registry.hub, settings.port, keep_alive)
        reaper.start()

        def stop() -> None:
            reaper.stop()
            registry.hub.stop()

        return Served(app, stop=stop, close=registry.stop)

    return build
