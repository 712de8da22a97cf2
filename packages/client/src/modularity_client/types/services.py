"""Replies about services, as frozen values.

Fields that a newer registry adds are ignored. Each ``from_json`` raises `KeyError`,
`TypeError` or `ValueError` for an invalid reply, which a call turns into `BadReply`.
Times are aware datetimes in UTC; durations are seconds unless their name says
otherwise.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Required, Self, TypedDict

Json = Mapping[str, Any]


Mode = Literal["http", "tcp", "grpc", "embedded", "standalone", "ipc"]


class ServiceFields(TypedDict, total=False):
    """The fields of a registration; the registry sets defaults for the others.

    The service belongs to the ``owner_key``; without one, to the caller's token. With
    an ``instance``, it stays until the last of its instances has left. Each of the
    ``checks`` has a ``name`` and a ``kind``.
    """

    id: Required[str]
    name: Required[str]
    capabilities: Required[Iterable[str]]
    location: Required[str]
    mode: Mode
    version: str
    metadata: Mapping[str, Any]
    weight: int
    ttl: float | None
    health: Mapping[str, Any] | None
    checks: Iterable[Mapping[str, Any]]
    owner_key: str | None
    instance: str | None
    zone: str | None
    region: str | None
    priority: int


class Filters(TypedDict, total=False):
    """Filters of services; several statuses or modes are alternatives."""

    status: str | Iterable[str]
    capability: str | Iterable[str]
    mode: str | Iterable[str]
    name: str
    version: str
    zone: str
    region: str
    verified: bool
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Service:
    """A service as the registry stores it. Lists leave out ``evidence``.

    ``owner`` is the name of the token that it belongs to, ``owner_key`` if it has such
    a key, or None. ``status_reason`` and ``status_since`` say why the service is not
    healthy and since when; they are None when it is. ``checks`` are those that it
    registered, with ``(hidden)`` in place of the values of headers.
    """

    id: str
    name: str
    version: str
    capabilities: tuple[str, ...]
    location: str
    mode: str
    status: str
    metadata: dict[str, Any] = field(hash=False)
    weight: int
    ttl: float | None
    health: dict[str, Any] | None = field(hash=False)
    revision: int
    registered_at: datetime
    last_seen: datetime
    failed_checks: int
    checks: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    owner: str | None = None
    instances: tuple[str, ...] = ()
    status_reason: str | None = None
    status_since: datetime | None = None
    evidence: dict[str, Any] | None = field(default=None, hash=False)
    zone: str | None = None
    region: str | None = None
    priority: int = 0

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the service of a reply."""
        since = data.get("status_since")
        return cls(
            id=data["id"],
            name=data["name"],
            version=data["version"],
            capabilities=tuple(data["capabilities"]),
            location=data["location"],
            mode=data["mode"],
            status=data["status"],
            metadata=dict(data["metadata"]),
            weight=data["weight"],
            ttl=data["ttl"],
            health=data["health"],
            revision=int(data["revision"]),
            registered_at=datetime.fromisoformat(data["registered_at"]),
            last_seen=datetime.fromisoformat(data["last_seen"]),
            failed_checks=data["failed_checks"],
            checks=tuple(map(dict, data.get("checks", ()))),
            owner=data.get("owner"),
            instances=tuple(data.get("instances", ())),
            status_reason=data.get("status_reason"),
            status_since=None if since is None else datetime.fromisoformat(since),
            evidence=data.get("evidence"),
            zone=data.get("zone"),
            region=data.get("region"),
            priority=data.get("priority", 0),
        )


@dataclass(frozen=True, slots=True)
class ServiceList:
    """Services by id, as of ``revision``; ``next`` is the cursor of the next page.

    ``split`` is for providers of a capability whose calls are split: the weight of each
    group of them.
    """

    services: tuple[Service, ...]
    revision: int
    next: str | None = None
    split: dict[str, int] | None = field(default=None, hash=False)

    def __iter__(self) -> Iterator[Service]:
        return iter(self.services)

    def __len__(self) -> int:
        return len(self.services)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the list of a reply."""
        services = tuple(Service.from_json(service) for service in data["services"])
        revision = int(data["revision"])
        return cls(services, revision, data.get("next"), data.get("split"))


@dataclass(frozen=True, slots=True)
class Registered:
    """A successful registration; ``created`` if the id is new.

    ``displaced`` is the location of a healthy provider whose id it took, if any.
    """

    service_id: str
    revision: int
    created: bool
    message: str
    displaced: str | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A service was drained, put back or unregistered.

    ``revision`` is None when the reply to the call that did it was lost.
    """

    service_id: str
    status: str
    revision: int | None
    message: str

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the change of a reply."""
        revision = int(data["revision"])
        return cls(data["service_id"], data["status"], revision, data["message"])


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A successful heartbeat; the lease, if any, now lasts for ``ttl`` seconds."""

    status: str
    ttl: float | None
    message: str


@dataclass(frozen=True, slots=True)
class Capability:
    """A capability and the ids of its healthy providers."""

    name: str
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CapabilityList:
    """Capabilities with a healthy provider, by name; ``next`` as in `ServiceList`."""

    capabilities: tuple[Capability, ...]
    revision: int
    next: str | None = None

    def __iter__(self) -> Iterator[Capability]:
        return iter(self.capabilities)

    def __len__(self) -> int:
        return len(self.capabilities)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the list of a reply."""
        capabilities = tuple(
            Capability(row["capability"], tuple(row["providers"]))
            for row in data["capabilities"]
        )
        return cls(capabilities, int(data["revision"]), data.get("next"))


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether a provider can be picked (``returned``), and every reason why not.

    ``second_opinion`` says which replicas of the registry reach it and which don't;
    None unless one can't and has asked the others. ``group`` is the one that it is in,
    if the calls are split.
    """

    service_id: str
    name: str
    status: str
    returned: bool
    reasons: tuple[str, ...]
    second_opinion: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class ExplanationList:
    """One for each provider, by id; ``next`` and ``split`` as in `ServiceList`."""

    providers: tuple[Explanation, ...]
    revision: int
    next: str | None = None
    split: dict[str, int] | None = field(default=None, hash=False)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.providers)

    def __len__(self) -> int:
        return len(self.providers)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the list of a reply."""
        explanations = tuple(
            Explanation(
                row["service_id"],
                row["name"],
                row["status"],
                row["returned"],
                tuple(row["reasons"]),
                row.get("second_opinion"),
                row.get("group"),
            )
            for row in data["providers"]
        )
        revision = int(data["revision"])
        return cls(explanations, revision, data.get("next"), data.get("split"))


@dataclass(frozen=True, slots=True)
class Match:
    """A service with all required capabilities.

    ``score`` counts the required and optional capabilities that it provides.
    """

    service: Service
    score: int
    required: tuple[str, ...]
    optional: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MatchList:
    """Matches, the best first."""

    matches: tuple[Match, ...]
    revision: int

    def __iter__(self) -> Iterator[Match]:
        return iter(self.matches)

    def __len__(self) -> int:
        return len(self.matches)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the matches of a reply."""
        matches = tuple(
            Match(
                Service.from_json(row["service"]),
                row["match_score"],
                tuple(row["provides_required"]),
                tuple(row["provides_optional"]),
            )
            for row in data["matches"]
        )
        return cls(matches, int(data["revision"]))
