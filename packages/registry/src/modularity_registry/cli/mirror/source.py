"""Where services come from, and what is known of each."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit

SOURCE: Final = "mirrored_from"
"""The key in a service's metadata for where it comes from."""

KEY: Final = "mirrored_key"
"""The same for what it is called there."""

Health = Literal["healthy", "warning", "unhealthy"]


class SourceAway(Exception):
    """The source does not answer, or not as it should; the text says why."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A service at the source.

    ``key`` tells it apart there. ``ids`` are those that it may have here, best first.
    ``body`` is what to register, but for the id. ``note`` is why it is not healthy.
    """

    key: str
    ids: tuple[str, ...]
    body: Mapping[str, Any]
    health: Health = "healthy"
    note: str = ""


Snapshot = Mapping[str, Instance]
"""All services of a source by their keys."""


class Source(Protocol):
    """Reads a source. Raises `SourceAway`."""

    async def read(self) -> Snapshot:
        """Return all services."""

    def follow(self) -> AsyncGenerator[Snapshot, None]:
        """Yield all services now, and again whenever some have changed.

        It may yield the same again.
        """


class BadSource(ValueError):
    """A source's address that makes no sense; the text says what to write."""


@dataclass(frozen=True, slots=True)
class Address:
    """A source's address: its ``kind``, and the URL to call without user and password.

    ``name`` is what its services are marked with.
    """

    kind: Literal["consul", "eureka"]
    url: str
    user: tuple[str, str] | None
    name: str


def parsed(text: str) -> Address:
    """Return the address in ``consul://host:8500`` or ``eureka=http://host/eureka``.

    Raises `BadSource`.
    """
    kind, equals, url = text.partition("=")
    if not equals or kind not in ("consul", "eureka"):
        kind, separator, rest = text.partition("://")
        url = f"http://{rest}" if separator else ""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _bad(text) from None
    is_url = parts.scheme in ("http", "https") and parts.hostname
    if kind not in ("consul", "eureka") or not is_url or parts.query or parts.fragment:
        raise _bad(text)
    host = parts.hostname or ""
    place = f"[{host}]" if ":" in host else host
    place = f"{place}:{port}" if port else place
    user = (parts.username or "", parts.password or "") if parts.username else None
    path = parts.path.rstrip("/")
    return Address(
        "consul" if kind == "consul" else "eureka",
        f"{parts.scheme}://{place}{path}",
        user,
        f"{kind}://{place}",
    )


def _bad(text: str) -> BadSource:
    shown = text.rpartition("@")[2]
    return BadSource(
        f"{shown!r} is no source; write consul://host:8500, consul=https://host:8501 or"
        " eureka=http://host:8761/eureka"
    )


def is_wanted(name: str, patterns: tuple[str, ...]) -> bool:
    """Say whether a name matches one of the patterns; with none, all are wanted."""
    return not patterns or any(
        fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns
    )
