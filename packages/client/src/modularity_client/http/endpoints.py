"""The registry's URLs: which one to ask first, and for how long to leave one alone."""

import random
from collections.abc import Sequence
from urllib.parse import urlsplit

AWAY = 30.0
"""Seconds, on average, after which a URL that failed is tried again."""


def parse_urls(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the URLs without a slash at the end; a string may hold several.

    Raises `ValueError` for what isn't an ``http`` or ``https`` URL of a server.
    """
    parts = given.split(",") if isinstance(given, str) else given
    urls = tuple(dict.fromkeys(part.strip().rstrip("/") for part in parts))
    urls = tuple(url for url in urls if url)
    for url in urls:
        if not _is_server(url):
            raise ValueError(
                f"{url!r} is not a registry's URL; write http://host:port, several"
                " with commas"
            )
    if not urls:
        raise ValueError("there is no registry URL; write http://host:port")
    return urls


def _is_server(url: str) -> bool:
    try:
        parsed = urlsplit(url)
        port = parsed.port
    except ValueError:  # brackets without an end, a port that can't be one
        return False
    plain = not (parsed.query or parsed.fragment or parsed.username)
    return (
        parsed.scheme in ("http", "https")
        and bool(parsed.hostname)
        and plain
        and port != 0
    )


class Endpoints:
    """URLs of one registry, in the order of preference. Safe to share across threads.

    All calls go to the first that works. One that failed is left alone for a while,
    then it is preferred again; if all have failed, all are asked.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = tuple(urls)
        # Each operation on it is atomic, and an older view does no harm.
        self._away: dict[str, float] = {}

    def order(self, now: float) -> tuple[str, ...]:
        """Return all URLs, in the order in which to ask them."""
        away = dict(self._away)

        def back(url: str) -> float:
            return max(0.0, away.get(url, 0.0) - now)

        return tuple(sorted(self.urls, key=back))  # stable: preference decides ties

    def worked(self, url: str) -> None:
        """Note that a URL answered."""
        self._away.pop(url, None)

    def failed(self, url: str, now: float) -> None:
        """Note that a URL gave no answer; ``now`` is in seconds, monotonic."""
        # Not all clients are to come back in the same moment.
        self._away[url] = now + AWAY * random.uniform(0.5, 1.5)
