"""The table of options: each setting's flag, environment variable, parser and help."""

from collections.abc import Mapping
from itertools import chain
from typing import Final

from modularity_registry.config import value_parsers
from modularity_registry.config.option import Option

_LISTENING = (
    Option("host", "REGISTRY_HOST", value_parsers.host, "Address to listen on."),
    Option("port", "REGISTRY_PORT", value_parsers.port, "Port to listen on."),
    Option(
        "workers",
        "REGISTRY_WORKERS",
        value_parsers.workers,
        "Number of serving processes; several need a store that they can share.",
    ),
)

_STORE = (
    Option(
        "store",
        "REGISTRY_STORE",
        value_parsers.store,
        "URL of the store for services: memory://, sqlite:///path, etcd://host, ...",
        secret=True,
    ),
    Option(
        "snapshot",
        "REGISTRY_SNAPSHOT",
        value_parsers.text,
        "File to serve from after a start until the store has been read, or off.",
    ),
    Option(
        "namespace",
        "REGISTRY_NAMESPACES",
        value_parsers.namespaces,
        "Namespaces beside the default one, such as team-a,team-b; or off.",
        several=True,
    ),
)

_CHECKS = (
    Option(
        "allowed_networks",
        "REGISTRY_ALLOWED_NETWORKS",
        value_parsers.networks,
        "Networks of services: loopback, private, or such as 10.0.0.0/8; use commas.",
        several=True,
    ),
    Option(
        "health_check_interval",
        "HEALTH_CHECK_INTERVAL",
        value_parsers.seconds,
        "Seconds between two checks of a service.",
    ),
    Option(
        "health_check_timeout",
        "HEALTH_CHECK_TIMEOUT",
        value_parsers.seconds,
        "Timeout of a check, in seconds.",
    ),
    Option(
        "health_check_fall",
        "HEALTH_CHECK_FALL",
        value_parsers.times,
        "Failures in a row that make a service unhealthy.",
    ),
    Option(
        "health_check_rise",
        "HEALTH_CHECK_RISE",
        value_parsers.times,
        "Successes in a row that make it healthy again.",
    ),
    Option(
        "confirm",
        "REGISTRY_CONFIRM",
        value_parsers.replicas,
        "Replicas that must fail to connect before a service is unhealthy, 1 or 2.",
    ),
    Option(
        "zone",
        "REGISTRY_ZONE",
        value_parsers.zone,
        "Zone of services that register here and name no zone and no region, or off.",
    ),
    Option(
        "region",
        "REGISTRY_REGION",
        value_parsers.zone,
        "Region of services that register here and name no zone and no region, or off.",
    ),
    Option(
        "zone_threshold",
        "REGISTRY_ZONE_THRESHOLD",
        value_parsers.share,
        "Share of a zone's providers, 0 to 1, that must be healthy to keep callers.",
    ),
)

_ACCESS = (
    Option(
        "auth",
        "REGISTRY_AUTH",
        value_parsers.flag,
        "Require a token with the right to each call.",
    ),
    Option(
        "tokens_file",
        "REGISTRY_TOKENS_FILE",
        value_parsers.text,
        "File with the tokens, instead of the store, or off; needs --auth.",
    ),
    Option(
        "anonymous",
        "REGISTRY_ANONYMOUS",
        value_parsers.rights,
        "Rights of callers without a token, such as read, or off; needs --auth.",
        several=True,
    ),
    Option(
        "allowed_origins",
        "REGISTRY_ALLOWED_ORIGINS",
        value_parsers.origins,
        "Origins of web pages that may call from a browser, separated by commas.",
        several=True,
    ),
)

