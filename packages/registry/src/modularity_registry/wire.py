"""JSON from outside becomes a value here, or an error that names every bad field.

Nothing else validates. What comes out has a type and keeps to the limits.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from modularity_registry.address import (
    InvalidLocation,
    parse_health_path,
    parse_location,
)
from modularity_registry.errors import FieldError, InvalidRequest
from modularity_registry.model import (
    CHECKED_MODES,
    MODES,
    HealthCheck,
    Mode,
    Registration,
)

MAX_METADATA_BYTES = 16 * 1024
MAX_CAPABILITIES = 256
MAX_NOTE = 1024

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}$"
CAPABILITY_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/\-]{0,127}$"
# No control characters and no lone surrogates: neither can be shown or stored.
TEXT_PATTERN = r"^[^\x00-\x1f\x7f]*$"


encode = msgspec.json.Encoder().encode
"""Return any of the registry's values, or plain Python ones, as JSON bytes."""


def decode_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``.

    Strict where the standard library is lax: a key that appears twice, NaN, an
    infinite number or anything but UTF-8 raises `InvalidRequest`.
    """
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidRequest(f"the body is not JSON: {error.msg} ({where})") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None
    except ValueError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} appears twice")
            seen.add(key)
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is too large")
    return number


def _metadata(value: object) -> bytes:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    try:
        encoded = encode(value)
    except UnicodeEncodeError:
        raise ValueError("must not hold lone surrogates") from None
    except (RecursionError, OverflowError):
        raise ValueError("is nested too deeply or holds too large a number") from None
    if len(encoded) > MAX_METADATA_BYTES:
        raise ValueError(
            f"must be at most {MAX_METADATA_BYTES} bytes as JSON, not {len(encoded)}"
        )
    return encoded


def _whole(value: object) -> object:
    """Return 3 for 3.0: JSON has one kind of number, however it is written."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Capability = Annotated[str, StringConstraints(pattern=CAPABILITY_PATTERN)]


def _health_path(value: str) -> str:
    try:
        parse_health_path(value)
    except InvalidLocation as error:
        raise ValueError(error.detail) from None
    return value


Text = Annotated[str, StringConstraints(pattern=TEXT_PATTERN, max_length=MAX_NOTE)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _HealthBody(_Body):
    path: (
        Annotated[str, StringConstraints(max_length=512), AfterValidator(_health_path)]
        | None
    ) = None
    interval: Annotated[Seconds | None, Field(ge=1, le=86_400)] = None
    timeout: Annotated[Seconds | None, Field(ge=0.1, le=300)] = None


class _RegistrationBody(_Body):
    id: Id
    name: Annotated[
        str, StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=256)
    ]
    version: Annotated[
        str, StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=128)
    ] = "1.0.0"
    capabilities: Annotated[list[Capability], Field(max_length=MAX_CAPABILITIES)]
    location: Annotated[
        str, StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=2048)
    ]
    mode: Mode
    metadata: Annotated[bytes, BeforeValidator(_metadata)] = b"{}"
    weight: Annotated[int, Field(ge=0, le=65_535), BeforeValidator(_whole)] = 1
    ttl: Annotated[Seconds | None, Field(ge=1, le=7 * 86_400)] = None
    health: _HealthBody | None = None


class _DrainBody(_Body):
    reason: Text = ""


class _HeartbeatBody(_Body):
    status: Literal["healthy", "unhealthy", "active", "inactive"] = "healthy"
    note: Text = ""


class _DiscoverBody(_Body):
    capabilities: Annotated[
        list[Capability], Field(min_length=1, max_length=MAX_CAPABILITIES)
    ]
    optional: Annotated[list[Capability], Field(max_length=MAX_CAPABILITIES)] = []


class _InvocationBody(_Body):
    consumer_id: Id
    provider_id: Id
    capability: Capability
    success: bool = True
    latency_ms: Annotated[Seconds | None, Field(ge=0, le=86_400_000)] = None


class Heartbeat(msgspec.Struct, frozen=True):
    """A sign of life; ``healthy`` is what the service says of itself."""

    healthy: bool = True
    note: str = ""


class Invocation(msgspec.Struct, frozen=True):
    """One call of a service to another, as its caller saw it."""

    consumer_id: str
    provider_id: str
    capability: str
    success: bool
    latency_ms: float | None


class Discovery(msgspec.Struct, frozen=True):
    """What a caller needs (``required``) and would like (``optional``)."""

    required: tuple[str, ...]
    optional: tuple[str, ...]


