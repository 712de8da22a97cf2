"""The registry's values. All are frozen; `model.status` decides on them."""

from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec

from modularity_registry.model.checks import ServiceCheck
from modularity_registry.model.location import Location, parse_location
from modularity_registry.model.second_opinion import SecondOpinion

Mode = Literal["http", "tcp", "grpc", "embedded", "standalone", "ipc"]
Status = Literal["healthy", "warning", "unhealthy", "draining"]
FaultSource = Literal["check", "lease", "report"]
ReportedStatus = Literal["healthy", "warning", "unhealthy"]

MODES: tuple[Mode, ...] = ("http", "tcp", "grpc", "embedded", "standalone", "ipc")
CHECKED_MODES: frozenset[str] = frozenset({"http", "tcp", "grpc"})
STATUSES: tuple[Status, ...] = ("healthy", "warning", "unhealthy", "draining")
ACTIVE: frozenset[Status] = frozenset({"healthy", "warning"})
"""The statuses of services that lookups may return."""


MOST_INSTANCES: Final = 64
"""Instances of a service that are remembered; of more, the oldest are forgotten."""


class HealthCheck(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How a service wants to be checked; None leaves it to the registry's settings.

    ``interval`` and ``timeout`` are seconds. Unless it is ``enabled``, the service gets
    only the checks that it has asked for by name.
    """

    path: str | None = None
    interval: float | None = None
    timeout: float | None = None
    enabled: bool = True


class Registration(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a service registers. ``metadata`` is a JSON object, as bytes.

    ``zone`` and ``region`` are empty where nobody says them. Callers get services of a
    lower ``priority`` first.
    """

    id: str
    name: str
    capabilities: tuple[str, ...]
    location: str
    mode: Mode
    version: str = "1.0.0"
    metadata: msgspec.Raw = msgspec.Raw(b"{}")
    weight: int = 1
    ttl: float | None = None
    health: HealthCheck | None = None
    checks: tuple[ServiceCheck, ...] = ()
    zone: str = ""
    region: str = ""
    priority: int = 0

    @property
    def parsed_location(self) -> Location:
        """The location as whatever connects there reads it.

        Raises `InvalidLocation` for a mode that the registry does not connect to, or
        for a location stored by another version, which took what this one refuses.
        """
        # Remembered by `parse_location`; kept here it would take 300 bytes a service.
        return parse_location(self.location, self.mode)


class RegistrationRequest(NamedTuple):
    """A registration, and what its caller says of itself.

    ``owner_key`` is secret. ``instance`` is one of several processes that register
    the same service, each of which leaves by itself.
    """

    registration: Registration
    owner_key: str | None = None
    instance: str | None = None


class Fault(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One reason why a service is unhealthy or warns, and who found it.

    ``check`` is the name of the check that did; empty for the one of the mode.
    """

    source: FaultSource
    reason: str
    at: datetime
    check: str = ""


class Drain(msgspec.Struct, frozen=True, gc=False):
    """An operator's order to send a service no more callers."""

    reason: str
    at: datetime


class Service(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A registration and what the registry has found out since.

    This is the document that is stored. ``since`` is when the present status began.
    ``owner`` is who alone may change it: see `access.Claim`; empty for everybody.
    ``loopback`` says whether checks may connect to loopback addresses: only if the
    service was registered from one. It is true for services stored by versions without
    this field. ``instances`` are the processes that registered the service and have not
    left, the newest last. ``verified`` is when a check of kind `module` first succeeded
    since it last failed, or since the registration. ``warnings`` are apart from
    ``faults``, for which versions without this field would take them.
    """

    registration: Registration
    registered_at: datetime
    since: datetime
    faults: tuple[Fault, ...] = ()
    drain: Drain | None = None
    owner: str = ""
    loopback: bool = True
    instances: tuple[str, ...] = ()
    verified: datetime | None = None
    warnings: tuple[Fault, ...] = ()


class CheckPlan(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The check that a service really gets. ``path`` is for HTTP only.

    None for ``fall`` and ``rise`` leaves them to the registry's settings.
    """

    interval: float
    timeout: float
    path: str | None = None
    fall: int | None = None
    rise: int | None = None


class CheckEvidence(msgspec.Struct, frozen=True, gc=False):
    """What the last check of a service saw, and when the next one is due.

    A report of the service itself takes no time, and comes when the service sends it.
    """

    checked_at: datetime
    latency_ms: float | None
    outcome: str
    message: str
    next_check: datetime | None
    checked_by: str | None
    second_opinion: SecondOpinion | None = None


class CheckResult(msgspec.Struct, frozen=True, gc=False):
    """What a check with a name has come to, but for its fault or warning: those are
    stored.

    ``failures`` is how many failed in a row.
    """

    failures: int
    evidence: CheckEvidence
