"""The HTTP check: any 2xx, unless its body says that the service is not well."""

import socket
import ssl
import time
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from modularity_registry import __version__
from modularity_registry.errors import AddressRefused
from modularity_registry.health.probes.address_gate import Gate
from modularity_registry.health.probes.http_body import BODY_LIMIT, check_body
from modularity_registry.health.probes.outcome import (
    HEAD_LINE_LIMIT,
    HEADERS_LIMIT,
    CheckFailed,
    ConnectForbidden,
)
from modularity_registry.model.location import InvalidLocation, Location

KEEPALIVE: Final = 3.0  # seconds
_AUTHORITIES: Final = 4_096
_HEADERS: Final = {
    "User-Agent": f"modularity-registry/{__version__}",
    "Accept": "application/json, */*;q=0.5",
    "Accept-Encoding": "identity",
}


class _GatedResolver(AbstractResolver):
    """Lets a name through only if all of its addresses may be connected to."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            addresses = await self._gate.addresses(host, port)
        except AddressRefused as refused:
            raise ConnectForbidden(refused) from refused
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing to let go of."""


class HttpChecker:
    """The client sessions for all checks; made and used on one loop."""

    def __init__(self, gate: Gate, ssl_context: ssl.SSLContext | None) -> None:
        self._gate = gate
        self._ssl: ssl.SSLContext | bool = ssl_context or True
        self._last_seen: dict[tuple[str, int], float] = {}
        self._keeping = self._session(force_close=False)
        self._closing = self._session(force_close=True)

    def _session(self, force_close: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=self._ssl,
            resolver=_GatedResolver(self._gate),
            # `NameLookup` remembers; a second memory would only make answers older.
            use_dns_cache=False,
            socket_factory=self._socket,
            # The monitor bounds the checks: here, waiting for a connection would count
            # as the service's own slowness.
            limit=0,
            force_close=force_close,
            # aiohttp refuses a time together with force_close.
            keepalive_timeout=None if force_close else KEEPALIVE,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            auto_decompress=False,
            trust_env=False,
            max_line_size=HEAD_LINE_LIMIT,
            max_field_size=HEAD_LINE_LIMIT,
            max_headers=HEADERS_LIMIT,
            # The prober's time limit covers everything; aiohttp's rounds up.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        )

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, proto, _, address = info
        # The last word: this is the address that the next line connects to.
        self._gate.check_connect(str(address[0]))
        return socket.socket(family, kind, proto)

    async def check(self, location: Location, path: str) -> str:
        """Return what was answered; raises `CheckFailed` or the client's errors."""
        url = _url(location, path)
        session = self._choose(location.host, location.port)
        async with session.get(url, allow_redirects=False) as response:
            status = response.status
            if 300 <= status < 400:
                raise CheckFailed(
                    "status", f"HTTP {status}: redirects are not followed"
                )
            if not 200 <= status < 300:
                raise CheckFailed("status", f"HTTP {status}")
            body = await _read(response.content)
            coding = response.headers.get("Content-Encoding", "").strip().lower()
            charset = response.charset
        if (word := check_body(body, coding, charset)) is not None:
            raise CheckFailed("status", f"HTTP {status}, but its status is {word!r}")
        return f"HTTP {status}"

    def _choose(self, host: str, port: int) -> aiohttp.ClientSession:
        """Keep a connection only where another check is likely to use it soon.

        Otherwise every service would hold an idle socket for as long as connections
        are kept, and ten thousand services need more than most machines allow.
        """
        now = time.monotonic()
        last = self._last_seen.get((host, port), 0.0)
        if len(self._last_seen) >= _AUTHORITIES:
            self._last_seen.clear()
        self._last_seen[host, port] = now
        return self._keeping if now - last < KEEPALIVE else self._closing

    async def close(self) -> None:
        """Close every connection."""
        await self._keeping.close()
        await self._closing.close()


def _url(location: Location, path: str) -> URL:
    """Return the URL of the parsed parts; raises `InvalidLocation`."""
    text = f"{location.scheme}://{location.authority}{location.path}{path}"
    url = URL(text, encoded=True)
    if url.raw_host != location.host or url.port != location.port:
        raise InvalidLocation(f"{text} has two readings")
    return url


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Return the body; of one that is over the limit, a byte more than that."""
    body = b""
    while len(body) <= BODY_LIMIT and (chunk := await content.readany()):
        body += chunk
    return body[: BODY_LIMIT + 1]