def parse_registration(body: bytes, service_id: str | None = None) -> Registration:
    """Return the registration in ``body``; ``service_id`` is the address it came to.

    The id may be left out of the body when the address has it, and must not differ.
    """
    data = decode_object(body)
    if service_id is not None:
        data.setdefault("id", service_id)
    errors = _location_errors(data)
    model = _validated(_RegistrationBody, data, errors)
    if service_id is not None and model.id != service_id:
        message = f"is {model.id!r} in the body, but {service_id!r} in the address"
        raise _invalid([FieldError("id", message)])
    return Registration(
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
    )


def _location_errors(data: Mapping[str, Any]) -> list[FieldError]:
    """What pydantic can't see: rules that need the mode and another field together."""
    mode, location, health = (data.get(key) for key in ("mode", "location", "health"))
    errors = []
    if not isinstance(mode, str):
        return []
    if mode in CHECKED_MODES and isinstance(location, str) and location:
        try:
            parse_location(location, mode)
        except InvalidLocation as error:
            errors.append(FieldError("location", error.detail))
    if not isinstance(health, dict):
        return errors
    if mode in MODES and mode not in CHECKED_MODES:
        message = f"a service of mode {mode!r} is not checked; leave it out"
        errors.append(FieldError("health", message))
    elif mode in ("tcp", "grpc") and health.get("path") is not None:
        errors.append(FieldError("health.path", "is for mode 'http' only"))
    return errors


def parse_drain(body: bytes) -> str:
    """Return the reason given for a drain; empty when there is none."""
    return _validated(_DrainBody, _optional_object(body)).reason


def parse_heartbeat(body: bytes) -> Heartbeat:
    """Return what a heartbeat says; without a body, that the service is healthy."""
    model = _validated(_HeartbeatBody, _optional_object(body))
    return Heartbeat(healthy=model.status in ("healthy", "active"), note=model.note)


def parse_discovery(body: bytes) -> Discovery:
    """Return the capabilities asked for; one that is in both lists is required."""
    model = _validated(_DiscoverBody, decode_object(body))
    required = _distinct(model.capabilities)
    optional = tuple(c for c in _distinct(model.optional) if c not in required)
    return Discovery(required, optional)


def parse_invocation(body: bytes) -> Invocation:
    """Return the call that is reported."""
    return Invocation(**dict(_validated(_InvocationBody, decode_object(body))))


def _optional_object(body: bytes) -> dict[str, Any]:
    return decode_object(body) if body.strip() else {}


def _distinct(values: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


BodyT = TypeVar("BodyT", bound=_Body)


def _validated(
    model: type[BodyT], data: dict[str, Any], errors: list[FieldError] | None = None
) -> BodyT:
    found = errors or []
    try:
        result = model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        found = [*(_field_error(dict(detail)) for detail in details), *found]
    if found:
        raise _invalid(found)
    return result


def _invalid(errors: list[FieldError]) -> InvalidRequest:
    first = dict.fromkeys(f"{error.field} {error.message}" for error in errors)
    return InvalidRequest("; ".join(first), tuple(errors))


_MESSAGES: dict[str, Callable[[dict[str, Any]], str]] = {
    "missing": lambda ctx: "is required",
    "extra_forbidden": lambda ctx: "is not a known field",
    "string_type": lambda ctx: "must be a string",
    "string_unicode": lambda ctx: "must be valid Unicode",
    "string_too_short": lambda ctx: "must not be empty",
    "string_too_long": lambda ctx: f"must have at most {ctx['max_length']} characters",
    "int_type": lambda ctx: "must be a whole number",
    "float_type": lambda ctx: "must be a number",
    "finite_number": lambda ctx: "must be a finite number",
    "bool_type": lambda ctx: "must be true or false",
    "list_type": lambda ctx: "must be a list",
    "dict_type": lambda ctx: "must be an object",
    "model_type": lambda ctx: "must be an object",
    "too_short": lambda ctx: f"must have at least {ctx['min_length']} entry",
    "too_long": lambda ctx: f"must have at most {ctx['max_length']} entries",
    "literal_error": lambda ctx: f"must be one of {ctx['expected']}",
    "greater_than_equal": lambda ctx: f"must be at least {ctx['ge']:g}",
    "less_than_equal": lambda ctx: f"must be at most {ctx['le']:g}",
    "value_error": lambda ctx: str(ctx["error"]),
}

_PATTERNS = {
    ID_PATTERN: "must be 1-128 of A-Z a-z 0-9 . _ : - and start with a letter or digit",
    CAPABILITY_PATTERN: (
        "must be 1-128 of A-Z a-z 0-9 . _ : / - and start with a letter or digit"
    ),
    TEXT_PATTERN: "must not hold control characters",
}


def _field_error(detail: dict[str, Any]) -> FieldError:
    field = ".".join(str(part) for part in detail["loc"])
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "string_pattern_mismatch":
        return FieldError(field, _PATTERNS[context["pattern"]])
    render = _MESSAGES.get(kind)
    return FieldError(field, render(context) if render else str(detail["msg"]))
