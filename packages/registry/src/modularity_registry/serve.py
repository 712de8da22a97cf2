"""What the command ``serve`` starts: the API, DNS and tracing over one registry."""

import asyncio
import gc
import json
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modularity_registry import __version__, audit, federation, integrations, runtime
from modularity_registry.api import request_context, security_headers
from modularity_registry.api.app import create_app
from modularity_registry.api.hot_path import front_of
from modularity_registry.api.request_log import RequestLog
from modularity_registry.api.tracing import Tracing, require
from modularity_registry.config import OFF, Settings
from modularity_registry.events import KEEP_ALIVE
from modularity_registry.network.listen_address import authority, browser_url
from modularity_registry.ratelimit import warn_of_workers
from modularity_registry.runtime import Registry
from modularity_registry.serving import bind_warnings, certificates, file_warnings
from modularity_registry.serving.certificate_reload import Certificates
from modularity_registry.serving.descriptors import DescriptorWatch
from modularity_registry.serving.forwarded import Proxies
from modularity_registry.serving.limits import ServerOptions, ServerPlaces
from modularity_registry.serving.server import Factory, Served
from modularity_registry.serving.wsgi import Headers
from modularity_registry.stores import file_of
from modularity_registry.telemetry import logs
from modularity_registry.tokens import first as first_token

if TYPE_CHECKING:
    from modularity_registry import dns

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


def server_options(settings: Settings) -> ServerOptions:
    """Return the server's limits: calls go on even while every stream is taken."""
    return ServerOptions(
        workers=settings.workers,
        connections=settings.max_watchers + settings.max_connections,
        https=settings.tls_cert != OFF,
    )


def factory(settings: Settings, keep_alive: float = KEEP_ALIVE) -> Factory:
    """Return a function that builds and starts the registry on a serving loop.

    ``keep_alive`` (seconds) is for its streams. The sockets for DNS are opened here, so
    that a port in use is found before anything starts, and all processes share them.

    Raises `BadSetting` for a DNS port in use, a library that is not installed, or a
    certificate or key that can't be served.
    """
    if settings.otel_endpoint != OFF:
        require()
    if settings.audit_file != OFF:
        audit.check(settings.audit_file)
    federation.check(settings)
    integrations.check(settings)
    warn_of_workers(settings)
    dns_sockets = _dns_sockets(settings)
    files = certificates.Files.of(settings)
    served_certificates = None if files is None else Certificates(files)
    return lambda: _build(settings, keep_alive, dns_sockets, served_certificates)


def _dns_sockets(settings: Settings) -> "dns.Sockets | None":
    if not settings.dns_port:
        return None
    from modularity_registry import dns  # a tenth of the time that a start takes

    return dns.listen(settings.host, settings.dns_port)


async def _build(
    settings: Settings,
    keep_alive: float,
    dns_sockets: "dns.Sockets | None",
    served_certificates: Certificates | None,
) -> Served:
    # What is loaded now stays loaded: a garbage collection would only take time.
    gc.disable()
    try:
        registry = runtime.build(settings, keep_alive=keep_alive)
        logs.add_context(replica=registry.replica)
        logs.batch_lines()
        # They follow the feed, from its start.
        dns_server = _dns_server(registry, dns_sockets)
        parts = integrations.Integrations(registry)
        await registry.start()
        if not registry.feed.unread:
            await _print_first_token(registry)
    finally:
        gc.enable()
    flask = create_app(registry, served_certificates)
    tracing = None
    if settings.otel_endpoint != OFF:
        tracing = Tracing(settings.otel_endpoint, registry.replica)
        tracing.install(flask)
    if dns_server is not None:
        await dns_server.start()
    if registry.feed.unread:
        registry.on_read.extend((partial(_print_first_token, registry), parts.start))
    else:
        await parts.start()

    async def stop() -> None:
        registry.dismiss()
        await parts.stop()
        if dns_server is not None:
            await dns_server.stop()

    async def close() -> None:
        await registry.stop()
        if tracing is not None:
            await asyncio.to_thread(tracing.stop)

    _log_started(registry)
    logged = settings.level == "debug"
    front = parts.front(front_of(registry, flask, tracing, logged), tracing, logged)
    app = RequestLog(flask) if logged else flask
    proxies = None
    if settings.trusted_proxies != OFF:
        proxies = Proxies(settings.trusted_proxies, settings.forwarded_header)
    descriptors = DescriptorWatch()
    registry.more_faults.append(lambda: descriptors.fault)
    places = ServerPlaces.of(server_options(settings))
    registry.places.extend(places.shown())
    return Served(
        *(app, failure, front, stop, close),
        proxies,
        served_certificates,
        descriptors,
        places,
    )


def failure(environ: dict[str, Any]) -> tuple[Headers, bytes]:
    """Return headers and body of the 500 for a call at which the app raised."""
    return [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(_FAILURE))),
        security_headers.NOSNIFF,
        (request_context.REQUEST_ID, request_context.request_id(environ)),
    ], _FAILURE


async def _print_first_token(registry: Registry) -> None:
    """Create an admin token if there is none, and print it."""
    if registry.token_backend is None:
        return
    # In a thread: a token is written as by any other caller, through this loop.
    now = registry.clock.now()
    issued = await asyncio.to_thread(first_token, registry.token_backend, now)
    if issued is not None:
        registry.audit.token("token.created", issued.token)
        # Not to the log, which is kept and read by many.
        print(
            "Your first admin token. Save it, it is not shown again:\n\n"
            f"    {issued.text}\n\n"
            "Create more with: modularity-registry token create --help",
            flush=True,
        )


def _log_started(registry: Registry) -> None:
    settings = registry.settings
    url = browser_url(settings.host, settings.port, settings.tls_cert != OFF)
    log.info(
        "registry started",
        extra=logs.fields(
            version=__version__,
            address=authority(settings.host, settings.port),
            dashboard=f"{url}/",
            docs=f"{url}/docs",
            store=settings.store_kind,
            workers=settings.workers,
            services=len(registry.catalog),
            namespaces=len(registry.namespaces) or None,
        ),
    )
    for warning in (
        *bind_warnings.warnings(settings),
        *file_warnings.warnings(_private_files(settings)),
    ):
        log.warning("%s", warning)


def _private_files(settings: Settings) -> dict[str, Path]:
    """Return the files with secrets that the settings name, by what they are."""
    files = {
        "tokens file": settings.tokens_file,
        "audit file": settings.audit_file,
        "TLS key": settings.tls_key,
        "snapshot": settings.snapshot,
    }
    paths = {name: Path(path) for name, path in files.items() if path != OFF}
    store = file_of(settings.store)
    return paths if store is None else {"store file": store, **paths}


def _dns_server(
    registry: Registry, sockets: "dns.Sockets | None"
) -> "dns.DnsServer | None":
    if sockets is None:
        return None
    from modularity_registry import dns

    settings = registry.settings
    senders = dns.Senders(
        settings.dns_trusted_networks, settings.dns_rate, registry.clock.monotonic
    )
    return dns.DnsServer(
        registry.catalog,
        registry.feed,
        sockets,
        settings.dns_domain,
        settings.dns_ttl,
        senders=senders,
        metrics=registry.metrics,
        namespaces={
            name: (one.catalog, one.feed) for name, one in registry.namespaces.items()
        },
    )