_TLS = (
    Option(
        "tls_cert",
        "REGISTRY_TLS_CERT",
        value_parsers.text,
        "Certificate chain (PEM) to serve HTTPS with, or off.",
    ),
    Option(
        "tls_key",
        "REGISTRY_TLS_KEY",
        value_parsers.text,
        "Private key (PEM) of the certificate, or off.",
    ),
    Option(
        "tls_client_ca",
        "REGISTRY_TLS_CLIENT_CA",
        value_parsers.text,
        "CA (PEM) for client certificates, or off; every caller then needs one.",
    ),
    Option(
        "tls_min_version",
        "REGISTRY_TLS_MIN_VERSION",
        value_parsers.tls_version,
        "Oldest TLS version to accept: 1.2 or 1.3.",
    ),
    Option(
        "trusted_proxies",
        "REGISTRY_TRUSTED_PROXIES",
        value_parsers.proxies,
        "Networks of proxies that may report the caller's address, or off.",
        several=True,
    ),
    Option(
        "forwarded_header",
        "REGISTRY_FORWARDED_HEADER",
        value_parsers.forwarded_header,
        "Header that these proxies write: forwarded (RFC 7239) or x-forwarded-for.",
    ),
)

_LIMITS = (
    Option(
        "write_rate",
        "REGISTRY_WRITE_RATE",
        value_parsers.rate,
        "Most writes of one client, such as 600/minute, or off; more get 429.",
    ),
    Option(
        "read_rate",
        "REGISTRY_READ_RATE",
        value_parsers.rate,
        "Most costly reads (lists, graph, waits, ...) of one client, or off.",
    ),
    Option(
        "rate_store",
        "REGISTRY_RATE_STORE",
        value_parsers.rate_store,
        "Where to count calls: memory:// (for each worker) or redis://host (for all).",
        secret=True,
    ),
    Option(
        "max_connections",
        "REGISTRY_MAX_CONNECTIONS",
        value_parsers.places,
        "Most connections for each worker, beside streams and waiting reads.",
    ),
    Option(
        "max_watchers",
        "REGISTRY_MAX_WATCHERS",
        value_parsers.places,
        "Most open streams and waiting reads for each worker; more get 503.",
    ),
    Option(
        "max_watchers_per_client",
        "REGISTRY_MAX_WATCHERS_PER_CLIENT",
        value_parsers.places_or_none,
        "Most open streams and waiting reads of one client; 0 for 75 % of all.",
    ),
    Option(
        "max_services",
        "REGISTRY_MAX_SERVICES",
        value_parsers.quota,
        "Most services in all; 0 for no limit.",
    ),
    Option(
        "max_services_per_token",
        "REGISTRY_MAX_SERVICES_PER_TOKEN",
        value_parsers.quota,
        "Most services that one token may own; 0 for no limit.",
    ),
    Option(
        "max_megabytes",
        "REGISTRY_MAX_MEGABYTES",
        value_parsers.quota,
        "Most MiB of registrations in all; 0 for no limit.",
    ),
    Option(
        "max_megabytes_per_token",
        "REGISTRY_MAX_MEGABYTES_PER_TOKEN",
        value_parsers.quota,
        "Most MiB of registrations that one token may own; 0 for no limit.",
    ),
)

_UPSTREAMS = (
    Option(
        "upstream",
        "REGISTRY_UPSTREAM",
        value_parsers.upstreams,
        "Registries to ask when nobody healthy is here, as NAME=URL; or off.",
        several=True,
    ),
    Option(
        "upstream_token_file",
        "REGISTRY_UPSTREAM_TOKEN_FILE",
        value_parsers.upstream_token_files,
        "Files with the tokens for them, as NAME=FILE, or off; needs --upstream.",
        several=True,
    ),
)

