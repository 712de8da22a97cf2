"""What the settings are called outside, and how each is read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modularity_registry.config import value_parsers


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its field in `Settings`, its names outside, how it is read."""

    field: str
    env: str
    parse: Callable[[str], Any]
    help: str

    @property
    def flag(self) -> str:
        """The command line's name for it."""
        return "--" + self.field.replace("_", "-")


OPTIONS = (
    Option("host", "REGISTRY_HOST", value_parsers.text, "Address to listen on."),
    Option("port", "REGISTRY_PORT", value_parsers.port, "Port to listen on."),
    Option("debug", "REGISTRY_DEBUG", value_parsers.flag, "Say more; loopback only."),
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
        "Seconds that a check may take.",
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
        "store",
        "REGISTRY_STORE",
        value_parsers.store,
        "Where to keep services, as a URL: memory://, sqlite:///path, etcd://host, ...",
    ),
    Option(
        "allowed_origins",
        "REGISTRY_ALLOWED_ORIGINS",
        value_parsers.origins,
        "Web origins that may call from a browser, with commas.",
    ),
    Option(
        "allowed_networks",
        "REGISTRY_ALLOWED_NETWORKS",
        value_parsers.networks,
        "Where services may live: loopback, private, networks like 10.0.0.0/8.",
    ),
    Option(
        "max_watchers",
        "REGISTRY_MAX_WATCHERS",
        value_parsers.places,
        "Streams and waiting reads at once and worker; more get 503.",
    ),
    Option(
        "workers",
        "REGISTRY_WORKERS",
        value_parsers.workers,
        "Processes that serve; more than one needs a store they can share.",
    ),
    Option(
        "dns_port",
        "REGISTRY_DNS_PORT",
        value_parsers.dns_port,
        "Port to answer DNS on, by UDP and TCP; 0 for no DNS.",
    ),
    Option(
        "dns_domain",
        "REGISTRY_DNS_DOMAIN",
        value_parsers.domain,
        "Domain that DNS answers for, such as registry.internal.",
    ),
    Option(
        "dns_ttl",
        "REGISTRY_DNS_TTL",
        value_parsers.dns_ttl,
        "Seconds for which DNS answers, and that there is none, may be kept.",
    ),
    Option(
        "log_format",
        "REGISTRY_LOG_FORMAT",
        value_parsers.log_format,
        "Lines of the log for people or for programs: human or json.",
    ),
    Option(
        "log_level",
        "REGISTRY_LOG_LEVEL",
        value_parsers.log_level,
        "Least level to log: debug, info, warning or error.",
    ),
    Option(
        "otel_endpoint",
        "REGISTRY_OTEL_ENDPOINT",
        value_parsers.endpoint,
        "Where to send OpenTelemetry traces by OTLP over HTTP, or off.",
    ),
    Option(
        "auth",
        "REGISTRY_AUTH",
        value_parsers.flag,
        "Take calls only from those whose token has the right to them.",
    ),
    Option(
        "tokens_file",
        "REGISTRY_TOKENS_FILE",
        value_parsers.text,
        "A file that holds the tokens in place of the store, or off; needs --auth.",
    ),
    Option(
        "anonymous",
        "REGISTRY_ANONYMOUS",
        value_parsers.rights,
        "Rights of callers without a token, such as read, or off; needs --auth.",
    ),
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
        "CA (PEM) that must have signed every caller's certificate, or off.",
    ),
    Option(
        "tls_min_version",
        "REGISTRY_TLS_MIN_VERSION",
        value_parsers.tls_version,
        "Oldest TLS that is spoken: 1.2 or 1.3.",
    ),
    Option(
        "trusted_proxies",
        "REGISTRY_TRUSTED_PROXIES",
        value_parsers.proxies,
        "Networks of the proxies whose word on the caller's address is believed.",
    ),
    Option(
        "forwarded_header",
        "REGISTRY_FORWARDED_HEADER",
        value_parsers.forwarded_header,
        "Where they say it: forwarded (RFC 7239) or x-forwarded-for.",
    ),
    Option(
        "write_rate",
        "REGISTRY_WRITE_RATE",
        value_parsers.rate,
        "Writes that one client may make, such as 600/minute, or off; more get 429.",
    ),
    Option(
        "read_rate",
        "REGISTRY_READ_RATE",
        value_parsers.rate,
        "The same for reads that cost more than a lookup: lists, graph, waits, ...",
    ),
    Option(
        "rate_store",
        "REGISTRY_RATE_STORE",
        value_parsers.rate_store,
        "Where rates are counted: memory:// (each worker alone) or redis://host.",
    ),
    Option(
        "max_connections",
        "REGISTRY_MAX_CONNECTIONS",
        value_parsers.places,
        "Connections at once and worker, beside those that watch.",
    ),
    Option(
        "max_watchers_per_client",
        "REGISTRY_MAX_WATCHERS_PER_CLIENT",
        value_parsers.places_or_none,
        "Of the places for watchers, how many one client may take; 0 for all.",
    ),
    Option(
        "audit_file",
        "REGISTRY_AUDIT_FILE",
        value_parsers.text,
        "File for a line of JSON about every change and refusal, or off.",
    ),
    Option(
        "audit_megabytes",
        "REGISTRY_AUDIT_MEGABYTES",
        value_parsers.places,
        "Size at which the audit file is put aside and a new one begun.",
    ),
    Option(
        "audit_files",
        "REGISTRY_AUDIT_FILES",
        value_parsers.times,
        "How many audit files to keep beside the present one.",
    ),
)
