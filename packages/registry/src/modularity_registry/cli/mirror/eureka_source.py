"""Eureka as a source: all applications once, then changes, checked by their hash."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

import httpx

from modularity_registry.cli.mirror.source import (
    SOURCE,
    Health,
    Instance,
    Snapshot,
    SourceAway,
    is_wanted,
)
from modularity_registry.errors import InvalidRequest
from modularity_registry.integrations.eureka import registration as eureka
from modularity_registry.integrations.eureka.view import hash_of

POLL: Final = 5.0
"""Seconds between two reads of changes. Eureka itself caches them for longer."""

_HEALTH: Final[dict[str, Health]] = {"UP": "healthy"}

Key = tuple[str, str]


class EurekaSource:
    """Reads an Eureka server, or another registry with Eureka's API."""

    def __init__(self, client: httpx.AsyncClient, only: tuple[str, ...]) -> None:
        self._client = client
        self._only = only
        self._instances: dict[Key, dict[str, Any]] = {}

    async def read(self) -> Snapshot:
        """Return all services."""
        applications = await self._get("apps")
        assert applications is not None
        self._instances = {key: content for key, _, content in _entries(applications)}
        return self._snapshot()

    async def follow(self) -> AsyncGenerator[Snapshot, None]:
        """Yield all services now, and after every change."""
        yield await self.read()
        while True:
            await asyncio.sleep(POLL)
            delta = await self._get("apps/delta", optional=True)
            if delta is None or not self._merge(delta):
                await self.read()
            yield self._snapshot()

    def _merge(self, delta: dict[str, Any]) -> bool:
        """Take in a delta; say whether nothing is missing now."""
        for key, action, content in _entries(delta):
            if action == "DELETED":
                self._instances.pop(key, None)
            else:
                self._instances[key] = content
        statuses = Counter(
            eureka.text(content.get("status")).upper()
            for content in self._instances.values()
        )
        return hash_of(statuses) == delta.get("apps__hashcode")

    async def _get(self, path: str, optional: bool = False) -> dict[str, Any] | None:
        headers = {"Accept": "application/json"}
        try:
            reply = await self._client.get(path, headers=headers)
            if optional and reply.status_code in (403, 404):
                return None
            reply.raise_for_status()
            applications = reply.json()["applications"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise SourceAway(_reason(error)) from error
        if not isinstance(applications, dict):
            raise SourceAway("its reply has no applications")
        return applications

    def _snapshot(self) -> Snapshot:
        services = {}
        for (app, _), content in self._instances.items():
            if is_wanted(app, self._only) and not _is_mirrored(content):
                service = _instance(content, app)
                if service is not None:
                    services[service.key] = service
        return services


def _entries(
    applications: dict[str, Any],
) -> Iterator[tuple[Key, str, dict[str, Any]]]:
    """Yield each instance of a list with its key and what has happened to it."""
    for application in _list(applications.get("application")):
        for content in _list(application.get("instance")):
            name = eureka.text(content.get("app")) or eureka.text(
                application.get("name")
            )
            own = eureka.text(content.get("instanceId"))
            own = own or eureka.text(content.get("hostName"))
            if name and own:
                action = eureka.text(content.pop("actionType", ""))
                yield (name.upper(), own), action, content


def _list(value: Any) -> list[dict[str, Any]]:
    """Return a list; some servers send what is alone in it without one."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, dict)]


def _is_mirrored(content: dict[str, Any]) -> bool:
    metadata = content.get("metadata")
    return isinstance(metadata, dict) and SOURCE in metadata


def _instance(content: dict[str, Any], app: str) -> Instance | None:
    """Return an instance as a service; None for one that can't be one."""
    status = eureka.text(content.get("status")).upper()
    try:
        parsed = eureka.parsed(_lasting(content), app)
        ids = eureka.ids_of(app, parsed.instance_id)
        body = eureka.body_of(parsed, ids[0])
    except InvalidRequest:
        return None
    del body["id"], body["ttl"], body["health"]
    health = _HEALTH.get(status, "unhealthy")
    note = "" if health == "healthy" else f"its status at the source is {status}"
    return Instance(f"{app}/{parsed.instance_id}", ids, body, health, note)


def _lasting(content: dict[str, Any]) -> dict[str, Any]:
    """Return an instance without what changes with every heartbeat."""
    lasting = {
        key: value
        for key, value in content.items()
        if key not in ("lastUpdatedTimestamp", "lastDirtyTimestamp", "status")
        and key.lower() != "overriddenstatus"
    }
    lease = lasting.get("leaseInfo")
    if isinstance(lease, dict):
        fields = ("renewalIntervalInSecs", "durationInSecs")
        lasting["leaseInfo"] = {key: lease[key] for key in fields if key in lease}
    return lasting


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered {error.response.status_code}"
    if isinstance(error, httpx.HTTPError):
        return f"{type(error).__name__}: {error}"
    return "its reply is not that of an Eureka server"
