"""Typed settings: flags over environment over defaults; a bad value stops the start."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modularity_registry.address import AddressPolicy
from modularity_registry.errors import BadSetting
from modularity_registry.logs import FORMATS, LEVELS
from modularity_registry.model import CheckPlan
from modularity_registry.stores import check_store_url

OFF = "off"
"""What is written in place of an address where there is none."""

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. Times are seconds."""

    host: str = "127.0.0.1"
    port: int = 5000
    debug: bool = False
    health_check_interval: float = 30.0
    health_check_timeout: float = 5.0
    health_check_fall: int = 3
    health_check_rise: int = 1
    store: str = "memory://"
    allowed_origins: tuple[str, ...] = (
        "http://localhost:3000",
        "http://localhost:8080",
        "http://127.0.0.1:3000",
    )
    allowed_networks: str = "loopback,private"
    max_watchers: int = 6000
    workers: int = 1
    dns_port: int = 0
    dns_domain: str = "modularity"
    dns_ttl: int = 5
    log_format: str = "human"
    log_level: str = "info"
    otel_endpoint: str = OFF

    @property
    def check_defaults(self) -> CheckPlan:
        """The check of a service that asks for nothing of its own."""
        return CheckPlan(self.health_check_interval, self.health_check_timeout)

    @property
    def level(self) -> str:
        """The least level that is logged, with `debug` in mind."""
        return "debug" if self.debug else self.log_level

    @property
    def store_kind(self) -> str:
        """The store's kind alone: its URL may hold a password."""
        return self.store.partition(":")[0]


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value.strip()


def _port(value: str) -> int:
    if value.startswith("tcp://"):
        # What Kubernetes and Docker links put there for a service named "registry".
        raise ValueError(
            "must be a number: this looks like Kubernetes' variable for a Service named"
            " 'registry'; rename that Service or set enableServiceLinks: false"
        )
    return _whole(value, 1, 65_535)


def _whole(value: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
        raise ValueError(f"must be a whole number from {least} to {most}")
    return int(value)


def _flag(value: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False, "": False}
    if value.strip().lower() not in words:
        raise ValueError("must be true or false")
    return words[value.strip().lower()]


def _seconds(value: str) -> float:
    message = "must be a number of seconds from 0.1 to 86400"
    try:
        number = float(value)
    except ValueError:
        raise ValueError(message) from None
    if not 0.1 <= number <= 86_400:
        raise ValueError(message)
    return number


def _places(value: str) -> int:
    return _whole(value, 1, 100_000)


def _workers(value: str) -> int:
    return _whole(value, 1, 64)


def _dns_port(value: str) -> int:
    if value.startswith(("tcp://", "udp://")):
        raise ValueError(
            "must be a number: this looks like Kubernetes' variable for a Service named"
            " 'registry-dns'; rename that Service or set enableServiceLinks: false"
        )
    return _whole(value, 0, 65_535)


def _dns_ttl(value: str) -> int:
    return _whole(value, 0, 86_400)


# A host name's labels, with room for the names under it: see `dns.names`.
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DOMAIN = re.compile(rf"(?!.{{61}}){_LABEL}(?:\.{_LABEL})*")


def _domain(value: str) -> str:
    domain = value.strip().lower().removesuffix(".")
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(
            "must be a domain of at most 60 letters, digits, hyphens and dots, such as"
            " registry.internal"
        )
    return domain


def _one_of(value: str, words: tuple[str, ...]) -> str:
    if value.strip().lower() not in words:
        raise ValueError(f"must be {', '.join(words[:-1])} or {words[-1]}")
    return value.strip().lower()


def _log_format(value: str) -> str:
    return _one_of(value, FORMATS)


def _log_level(value: str) -> str:
    return _one_of(value, LEVELS)


def _endpoint(value: str) -> str:
    endpoint = value.strip()
    if endpoint != OFF and not re.fullmatch(r"https?://[^/\s?#]+[^\s?#]*", endpoint):
        raise ValueError(
            "must be the http:// or https:// address of a collector, such as"
            f" http://127.0.0.1:4318, or {OFF}"
        )
    return endpoint


def _times(value: str) -> int:
    return _whole(value, 1, 100)


def _origins(value: str) -> tuple[str, ...]:
    origins = tuple(part.strip() for part in value.split(",") if part.strip())
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"https?://[A-Za-z0-9.\-:\[\]]+", origin):
            raise ValueError(
                f"{origin!r} is not an origin; write http://host or http://host:port,"
                " several with commas, or * for all"
            )
    return origins


def _networks(value: str) -> str:
    AddressPolicy.parse(value)
    return value


