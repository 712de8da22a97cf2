"""Parses the URL of a store's server: hosts, credentials and options.

``<scheme>://[user:password@]host[:port][,host[:port]...][/database][?options]``, with
the options ``prefix``, ``tls``, ``ca``, ``cert`` and ``key``. Where Sentinels are asked
for the server, the path is ``/name[/database]``.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote

DEFAULT_PREFIX: Final = "modularity"

_CREDENTIALS: Final = frozenset({"password", "token", "user", "username"})


class Host(NamedTuple):
    """One address of a server; an IPv6 ``name`` has no brackets."""

    name: str
    port: int

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files; without ``ca`` the system's CAs are trusted."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A server, or the members of a cluster, and the store's prefix there.

    The names of everything that the store keeps there begin with ``prefix``. With a
    ``primary``, the hosts are Sentinels, which know that server by this name.
    """

    hosts: tuple[Host, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    primary: str = ""
    prefix: str = DEFAULT_PREFIX
    tls: Tls | None = None

    def __str__(self) -> str:
        """Return the addresses, for messages, without credentials."""
        return ",".join(map(str, self.hosts))


class Form(NamedTuple):
    """What a kind of URL accepts: ``database`` is a pattern, None for no database.

    ``sentinels``: the path begins with the name of a primary.
    """

    port: int
    database: str | None = None
    several: bool = False
    tls: bool = False
    sentinels: bool = False


def read_server(parts: SplitResult, form: Form) -> Server:
    """Return the server that a URL names.

    Raises `ValueError` with the reason, as the rest of a sentence that begins with
    the URL's scheme; it repeats no credentials.
    """
    if parts.fragment:
        raise ValueError("accepts no fragment; write # as %23 in a password")
    credentials, at, addresses = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":") if at else ("", "", "")
    hosts = tuple(_host(address, form.port) for address in addresses.split(","))
    if len(hosts) > 1 and not form.several:
        raise ValueError("accepts one host only")
    options = _options(parts.query)
    primary, path = _primary(parts.path) if form.sentinels else ("", parts.path)
    return Server(
        hosts,
        user=_decoded(user),
        password=_decoded(password),
        database=_database(path, form),
        primary=primary,
        prefix=_prefix(options.pop("prefix", DEFAULT_PREFIX)),
        tls=_tls(options, form.tls),
    )


def _options(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict"
        )
    except ValueError:
        raise ValueError("needs options as ?name=value&name=value") from None
    options = dict(pairs)
    if len(options) < len(pairs):
        raise ValueError("accepts each option once")
    for name in options:
        if name in _CREDENTIALS:
            raise ValueError(f"takes no {name} as an option, but before the host")
        if name not in ("prefix", "tls", "ca", "cert", "key"):
            # Not repeated: it may be a part of a password.
            raise ValueError(
                "has an option that does not exist; use prefix, tls, ca, cert or key"
            )
    return options


def _host(text: str, default: int) -> Host:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d+))?", text)
    if match is None:
        raise ValueError("needs a host, or host:port, several with commas")
    port = int(match[3] or default)
    if not 0 < port < 65_536:
        raise ValueError("needs a port from 1 to 65535")
    return Host(match[1] or match[2], port)


def _primary(path: str) -> tuple[str, str]:
    """Return the name that the path begins with, and what follows it."""
    name, _, rest = path.removeprefix("/").partition("/")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise ValueError("needs the name of the primary after the Sentinels")
    return name, rest


def _database(path: str, form: Form) -> str:
    name = _decoded(path.removeprefix("/"))
    if form.database is None:
        if name:
            raise ValueError("accepts no path; to share a server, use ?prefix=name")
    elif not re.fullmatch(form.database, name):
        raise ValueError("names no valid database")
    return name


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,47}", text):
        raise ValueError(
            "needs a prefix of 1 to 48 letters, digits, dots, hyphens and underscores"
        )
    return text


def _tls(options: dict[str, str], always: bool) -> Tls | None:
    value = options.pop("tls", "true" if always else "false")
    if value not in ("true", "false"):
        raise ValueError("accepts tls=true or tls=false")
    if value == "false":
        if always:
            raise ValueError("always uses TLS")
        if options:
            raise ValueError(f"accepts {', '.join(sorted(options))} only with tls=true")
        return None
    if ("cert" in options) != ("key" in options):
        raise ValueError("needs cert and key together")
    for name, path in options.items():
        if not Path(path).is_file():
            raise ValueError(f"can't find the file of {name}: {path}")
    return Tls(**options)


def _decoded(text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("has a % code that is not UTF-8") from None
    if any(character < " " for character in decoded):
        raise ValueError("accepts no control characters")
    return decoded
