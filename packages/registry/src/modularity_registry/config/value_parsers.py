"""Read a setting's value from text; `ValueError` says what the value should be."""

import ipaddress
import re
from urllib.parse import urlsplit

from modularity_registry.config.settings import DEFAULT_NAMESPACE, INTEGRATIONS, OFF
from modularity_registry.model.intention import ACTIONS
from modularity_registry.model.rights import Right
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.schema.patterns import NAMESPACE_PATTERN, ZONE_PATTERN
from modularity_registry.stores import check_store_url
from modularity_registry.telemetry.logs import FORMATS, LEVELS


def text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value.strip()


def host(value: str) -> str:
    host = text(value)
    # An IPv6 address as it stands in a URL.
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def port(value: str) -> int:
    if value.startswith("tcp://"):
        # What Kubernetes and Docker links put there for a service named "registry".
        raise ValueError(
            "must be a number; this value looks like the one that Kubernetes sets for a"
            " Service named 'registry'; rename the Service, or set enableServiceLinks:"
            " false"
        )
    return whole(value, 1, 65_535)


def whole(value: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
        raise ValueError(f"must be a whole number from {least} to {most}")
    return int(value)


def flag(value: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False, "": False}
    if value.strip().lower() not in words:
        raise ValueError("must be true or false")
    return words[value.strip().lower()]


def seconds(value: str) -> float:
    message = "must be a number of seconds from 0.1 to 86400"
    try:
        number = float(value)
    except ValueError:
        raise ValueError(message) from None
    if not 0.1 <= number <= 86_400:
        raise ValueError(message)
    return number


def certificate_seconds(value: str) -> float:
    message = "must be a number of seconds from 10 to 2592000, which are 30 days"
    try:
        number = float(value)
    except ValueError:
        raise ValueError(message) from None
    if not 10 <= number <= 2_592_000:
        raise ValueError(message)
    return number


def mesh_default(value: str) -> str:
    return one_of(value, ACTIONS)


def zone(value: str) -> str:
    name = value.strip()
    if name not in ("", OFF) and not re.fullmatch(ZONE_PATTERN, name):
        raise ValueError(
            "must be a letter or digit, then letters, digits, dots, underscores and"
            f" hyphens, at most 63 in all, or {OFF}"
        )
    return name or OFF


def share(value: str) -> float:
    if not re.fullmatch(r"0|1|[01]?\.[0-9]{1,6}", value) or float(value) > 1:
        raise ValueError("must be a number from 0 to 1, such as 0.7")
    return float(value)


def places(value: str) -> int:
    return whole(value, 1, 100_000)


def workers(value: str) -> int:
    return whole(value, 1, 64)


def dns_port(value: str) -> int:
    if value.startswith(("tcp://", "udp://")):
        raise ValueError(
            "must be a number; this value looks like the one that Kubernetes sets for a"
            " Service named 'registry-dns'; rename the Service, or set"
            " enableServiceLinks: false"
        )
    return whole(value, 0, 65_535)


def other_port(value: str) -> int:
    return whole(value, 0, 65_535)


def dns_ttl(value: str) -> int:
    return whole(value, 0, 86_400)


# A host name's labels, with room for the names under it: see `dns.names`.
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DOMAIN = re.compile(rf"(?!.{{61}}){_LABEL}(?:\.{_LABEL})*")


def domain(value: str) -> str:
    domain = value.strip().lower().removesuffix(".")
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(
            "must be a domain of at most 60 letters, digits, hyphens and dots, such as"
            " registry.internal"
        )
    return domain


def one_of(value: str, words: tuple[str, ...]) -> str:
    if value.strip().lower() not in words:
        raise ValueError(f"must be {', '.join(words[:-1])} or {words[-1]}")
    return value.strip().lower()


def log_format(value: str) -> str:
    return one_of(value, FORMATS)


def log_level(value: str) -> str:
    return one_of(value, LEVELS)


def endpoint(value: str) -> str:
    endpoint = value.strip()
    if endpoint != OFF and not re.fullmatch(r"https?://[^/\s?#]+[^\s?#]*", endpoint):
        raise ValueError(
            "must be the http:// or https:// address of a collector, such as"
            f" http://127.0.0.1:4318, or {OFF}"
        )
    return endpoint


def times(value: str) -> int:
    return whole(value, 1, 100)


def replicas(value: str) -> int:
    return whole(value, 1, 2)


def origins(value: str) -> tuple[str, ...]:
    if value.strip().lower() == OFF:
        return ()
    origins = tuple(part.strip() for part in value.split(",") if part.strip())
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"https?://[A-Za-z0-9.\-:\[\]]+", origin):
            # One with an @ may hold a password.
            shown = "this" if "@" in origin else repr(origin)
            raise ValueError(
                f"{shown} is not an origin; write http://host or http://host:port,"
                " separate several by commas, or write * for all"
            )
    return origins


