"""The bodies that are taken, with the limits of every field."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from modularity_registry.model.rights import GLOB_PATTERN, NAME_PATTERN, Right
from modularity_registry.model.service import Mode
from modularity_registry.network.address_policy import (
    InvalidLocation,
    parse_health_path,
)
from modularity_registry.schema.strict_json import encode

MAX_METADATA_BYTES = 16 * 1024
MAX_CAPABILITIES = 256
MAX_NOTE = 1024
MAX_GLOBS = 64
MAX_LIFETIME = 10 * 366 * 86_400
MAX_GRACE = 30 * 86_400

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}$"
CAPABILITY_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/\-]{0,127}$"
# As it can stand in a header: printable ASCII without blanks.
KEY_PATTERN = r"^[\x21-\x7e]*$"
# No control characters and no lone surrogates: neither can be shown or stored.
TEXT_PATTERN = r"^[^\x00-\x1f\x7f]*$"


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


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class HealthBody(Body):
    path: (
        Annotated[str, StringConstraints(max_length=512), AfterValidator(_health_path)]
        | None
    ) = None
    interval: Annotated[Seconds | None, Field(ge=1, le=86_400)] = None
    timeout: Annotated[Seconds | None, Field(ge=0.1, le=300)] = None


class RegistrationBody(Body):
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
    health: HealthBody | None = None
    owner_key: (
        Annotated[
            str,
            StringConstraints(pattern=KEY_PATTERN, min_length=16, max_length=256),
        ]
        | None
    ) = None


class DrainBody(Body):
    reason: Text = ""


class HeartbeatBody(Body):
    status: Literal["healthy", "unhealthy", "active", "inactive"] = "healthy"
    note: Text = ""


class DiscoverBody(Body):
    capabilities: Annotated[
        list[Capability], Field(min_length=1, max_length=MAX_CAPABILITIES)
    ]
    optional: Annotated[list[Capability], Field(max_length=MAX_CAPABILITIES)] = []


class InvocationBody(Body):
    consumer_id: Id
    provider_id: Id
    capability: Capability
    success: bool = True
    latency_ms: Annotated[Seconds | None, Field(ge=0, le=86_400_000)] = None


TokenName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Glob = Annotated[str, StringConstraints(pattern=GLOB_PATTERN)]
Globs = Annotated[list[Glob], Field(min_length=1, max_length=MAX_GLOBS)]
RightWord = Literal["read", "register", "track", "admin"]


class TokenBody(Body):
    name: TokenName
    rights: Annotated[list[RightWord], Field(min_length=1, max_length=len(Right))]
    ids: Globs = ["*"]
    capabilities: Globs = ["*"]
    expires_in: Annotated[Seconds | None, Field(ge=1, le=MAX_LIFETIME)] = None


class RotationBody(Body):
    grace: Annotated[Seconds, Field(ge=0, le=MAX_GRACE)] = 0.0
