"""Bodies become the registry's values."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from modularity_registry.errors import FieldError, InvalidRequest
from modularity_registry.model.location import InvalidLocation, parse_location
from modularity_registry.model.rights import Right, TokenRequest
from modularity_registry.model.service import (
    CHECKED_MODES,
    MODES,
    HealthCheck,
    Registration,
    RegistrationRequest,
    ReportedStatus,
)
from modularity_registry.schema import check_rules, registration_decoder
from modularity_registry.schema.patterns import (
    CAPABILITY_PATTERN,
    LONGEST_CAPABILITY,
)
from modularity_registry.schema.request_models import (
    CheckReportBody,
    DiscoverBody,
    DrainBody,
    HeartbeatBody,
    InvocationBody,
    InvocationsBody,
    RegistrationBody,
    RotationBody,
    SplitBody,
    TokenBody,
)
from modularity_registry.schema.strict_json import decode_object
from modularity_registry.schema.validate import PATTERNS, validated

_STATUSES: Final[dict[str, ReportedStatus]] = {
    "healthy": "healthy",
    "warning": "warning",
    "unhealthy": "unhealthy",
    "active": "healthy",
    "inactive": "unhealthy",
}


class Heartbeat(msgspec.Struct, frozen=True):
    """A heartbeat; ``status`` is what the service reports."""

    status: ReportedStatus = "healthy"
    note: str = ""
    instance: str | None = None


class CheckReport(msgspec.Struct, frozen=True):
    """What a service reports of one of its checks."""

    status: ReportedStatus = "healthy"
    note: str = ""


class Invocation(msgspec.Struct, frozen=True):
    """One call of a service to another, as its caller saw it."""

    consumer_id: str
    provider_id: str
    capability: str
    success: bool
    latency_ms: float | None


class Discovery(msgspec.Struct, frozen=True):
    """The capabilities that a caller needs, and those that it prefers."""

    required: tuple[str, ...]
    optional: tuple[str, ...]


def parse_registration(body: bytes, service_id: str | None = None) -> Registration:
    """Return the registration in ``body``; ``service_id`` is the id in the path.

    With an id in the path, the body's may be missing, and must not differ.
    """
    return parse_registration_request(body, service_id).registration


def parse_registration_request(
    body: bytes, service_id: str | None = None
) -> RegistrationRequest:
    """Return the registration with its ``owner_key`` and its ``instance``."""
    if service_id is None:
        decoded = registration_decoder.decode(body)
        if decoded is not None:
            return decoded
    data = decode_object(body)
    if service_id is not None:
        data.setdefault("id", service_id)
    errors = _location_errors(data)
    model = validated(RegistrationBody, data, errors)
    if service_id is not None and model.id != service_id:
        message = f"is {model.id!r} in the body, but {service_id!r} in the path"
        raise InvalidRequest.of([FieldError("id", message)])
    registration = Registration(
        id=model.id,
        name=model.name,
        capabilities=_distinct(model.capabilities),
        location=model.location,
        mode=model.mode,
        version=model.version,
        metadata=msgspec.Raw(model.metadata),
        weight=model.weight,
        ttl=model.ttl,
        health=HealthCheck(**dict(model.health)) if model.health else None,
        checks=check_rules.parsed(model.checks),
        zone=model.zone or "",
        region=model.region or "",
        priority=model.priority,
    )
    return RegistrationRequest(registration, model.owner_key, model.instance)


def _location_errors(data: Mapping[str, Any]) -> list[FieldError]:
    """Return what breaks the rules that depend on the mode and another field."""
    mode, location, health = (data.get(key) for key in ("mode", "location", "health"))
    errors = []
    if not isinstance(mode, str):
        return []
    if mode in CHECKED_MODES and isinstance(location, str) and location:
        try:
            parse_location(location, mode)
        except InvalidLocation as error:
            errors.append(FieldError("location", error.detail))
    errors.extend(check_rules.errors(data.get("checks"), mode))
    if not isinstance(health, dict):
        return errors
    if mode in MODES and mode not in CHECKED_MODES:
        message = f"must be left out: the registry does not check mode {mode!r}"
        errors.append(FieldError("health", message))
    elif mode in ("tcp", "grpc") and health.get("path") is not None:
        errors.append(FieldError("health.path", "is allowed for mode 'http' only"))
    return errors


def parse_drain(body: bytes) -> str:
    """Return the reason given for a drain; empty when there is none."""
    return validated(DrainBody, _optional_object(body)).reason


def parse_heartbeat(body: bytes) -> Heartbeat:
    """Return the heartbeat; without a body, the service is healthy."""
    model = validated(HeartbeatBody, _optional_object(body))
    return Heartbeat(_STATUSES[model.status], model.note, model.instance)


def parse_check_report(body: bytes) -> CheckReport:
    """Return the report; without a body, the check is healthy."""
    model = validated(CheckReportBody, _optional_object(body))
    return CheckReport(model.status, model.note)


def parse_discovery(body: bytes) -> Discovery:
    """Return the capabilities; one that is in both lists is required."""
    model = validated(DiscoverBody, decode_object(body))
    required = _distinct(model.capabilities)
    optional = tuple(c for c in _distinct(model.optional) if c not in required)
    return Discovery(required, optional)


def parse_invocation(body: bytes) -> Invocation:
    """Return the reported call."""
    return _invocation(validated(InvocationBody, decode_object(body)))


def parse_invocations(body: bytes) -> list[Invocation]:
    """Return the reported calls, in their order."""
    model = validated(InvocationsBody, decode_object(body))
    return [_invocation(call) for call in model.invocations]


def _invocation(model: InvocationBody) -> Invocation:
    return Invocation(**vars(model))  # dict() of a model is far slower


def parse_split(body: bytes, capability: str) -> dict[str, int]:
    """Return the weights of the groups; ``capability`` is the name in the path."""
    message = None
    if len(capability) > LONGEST_CAPABILITY:
        message = f"must have at most {LONGEST_CAPABILITY} characters"
    elif not re.fullmatch(CAPABILITY_PATTERN, capability):
        message = PATTERNS[CAPABILITY_PATTERN]
    if message is not None:
        raise InvalidRequest.of([FieldError("name", message)])
    return validated(SplitBody, decode_object(body)).root


def parse_token(body: bytes) -> TokenRequest:
    """Return the token to issue."""
    model = validated(TokenBody, decode_object(body))
    seconds = model.expires_in
    return TokenRequest(
        name=model.name,
        rights=frozenset(map(Right, model.rights)),
        ids=_distinct(model.ids),
        capabilities=_distinct(model.capabilities),
        lifetime=None if seconds is None else timedelta(seconds=seconds),
    )


def parse_rotation(body: bytes) -> float:
    """Return the seconds for which a token's previous secret stays valid."""
    return validated(RotationBody, _optional_object(body)).grace


def _optional_object(body: bytes) -> dict[str, Any]:
    return decode_object(body) if body.strip() else {}


def _distinct(values: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