def _store(value: str) -> str:
    check_store_url(value)
    return value


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
    Option("host", "REGISTRY_HOST", _text, "Address to listen on."),
    Option("port", "REGISTRY_PORT", _port, "Port to listen on."),
    Option("debug", "REGISTRY_DEBUG", _flag, "Say more; loopback only."),
    Option(
        "health_check_interval",
        "HEALTH_CHECK_INTERVAL",
        _seconds,
        "Seconds between two checks of a service.",
    ),
    Option(
        "health_check_timeout",
        "HEALTH_CHECK_TIMEOUT",
        _seconds,
        "Seconds that a check may take.",
    ),
    Option(
        "health_check_fall",
        "HEALTH_CHECK_FALL",
        _times,
        "Failures in a row that make a service unhealthy.",
    ),
    Option(
        "health_check_rise",
        "HEALTH_CHECK_RISE",
        _times,
        "Successes in a row that make it healthy again.",
    ),
    Option(
        "store",
        "REGISTRY_STORE",
        _store,
        "Where to keep services, as a URL: memory://, sqlite:///path, etcd://host, ...",
    ),
    Option(
        "allowed_origins",
        "REGISTRY_ALLOWED_ORIGINS",
        _origins,
        "Web origins that may call from a browser, with commas.",
    ),
    Option(
        "allowed_networks",
        "REGISTRY_ALLOWED_NETWORKS",
        _networks,
        "Where services may live: loopback, private, networks like 10.0.0.0/8.",
    ),
    Option(
        "max_watchers",
        "REGISTRY_MAX_WATCHERS",
        _places,
        "Streams and waiting reads at once and worker; more get 503.",
    ),
    Option(
        "workers",
        "REGISTRY_WORKERS",
        _workers,
        "Processes that serve; more than one needs a store they can share.",
    ),
    Option(
        "dns_port",
        "REGISTRY_DNS_PORT",
        _dns_port,
        "Port to answer DNS on, by UDP and TCP; 0 for no DNS.",
    ),
    Option(
        "dns_domain",
        "REGISTRY_DNS_DOMAIN",
        _domain,
        "Domain that DNS answers for, such as registry.internal.",
    ),
    Option(
        "dns_ttl",
        "REGISTRY_DNS_TTL",
        _dns_ttl,
        "Seconds for which DNS answers, and that there is none, may be kept.",
    ),
    Option(
        "log_format",
        "REGISTRY_LOG_FORMAT",
        _log_format,
        "Lines of the log for people or for programs: human or json.",
    ),
    Option(
        "log_level",
        "REGISTRY_LOG_LEVEL",
        _log_level,
        "Least level to log: debug, info, warning or error.",
    ),
    Option(
        "otel_endpoint",
        "REGISTRY_OTEL_ENDPOINT",
        _endpoint,
        "Where to send OpenTelemetry traces by OTLP over HTTP, or off.",
    ),
)


def load(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
    """Return the settings; ``flags`` by field name, None where not given.

    Raises `BadSetting` with one line that names the setting, its value and what it
    should be. A variable that is one slip away from a setting is refused as well.
    """
    values: dict[str, Any] = {}
    for option in OPTIONS:
        flag = flags.get(option.field)
        name, given = (
            (option.flag, flag)
            if flag is not None
            else (option.env, environ.get(option.env))
        )
        if given is None:
            continue
        try:
            values[option.field] = option.parse(given)
        except (ValueError, BadSetting) as error:
            detail = error.detail if isinstance(error, BadSetting) else str(error)
            # A URL with an @ may hold a password, which belongs in no log.
            shown = name if "@" in given else f"{name}={given!r}"
            raise BadSetting(f"{shown}: {detail}") from None
    _refuse_slips(environ)
    settings = Settings(**values)
    if settings.debug and settings.host not in LOOPBACK_HOSTS:
        raise BadSetting(
            f"--debug shows internals, so it is for loopback only, not for"
            f" {settings.host!r}; leave out --debug or use --host 127.0.0.1"
        )
    if settings.workers > 1 and settings.store_kind == "memory":
        raise BadSetting(
            f"--workers {settings.workers} needs a store that processes can share, and"
            " memory:// is within one; add for example --store sqlite:///registry.db"
        )
    if settings.dns_port == settings.port:
        raise BadSetting(
            f"--dns-port {settings.dns_port} is the port for HTTP as well, and both use"
            " TCP; choose another one for --dns-port"
        )
    return settings


# What Kubernetes sets in every pod for a Service named "registry".
_SERVICE_LINK = re.compile(r"REGISTRY_(SERVICE_.*|PORT_[0-9]+_(TCP|UDP).*)")


def _refuse_slips(environ: Mapping[str, str]) -> None:
    known = [option.env for option in OPTIONS]
    for name in sorted(environ):
        if not name.startswith(("REGISTRY_", "HEALTH_CHECK_")) or name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.88)
        if near and not _SERVICE_LINK.fullmatch(name):
            raise BadSetting(f"{name} is not a setting; did you mean {near[0]}?")
