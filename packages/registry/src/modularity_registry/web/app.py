"""The web application: Flask with the routes, behind the hot path."""

import gc
import logging

from flask import Flask, Response

from modularity_registry import __version__, audit, dns, runtime
from modularity_registry.config import OFF, Settings
from modularity_registry.ratelimit import warn_of_workers
from modularity_registry.runtime import Registry
from modularity_registry.telemetry import logs
from modularity_registry.tokens import first as first_token
from modularity_registry.web import (
    access,
    binding,
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
    tls,
    tokens,
    watching,
)
from modularity_registry.web.bridge import WsgiApp
from modularity_registry.web.dashboard import dashboard
from modularity_registry.web.hot import HotPath
from modularity_registry.web.openapi import page as openapi
from modularity_registry.web.origin import Scope
from modularity_registry.web.proxies import Proxies
from modularity_registry.web.renewal import Certificates
from modularity_registry.web.requestlog import RequestLog
from modularity_registry.web.server import Factory, Served, ServerOptions
from modularity_registry.web.tracing import Tracing, require

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


# Beside all watchers there is room for so many calls.
CALLS = 512


def server_options(settings: Settings) -> ServerOptions:
    """Return the server's bounds: streams may take all their places, calls go on."""
    return ServerOptions(
        workers=settings.workers,
        threads=settings.max_watchers + CALLS,
        connections=settings.max_watchers + settings.max_connections,
        https=settings.tls_cert != OFF,
    )


def factory(settings: Settings, keep_alive: float = watching.KEEP_ALIVE) -> Factory:
    """Return what builds and starts the registry in the process that serves it.

    ``keep_alive`` (seconds) is for its streams. The sockets for DNS are opened here, so
    that a port in use is found out before anything starts and all processes share one.

    Raises `BadSetting` when that port can't be had, the library that the settings ask
    for, or certificate and key are not what they should be.
    """
    if settings.otel_endpoint != OFF:
        require()
    if settings.audit_file != OFF:
        audit.check(settings.audit_file)
    warn_of_workers(settings)
    sockets = (
        dns.listen(settings.host, settings.dns_port) if settings.dns_port else None
    )
    files = tls.Files.of(settings)
    certificates = None if files is None else Certificates(files)

    def build() -> Served:
        # What is loaded will stay, so there is no garbage to look for meanwhile.
        gc.disable()
        try:
            registry = runtime.build(settings)
            logs.bind(replica=registry.replica)
            logs.gather()
            names = _names(registry, sockets)
            registry.start()
            _say_first_token(registry)
        finally:
            gc.enable()
        flask = create_app(registry, keep_alive, certificates)
        tracing = None
        if settings.otel_endpoint != OFF:
            tracing = Tracing(settings.otel_endpoint, registry.replica)
            tracing.install(flask)
        app: WsgiApp = HotPath(registry, flask, traced=tracing is not None)
        if settings.level == "debug":
            app = RequestLog(app)
        if settings.trusted_proxies != OFF:
            app = Proxies(app, settings.trusted_proxies, settings.forwarded_header)
        reaper = watching.Reaper(registry, keep_alive)
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
        return Served(app, stop=stop, close=close, certificates=certificates)

    return build


def _say_first_token(registry: Registry) -> None:
    """Make a token for an admin where there is none, and show it: this once."""
    if registry.token_shelf is None:
        return
    issued = first_token(registry.token_shelf, registry.clock.now())
    if issued is not None:
        registry.audit.token("token.created", issued.token)
        # Not to the log: that is kept, and read by many.
        print(
            f"The token of the first admin, shown this once:\n\n    {issued.text}\n\n"
            "Others are made with it: modularity-registry token create --help",
            flush=True,
        )


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
    for warning in binding.warnings(settings):
        log.warning(warning)


def _names(registry: Registry, sockets: dns.Sockets | None) -> dns.DnsServer | None:
    if sockets is None:
        return None
    settings = registry.settings
    return dns.DnsServer(
        registry.catalog, registry.feed, sockets, settings.dns_domain, settings.dns_ttl
    )
