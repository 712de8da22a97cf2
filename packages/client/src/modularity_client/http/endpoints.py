"""The registry's URLs: which one to try first, and how long to avoid a failed one."""

import random
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

AVOID_SECONDS = 30.0
"""Seconds, on average, after which a URL that failed is tried again."""


def parse_urls(urls: str | Sequence[str]) -> tuple[str, ...]:
    """Return the URLs without a slash at the end; a string may hold several.

    Raises `ValueError` for what isn't an ``http`` or ``https`` URL of a server.
    """
    parts = urls.split(",") if isinstance(urls, str) else urls
    parsed = tuple(dict.fromkeys(part.strip().rstrip("/") for part in parts))
    parsed = tuple(url for url in parsed if url)
    for url in parsed:
        if not _is_server(url):
            # A comma in a password cuts it in two.
            shown = redacted(",".join(parts) if "@" in ",".join(parts) else url)
            raise ValueError(
                f"{shown!r} is not a registry's URL; write http://host:port,"
                " several with commas, and give a token instead of a user and password"
            )
    if not parsed:
        raise ValueError("there is no registry URL; write http://host:port")
    return parsed


def redacted(url: str) -> str:
    """Return a URL without what may be secret: user, password, query and fragment."""
    has_query = "?" in url or "#" in url
    if "@" not in url:
        return re.split("[?#]", url)[0] + "?***" * has_query
    if has_query:  # either may be a part of the other
        return "***"
    return re.sub(r"^(\w+://)?.*@", r"\1***@", url, flags=re.DOTALL)


def _is_server(url: str) -> bool:
    try:
        parsed = urlsplit(url)
        port = parsed.port
    except ValueError:  # an unclosed bracket, an invalid port
        return False
    plain = not (parsed.query or parsed.fragment or "@" in parsed.netloc)
    return (
        parsed.scheme in ("http", "https")
        and bool(parsed.hostname)
        and plain
        and port != 0
    )


class Endpoints:
    """The URLs of one registry, in order of preference. Thread-safe.

    All calls go to the first URL that works. A failed URL is avoided for a while, then
    preferred again; if all have failed, all are tried.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = tuple(urls)
        # Each operation on it is atomic, and an outdated order does no harm.
        self._avoid_until: dict[str, float] = {}

    def order(self, now: float) -> tuple[str, ...]:
        """Return all URLs, in the order in which to try them."""
        avoid_until = dict(self._avoid_until)

        def remaining(url: str) -> float:
            return max(0.0, avoid_until.get(url, 0.0) - now)

        return tuple(
            sorted(self.urls, key=remaining)
        )  # stable: preference decides ties

    def worked(self, url: str) -> None:
        """Note that a URL answered."""
        self._avoid_until.pop(url, None)

    def failed(self, url: str, now: float) -> None:
        """Note that a URL gave no answer; ``now`` is in seconds, monotonic."""
        # Jitter: not all clients should come back at the same moment.
        self._avoid_until[url] = now + AVOID_SECONDS * random.uniform(0.5, 1.5)
