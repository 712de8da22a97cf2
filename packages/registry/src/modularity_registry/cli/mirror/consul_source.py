"""Consul as a source: two blocking queries tell of changes, then all is read again."""

import asyncio
import re
from collections.abc import AsyncGenerator
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote

import httpx

from modularity_registry.cli.mirror.source import (
    SOURCE,
    Health,
    Instance,
    Snapshot,
    SourceAway,
    is_wanted,
)
from modularity_registry.schema.patterns import CAPABILITY_PATTERN, ID_PATTERN

WAIT: Final = 10
"""Seconds for which a query waits for a change."""

PAUSE: Final = 1.0
"""Seconds between two reads of everything."""

AT_ONCE: Final = 8
"""Services that are read at the same time. Consul takes 200 connections of a client."""

LONGEST_ID: Final = 128

_WORST: Final[tuple[tuple[str, Health], ...]] = (
    ("critical", "unhealthy"),
    ("warning", "warning"),
)
_WATCHED: Final = ("v1/catalog/services", "v1/health/state/any")
_MAINTENANCE = ("_node_maintenance", "_service_maintenance:")
_SERVERS = "consul"
"""The name under which Consul's own servers are listed."""


class ConsulSource:
    """Reads a Consul, or another registry with Consul's API."""

    def __init__(self, client: httpx.AsyncClient, only: tuple[str, ...]) -> None:
        self._client = client
        self._only = only

    async def read(self) -> Snapshot:
        """Return all services."""
        names, _ = await self._get("v1/catalog/services")
        if not isinstance(names, dict):
            raise SourceAway("its reply is not that of a Consul")
        slots = asyncio.Semaphore(AT_ONCE)

        async def read_one(name: str) -> list[Instance]:
            async with slots:
                path = f"v1/health/service/{quote(name, safe='')}"
                return _instances(name, (await self._get(path))[0])

        wanted = [
            name for name in names if name != _SERVERS and is_wanted(name, self._only)
        ]
        found = await asyncio.gather(*map(read_one, wanted))
        return {one.key: one for instances in found for one in instances}

    async def follow(self) -> AsyncGenerator[Snapshot, None]:
        """Yield all services now, and after every change."""
        indexes = dict.fromkeys(_WATCHED, 0)
        snapshot: Snapshot | None = None
        waits: dict[asyncio.Task[int], str] = {}
        try:
            while True:
                for path in indexes.keys() - waits.values():
                    waits[asyncio.create_task(self._wait(path, indexes[path]))] = path
                done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                before = dict(indexes)
                for wait in done:
                    path, index = waits.pop(wait), wait.result()
                    # One that goes back starts again.
                    indexes[path] = index if index >= indexes[path] else 0
                if snapshot is None or indexes != before:
                    snapshot = await self.read()
                    await asyncio.sleep(PAUSE)
                yield snapshot
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _wait(self, path: str, index: int) -> int:
        """Return the index of what is at a path: another one as soon as it changes."""
        query = {"index": str(index), "wait": f"{WAIT}s"}
        new = (await self._get(path, query))[1]
        if new < 1:
            raise SourceAway("it sends no X-Consul-Index, without which none can wait")
        return new

    async def _get(
        self, path: str, query: dict[str, str] | None = None
    ) -> tuple[Any, int]:
        """Return what is at a path, and its index."""
        timeout = WAIT + 15.0 if query else 10.0
        try:
            reply = await self._client.get(path, params=query or {}, timeout=timeout)
            reply.raise_for_status()
            index = int(reply.headers.get("X-Consul-Index", "0"))
            return reply.json(), index
        except httpx.HTTPStatusError as error:
            text = error.response.text[:200].strip()
            reason = f"it answered {error.response.status_code} {text}"
            raise SourceAway(reason) from error
        except httpx.HTTPError as error:
            raise SourceAway(f"{type(error).__name__}: {error}") from error
        except ValueError as error:
            raise SourceAway("its reply is not that of a Consul") from error


def _instances(name: str, entries: Any) -> list[Instance]:
    """Return the instances of a service."""
    try:
        found = [
            _instance(name, one["Node"], one["Service"], one.get("Checks") or [])
            for one in entries
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceAway("its reply is not that of a Consul") from error
    return [instance for instance in found if instance is not None]


def _instance(
    name: str,
    node: dict[str, Any],
    service: dict[str, Any],
    checks: list[dict[str, Any]],
) -> Instance | None:
    """Return an instance as a service; None for one that is mirrored itself."""
    meta, tags = service.get("Meta") or {}, service.get("Tags") or []
    # A mesh's proxies are no services to be found by name.
    if SOURCE in meta or service.get("Kind"):
        return None
    host = service.get("Address") or node["Address"]
    own, node_name = service["ID"], node["Node"]
    mode, location = _location(host, service.get("Port") or 0, checks)
    metadata: dict[str, Any] = {**meta, **({"tags": tags} if tags else {})}
    body: dict[str, Any] = {
        "name": name,
        "capabilities": [name] if re.fullmatch(CAPABILITY_PATTERN, name) else [],
        "location": location,
        "mode": mode,
        "metadata": metadata,
        "weight": (service.get("Weights") or {}).get("Passing", 1),
    }
    version = str(meta.get("version", ""))
    if version.strip() and version.isprintable() and len(version) <= 128:
        body["version"] = version
    health, note = _health(checks)
    ids = (_fitting(own), _fitting(f"{own}:{node_name}"))
    return Instance(f"{node_name}/{own}", ids, body, health, note)


def _location(host: str, port: int, checks: list[dict[str, Any]]) -> tuple[str, str]:
    """Return the mode and the location: http or grpc if a check says so."""
    if not port:
        return "standalone", host
    kinds = {check.get("Type") for check in checks}
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if "http" in kinds:
        urls = [(check.get("Definition") or {}).get("HTTP", "") for check in checks]
        is_secure = any(url.startswith("https:") for url in urls)
        return "http", f"{'https' if is_secure else 'http'}://{place}"
    mode = "grpc" if "grpc" in kinds else "tcp"
    return mode, f"{mode}://{place}"


def _health(checks: list[dict[str, Any]]) -> tuple[Health, str]:
    """Return the worst of an instance's checks, and what it says."""
    for check in checks:
        if check["CheckID"].startswith(_MAINTENANCE):
            return "unhealthy", "it is in maintenance at the source"
    for status, health in _WORST:
        bad = [check for check in checks if check["Status"] == status]
        if bad:
            output = " ".join((bad[0].get("Output") or "").split())
            note = f"{bad[0].get('Name')} is {status} at the source"
            return health, f"{note}: {output}" if output else note
    return "healthy", ""


def _fitting(name: str) -> str:
    """Return a name as an id; two names have different ones."""
    if re.fullmatch(ID_PATTERN, name):
        return name
    escaped = re.sub(
        r"[^A-Za-z0-9.:\-]",
        lambda found: "".join(f"_{byte:02x}" for byte in found[0].encode()),
        name,
    )
    fitting = f"consul-{escaped}"
    if len(fitting) <= LONGEST_ID:
        return fitting
    digest = sha256(name.encode()).hexdigest()[:16]
    return f"{fitting[: LONGEST_ID - len(digest) - 1]}-{digest}"