_INTEGRATIONS = (
    Option(
        "integrations",
        "REGISTRY_INTEGRATIONS",
        value_parsers.integrations,
        "APIs of other registries and meshes to answer, such as consul; or off.",
        several=True,
    ),
    Option(
        "xds_port",
        "REGISTRY_XDS_PORT",
        value_parsers.other_port,
        "Port for xDS by gRPC, with --integrations envoy; 0 for xDS by REST alone.",
    ),
    Option(
        "mesh_default",
        "REGISTRY_MESH_DEFAULT",
        value_parsers.mesh_default,
        "Whether services of the mesh may call what no intention names: allow or deny.",
    ),
    Option(
        "mesh_trust_domain",
        "REGISTRY_MESH_TRUST_DOMAIN",
        value_parsers.domain,
        "Trust domain of the mesh, in the SPIFFE ids of its services.",
    ),
    Option(
        "mesh_certificate_lifetime",
        "REGISTRY_MESH_CERTIFICATE_LIFETIME",
        value_parsers.certificate_seconds,
        "Seconds that a certificate of the mesh is valid.",
    ),
    Option(
        "mesh_key_file",
        "REGISTRY_MESH_KEY_FILE",
        value_parsers.text,
        "File with the password that encrypts the mesh's root keys in the store, or"
        " off.",
    ),
)

_DNS = (
    Option(
        "dns_port",
        "REGISTRY_DNS_PORT",
        value_parsers.dns_port,
        "Port for DNS over UDP and TCP; 0 for no DNS.",
    ),
    Option(
        "dns_domain",
        "REGISTRY_DNS_DOMAIN",
        value_parsers.domain,
        "DNS domain, such as registry.internal.",
    ),
    Option(
        "dns_ttl",
        "REGISTRY_DNS_TTL",
        value_parsers.dns_ttl,
        "Seconds that DNS answers, negative ones included, may be cached.",
    ),
    Option(
        "dns_trusted_networks",
        "REGISTRY_DNS_TRUSTED_NETWORKS",
        value_parsers.dns_trusted_networks,
        "Networks that get whole DNS answers by UDP without a rate, or off.",
        several=True,
    ),
    Option(
        "dns_rate",
        "REGISTRY_DNS_RATE",
        value_parsers.rate,
        "Most DNS queries of one sender by UDP, or off; more are told to use TCP.",
    ),
)

_LOGS = (
    Option(
        "debug",
        "REGISTRY_DEBUG",
        value_parsers.flag,
        "Log more, show tracebacks; loopback only.",
    ),
    Option(
        "log_format",
        "REGISTRY_LOG_FORMAT",
        value_parsers.log_format,
        "Log format: human for people, json for programs.",
    ),
    Option(
        "log_level",
        "REGISTRY_LOG_LEVEL",
        value_parsers.log_level,
        "Lowest level to log: debug, info, warning or error.",
    ),
    Option(
        "otel_endpoint",
        "REGISTRY_OTEL_ENDPOINT",
        value_parsers.endpoint,
        "URL to send OpenTelemetry traces to (OTLP over HTTP), or off.",
        secret=True,
    ),
)

_AUDIT = (
    Option(
        "audit_file",
        "REGISTRY_AUDIT_FILE",
        value_parsers.text,
        "File for the audit, a line for every change and refusal, or off.",
    ),
    Option(
        "audit_megabytes",
        "REGISTRY_AUDIT_MEGABYTES",
        value_parsers.places,
        "Size at which the audit file is renamed and a new one begins.",
    ),
    Option(
        "audit_files",
        "REGISTRY_AUDIT_FILES",
        value_parsers.times,
        "How many renamed audit files to keep.",
    ),
)

GROUPS: Final[Mapping[str, tuple[Option, ...]]] = {
    "Listening": _LISTENING,
    "Store": _STORE,
    "Services and health checks": _CHECKS,
    "Access and tokens": _ACCESS,
    "TLS and proxies": _TLS,
    "Limits": _LIMITS,
    "Upstreams": _UPSTREAMS,
    "Integrations": _INTEGRATIONS,
    "DNS": _DNS,
    "Logs and traces": _LOGS,
    "Audit": _AUDIT,
}
"""The options by the heading that they have in ``--help``, in its order."""

OPTIONS: Final = tuple(chain.from_iterable(GROUPS.values()))
