"""The web application: Flask with the routes, behind the hot path."""

import gc

from flask import Flask
from flask_cors import CORS

from modularity_registry import runtime
from modularity_registry.config import Settings
from modularity_registry.runtime import Registry
from modularity_registry.web import capabilities, operations, problems, services
from modularity_registry.web.bridge import WsgiApp
from modularity_registry.web.hot import HotPath
from modularity_registry.web.requestlog import RequestLog
from modularity_registry.web.server import Factory, Served

EXPOSED = ["ETag", "X-Registry-Revision", "Retry-After"]


def create_app(registry: Registry) -> Flask:
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
    for module in (services, capabilities, operations):
        app.register_blueprint(module.routes(registry))
    return app


def factory(settings: Settings) -> Factory:
    """Return what builds and starts the registry in the process that serves it."""

    def build() -> Served:
        # What is loaded will stay, so there is no garbage to look for meanwhile.
        gc.disable()
        try:
            registry = runtime.build(settings)
            registry.start()
        finally:
            gc.enable()
        app: WsgiApp = HotPath(registry, create_app(registry))
        if settings.debug:
            app = RequestLog(app)
        return Served(app, close=registry.stop)

    return build
