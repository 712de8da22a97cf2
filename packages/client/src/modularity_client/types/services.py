"""What the registry answers, as frozen values.

Fields that a newer registry adds are ignored. Each ``from_json`` raises `KeyError`,
`TypeError` or `ValueError` where a reply is not what it should be; the calls make
`BadReply` of these. Times are aware datetimes in UTC; durations are seconds unless
their name says otherwise.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Required, Self, TypedDict

Json = Mapping[str, Any]


class ServiceFields(TypedDict, total=False):
    """What a registration holds; the registry fills in what is left out.

    Who has the ``owner_key`` owns the service; without one, the caller's token does.
    """

    id: Required[str]
    name: Required[str]
    capabilities: Required[Iterable[str]]
    location: Required[str]
    mode: str
    version: str
    metadata: Mapping[str, Any]
    weight: int
    ttl: float | None
    health: Mapping[str, Any] | None
    owner_key: str | None


class Filters(TypedDict, total=False):
    """Which services are wanted; several statuses or modes are alternatives."""

    status: str | Iterable[str]
    capability: str | Iterable[str]
    mode: str | Iterable[str]
    name: str
    version: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Service:
    """A service as the registry has it. ``evidence`` comes with a single one only.

    ``owner`` is the name of the token that it belongs to, ``owner_key`` where it has
    such a key, or None.
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
    owner: str | None = None
    evidence: dict[str, Any] | None = field(default=None, hash=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the service that a reply shows."""
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
            owner=data.get("owner"),
            evidence=data.get("evidence"),
        )


@dataclass(frozen=True, slots=True)
class ServiceList:
    """Services by id, of the view at ``revision``; ``next`` is the next's cursor."""

    services: tuple[Service, ...]
    revision: int
    next: str | None = None

    def __iter__(self) -> Iterator[Service]:
        return iter(self.services)

    def __len__(self) -> int:
        return len(self.services)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the list that a reply shows."""
        services = tuple(Service.from_json(each) for each in data["services"])
        return cls(services, int(data["revision"]), data.get("next"))


@dataclass(frozen=True, slots=True)
class Registered:
    """A registration was taken; ``created`` when the id was not there before."""

    service_id: str
    revision: int
    created: bool
    message: str


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
        """Return the change that a reply confirms."""
        revision = int(data["revision"])
        return cls(data["service_id"], data["status"], revision, data["message"])


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A heartbeat was taken; the lease, if there is one, now lasts for ``ttl``."""

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
        """Return the list that a reply shows."""
        found = tuple(
            Capability(each["capability"], tuple(each["providers"]))
            for each in data["capabilities"]
        )
        return cls(found, int(data["revision"]), data.get("next"))


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether a provider may be picked (``returned``), and every reason why not."""

    service_id: str
    name: str
    status: str
    returned: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExplanationList:
    """One explanation for each provider, by id; ``next`` as in `ServiceList`."""

    providers: tuple[Explanation, ...]
    revision: int
    next: str | None = None

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.providers)

    def __len__(self) -> int:
        return len(self.providers)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the list that a reply shows."""
        found = tuple(
            Explanation(
                each["service_id"],
                each["name"],
                each["status"],
                each["returned"],
                tuple(each["reasons"]),
            )
            for each in data["providers"]
        )
        return cls(found, int(data["revision"]), data.get("next"))


@dataclass(frozen=True, slots=True)
class Match:
    """A service that provides all that is required; ``score`` is from 0 to 1."""

    service: Service
    score: float
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
        """Return the matches that a reply shows."""
        found = tuple(
            Match(
                Service.from_json(each["service"]),
                each["match_score"],
                tuple(each["provides_required"]),
                tuple(each["provides_optional"]),
            )
            for each in data["matches"]
        )
        return cls(found, int(data["revision"]))
