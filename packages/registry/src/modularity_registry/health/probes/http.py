"""The HTTP check: any 2xx, unless its body says that the service is not well."""

import asyncio
import socket
import ssl
import time
from contextlib import AbstractAsyncContextManager
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from modularity_registry import __version__
from modularity_registry.errors import AddressRefused
from modularity_registry.health.probes.address_gate import Gate
from modularity_registry.health.probes.http_body import (
    BODY_LIMIT,
    HealthReport,
    read_json,
    read_report,
)
from modularity_registry.health.probes.http_expectation import (
    check_field,
    is_expected,
)
from modularity_registry.health.probes.outcome import (
    HEAD_LINE_LIMIT,
    HEADERS_LIMIT,
    CheckFailed,
    ConnectForbidden,
)
from modularity_registry.model.checks import ServiceCheck, TlsOptions
from modularity_registry.model.location import InvalidLocation, Location

KEEPALIVE: Final = 3.0  # seconds
REASON_SECONDS: Final = 0.5
"""How long to wait for the body of an error status, which only adds a reason."""
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
            return await _judge(response, f"{location.path}{path}", "health.path")

    async def check_as(self, location: Location, check: ServiceCheck) -> str:
        """Return what was answered to a check as a service has described it.

        Raises as `check`.
        """
        async with self._request(location, check) as response:
            if check.expect is None:
                where = f"{location.path}{check.path}"
                return await _judge(response, where, "the check's path")
            good = check.expect.status or ("200-299",)
            if not is_expected(response.status, good):
                codes = ", ".join(map(str, good))
                failure = f"HTTP {response.status}, expected {codes}"
                raise CheckFailed("status", failure)
            if check.expect.json is not None:
                content = read_json(*await _read_body(response))
                check_field(content, check.expect.json)
            return f"HTTP {response.status}"

    async def read(self, location: Location, check: ServiceCheck) -> object:
        """Return the JSON of a 2xx that a check is answered; raises as `check`."""
        async with self._request(location, check) as response:
            if not 200 <= response.status < 300:
                what = f"{check.path} answers HTTP {response.status}"
                reason = await _reason_of_failure(response)
                raise CheckFailed("status", _failure(what, reason))
            return read_json(*await _read_body(response))

    def _request(
        self, location: Location, check: ServiceCheck
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        tls = check.tls or TlsOptions()
        return self._choose(location.host, location.port).request(
            check.method,
            _url(location, check.path),
            headers=check.headers,
            data=check.body.encode() or None,
            skip_auto_headers=("Content-Type",),
            allow_redirects=False,
            ssl=tls.verify,
            server_hostname=tls.server_name or None,
        )

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


async def _judge(response: aiohttp.ClientResponse, where: str, setting: str) -> str:
    """Return what was answered, if it is well: any 2xx whose body says nothing bad.

    Else raises `CheckFailed`; ``setting`` is what to change if nothing is ``where``.
    """
    status = response.status
    if 300 <= status < 400:
        raise CheckFailed("status", f"HTTP {status}: redirects are not followed")
    if status == 404:
        raise CheckFailed(
            "status",
            f"nothing is served at {where}; set {setting} to where this service"
            " answers (HTTP 404)",
        )
    if not 200 <= status < 300:
        reason = await _reason_of_failure(response)
        raise CheckFailed("status", _failure(f"HTTP {status}", reason))
    report = await _read_report(response)
    if report.status:
        what = f"HTTP {status}, but its status is {report.status!r}"
        kind = "warning" if report.warns else "status"
        raise CheckFailed(kind, _failure(what, report.reason))
    return f"HTTP {status}"


def _failure(what: str, reason: str) -> str:
    """Return a message that leads with the service's own words, if it has any."""
    return f"{reason} ({what})" if reason else what


async def _reason_of_failure(response: aiohttp.ClientResponse) -> str:
    """Return what a service says beside an error status; empty if it can't be read."""
    try:
        async with asyncio.timeout(REASON_SECONDS):
            return (await _read_report(response)).reason
    except (CheckFailed, TimeoutError, aiohttp.ClientError):
        return ""


async def _read_report(response: aiohttp.ClientResponse) -> HealthReport:
    return read_report(*await _read_body(response))


async def _read_body(response: aiohttp.ClientResponse) -> tuple[bytes, str, str | None]:
    """Read a body, up to a byte more than the limit; with its coding and charset."""
    body = b""
    content = response.content
    while len(body) <= BODY_LIMIT and (chunk := await content.readany()):
        body += chunk
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    return body[: BODY_LIMIT + 1], coding, response.charset
