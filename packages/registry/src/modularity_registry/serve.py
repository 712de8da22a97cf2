"""What the command ``serve`` starts: the API, DNS and tracing over one registry."""

import gc
import json
import logging
from typing import Any

from modularity_registry import __version__, audit, dns, runtime
from modularity_registry.api import request_context, security_headers
from modularity_registry.api.app import create_app
from modularity_registry.api.hot_path import HotPath
from modularity_registry.api.request_log import RequestLog
from modularity_registry.api.routes import events
from modularity_registry.api.tracing import Tracing, require
from modularity_registry.config import OFF, Settings
from modularity_registry.ratelimit import warn_of_workers
from modularity_registry.runtime import Registry
from modularity_registry.serving import bind_warnings
from modularity_registry.serving import certificates as tls
from modularity_registry.serving.certificate_reload import Certificates
from modularity_registry.serving.forwarded import Proxies
from modularity_registry.serving.supervisor import Factory, Served, ServerOptions
from modularity_registry.serving.wsgi import Headers, WsgiApp
from modularity_registry.telemetry import logs
from modularity_registry.tokens import first as first_token

log = logging.getLogger(__name__)

_INTERNAL_ERROR = "an internal error occurred; see the registry's log"
_FAILURE = json.dumps(
    {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": _INTERNAL_ERROR,
        "code": "internal_error",
        "error": _INTERNAL_ERROR,
    }
).encode()

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


def factory(settings: Settings, keep_alive: float = events.KEEP_ALIVE) -> Factory:
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
            logs.add_context(replica=registry.replica)
            logs.batch_lines()
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
        reaper = events.Reaper(registry, keep_alive)
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
        return Served(app, failure, stop, close, certificates)

    return build


def failure(environ: dict[str, Any]) -> tuple[Headers, bytes]:
    """Return headers and body of the reply to a call at which the app failed."""
    return [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(_FAILURE))),
        security_headers.NOSNIFF,
        (request_context.REQUEST_ID, request_context.request_id(environ)),
    ], _FAILURE


def _say_first_token(registry: Registry) -> None:
    """Make a token for an admin where there is none, and show it: this once."""
    if registry.token_backend is None:
        return
    issued = first_token(registry.token_backend, registry.clock.now())
    if issued is not None:
        registry.audit.token("token.created", issued.token)
        # Not to the log: that is kept, and read by many.
        print(
            f"Your first admin token. Save it, it is not shown again:\n\n"
            f"    {issued.text}\n\n"
            "Create more with: modularity-registry token create --help",
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
    for warning in bind_warnings.warnings(settings):
        log.warning(warning)


def _names(registry: Registry, sockets: dns.Sockets | None) -> dns.DnsServer | None:
    if sockets is None:
        return None
    settings = registry.settings
    return dns.DnsServer(
        registry.catalog, registry.feed, sockets, settings.dns_domain, settings.dns_ttl
    )