def networks(value: str) -> str:
    AddressPolicy.parse(value)
    return value


def dns_trusted_networks(value: str) -> str:
    if value.strip() == OFF:
        return OFF
    AddressPolicy.parse(value, "REGISTRY_DNS_TRUSTED_NETWORKS")
    return value


def store(value: str) -> str:
    check_store_url(value)
    return value


MOST_NAMESPACES = 64


def namespaces(value: str) -> tuple[str, ...]:
    if value.strip().lower() == OFF:
        return ()
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    for name in names:
        if not re.fullmatch(NAMESPACE_PATTERN, name):
            raise ValueError(
                f"{name!r} is not a namespace's name; write at most 63 lower-case"
                " letters, digits and hyphens, and separate several by commas"
            )
        if name == DEFAULT_NAMESPACE:
            raise ValueError(f"{name!r} is there in any case; leave it out")
        if names.count(name) > 1:
            raise ValueError(f"has the name {name} twice")
    if len(names) > MOST_NAMESPACES:
        raise ValueError(f"has {len(names)} names; at most {MOST_NAMESPACES} are taken")
    return names


def quota(value: str) -> int:
    return whole(value, 0, 100_000_000)


def places_or_none(value: str) -> int:
    return whole(value, 0, 100_000)


def rights(value: str) -> frozenset[Right]:
    if value.strip().lower() == OFF:
        return frozenset()
    words = [part.strip().lower() for part in value.split(",") if part.strip()]
    names = [right.value for right in Right if right is not Right.ADMIN]
    for word in words:
        if word not in names:
            raise ValueError(
                f"must be {', '.join(names)}, or several separated by commas"
            )
    return frozenset(map(Right, words))


def tls_version(value: str) -> str:
    return one_of(value, ("1.2", "1.3"))


def forwarded_header(value: str) -> str:
    return one_of(value, ("forwarded", "x-forwarded-for"))


def proxies(value: str) -> str:
    if value.strip() == OFF:
        return OFF
    for part in value.split(","):
        try:
            ipaddress.ip_network(part.strip())
        except ValueError as error:
            raise ValueError(
                f"{error}; write addresses or networks such as 10.0.0.0/8, separated by"
                " commas"
            ) from None
    return value


_RATE = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour|day)")


def rate(value: str) -> str:
    rate = value.strip().lower()
    if rate != OFF and not _RATE.fullmatch(rate):
        raise ValueError(
            "must be a number per second, minute, hour or day, such as 600/minute,"
            f" or {OFF}"
        )
    return rate


def rate_store(value: str) -> str:
    message = "must be memory://, redis://host:port or rediss://host:port"
    if value == "memory://":
        return value
    try:
        parts = urlsplit(value)
        has_address = parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError(message) from None
    if (
        parts.scheme not in ("redis", "rediss")
        or not has_address
        or re.search(r"\s", value)
    ):
        raise ValueError(message)
    return value


def integrations(value: str) -> tuple[str, ...]:
    if value.strip().lower() == OFF:
        return ()
    names = [name.strip().lower() for name in value.split(",")]
    unknown = [name for name in names if name not in INTEGRATIONS]
    if unknown:
        raise ValueError(
            f"has no {unknown[0]!r}; name some of {', '.join(INTEGRATIONS)}, separated"
            f" by commas, or write {OFF}"
        )
    return tuple(dict.fromkeys(names))


_UPSTREAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def upstreams(value: str) -> tuple[str, ...]:
    # Late: the client takes 0.2 s to load.
    from modularity_client.http.endpoints import parse_urls

    named = _named(value)
    return tuple(f"{name}={parse_urls(url)[0]}" for name, url in named.items())


def upstream_token_files(value: str) -> tuple[str, ...]:
    return tuple(f"{name}={path}" for name, path in _named(value).items())


def _named(value: str) -> dict[str, str]:
    """Return what is written as NAME=VALUE, several with commas, by name."""
    if value.strip().lower() == OFF:
        return {}
    named: dict[str, str] = {}
    for part in value.split(","):
        name, _, given = part.strip().partition("=")
        if not _UPSTREAM_NAME.fullmatch(name) or not given:
            raise ValueError(
                "must be NAME=VALUE, several separated by commas, with names of at most"
                " 63 letters, digits, - and _"
            )
        if name in named:
            raise ValueError(f"has the name {name} twice")
        named[name] = given
    return named
