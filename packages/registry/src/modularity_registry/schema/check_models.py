"""The checks of a registration: every field with its limits, as in `request_models`.

Which fields a check of each kind may have is in `check_rules`.
"""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from modularity_registry.model.checks import HIDDEN, CheckKind
from modularity_registry.model.location import InvalidLocation, parse_health_path
from modularity_registry.schema.body import (
    STRICT,
    Interval,
    Seconds,
    Timeout,
    doc,
    whole,
)
from modularity_registry.schema.patterns import (
    CAPABILITY_PATTERN,
    CHECK_NAME_PATTERN,
    HEALTH_PATH_PATTERN,
    HOST_NAME_PATTERN,
    KEY_PATTERN,
    LONGEST_CAPABILITY,
    TEXT_PATTERN,
)
from modularity_registry.schema.strict_json import encode

MAX_CHECKS: Final = 16
MAX_HEADERS: Final = 16
MAX_HEADER_VALUE: Final = 1024
MAX_BODY: Final = 4096
MAX_STATUS: Final = 16

# Those that say where a message ends or whom it is for, and those that the HTTP client
# sets itself: two of them are read in two ways.
_FORBIDDEN_HEADERS: Final = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "connection", "keep-alive"),
        *("upgrade", "te", "trailer", "expect", "accept-encoding"),
        *("proxy-connection", "proxy-authorization"),
    }
)
_HEADER_NAME: Final = r"^[A-Za-z0-9!#$%&'*+.^_`|~\-]{1,64}$"
_HEADER_VALUE: Final = r"^(?:[!-~](?:[ -~]*[!-~])?)?$"
_is_token: Final = re.compile(_HEADER_NAME).fullmatch
_is_value: Final = re.compile(_HEADER_VALUE).fullmatch
_is_range: Final = re.compile(r"([1-5][0-9]{2})-([1-5][0-9]{2})").fullmatch


def health_path(value: str) -> str:
    try:
        parse_health_path(value)
    except InvalidLocation as error:
        raise ValueError(error.detail) from None
    return value


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    if len(value) > MAX_HEADERS:
        raise ValueError(f"must have at most {MAX_HEADERS} entries")
    if len({name.lower() for name in value}) < len(value):
        raise ValueError("must not have a header twice; case does not matter")
    for name, text in value.items():
        if not _is_token(name):
            raise ValueError(
                "must have names of 1-64 letters, digits, hyphens or other characters"
                " that HTTP allows in a header's name"
            )
        if name.lower() in _FORBIDDEN_HEADERS:
            raise ValueError(f"must not set {name}: the registry sets it itself")
        if not isinstance(text, str) or not _is_sendable(text):
            raise ValueError(
                f"must have printable ASCII of at most {MAX_HEADER_VALUE} characters"
                f" as {name}"
            )
        _not_hidden(text)
    return value


def _is_sendable(text: str) -> bool:
    return len(text) <= MAX_HEADER_VALUE and _is_value(text) is not None


def _not_hidden(value: str) -> str:
    if value == HIDDEN:
        raise ValueError(f"must be the real value, not {HIDDEN!r} from a reply")
    return value


def _body(value: str) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None
    if size > MAX_BODY:
        raise ValueError(f"must be at most {MAX_BODY} bytes, not {size}")
    if "\0" in value:
        raise ValueError("must not contain the character NUL")
    return _not_hidden(value)


def _params(value: object) -> bytes:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    try:
        encoded = encode(value)
    except (UnicodeEncodeError, RecursionError, OverflowError):
        raise ValueError("is nested too deeply, or holds no valid text") from None
    if len(encoded) > MAX_BODY:
        raise ValueError(f"must be at most {MAX_BODY} bytes as JSON")
    if b"\\u0000" in encoded:
        raise ValueError("must not contain the character NUL")
    return encoded


def _codes(value: object) -> tuple[int | str, ...]:
    if not isinstance(value, list):
        raise ValueError("must be a list of codes and ranges, as [200, '300-399']")
    if len(value) > MAX_STATUS:
        raise ValueError(f"must have at most {MAX_STATUS} entries")
    return tuple(_code(item) for item in value)


def _code(value: object) -> int | str:
    value = whole(value)
    if isinstance(value, int) and not isinstance(value, bool) and 200 <= value <= 599:
        return value
    ends = _is_range(value) if isinstance(value, str) else None
    if ends is not None and 200 <= int(ends[1]) <= int(ends[2]):
        return ends[0]
    raise ValueError("must have codes from 200 to 599, and ranges as '200-299'")


def _scalar(value: object) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < 1 << 53:
        return value
    if isinstance(value, str) and len(value) <= MAX_HEADER_VALUE:
        return value
    raise ValueError(
        "must be a text of at most 1024 characters, a number, true, false or null"
    )


class Body(BaseModel):
    model_config = STRICT


class JsonExpectation(Body):
    """The value that a field of a JSON answer must have."""

    path: Annotated[
        str,
        StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=256),
        doc("Where the field is: names and positions, joined by dots.", "db.status"),
    ]
    value: Annotated[
        Any,
        BeforeValidator(_scalar),
        WithJsonSchema({"type": ["string", "number", "boolean", "null"]}),
        doc("The value that it must have.", "up"),
    ]


class Expectation(Body):
    """Which answer of an HTTP check is good."""

    status: Annotated[
        tuple[int | str, ...],
        BeforeValidator(_codes),
        WithJsonSchema(
            {
                "type": "array",
                "maxItems": MAX_STATUS,
                "items": {
                    "anyOf": [
                        {"type": "integer", "minimum": 200, "maximum": 599},
                        {
                            "type": "string",
                            "pattern": "^[2-5][0-9]{2}-[2-5][0-9]{2}$",
                        },
                    ]
                },
            }
        ),
        doc("The good status codes, and ranges of them.", [200, "300-399"]),
    ] = ()
    json_field: Annotated[
        JsonExpectation | None,
        Field(alias="json"),
        doc("A field of the JSON answer.", {"path": "db.status", "value": "up"}),
    ] = None


class Invoke(Body):
    """A harmless call that a module must answer."""

    capability: Annotated[
        str,
        StringConstraints(pattern=CAPABILITY_PATTERN, max_length=LONGEST_CAPABILITY),
        doc("The capability to call; it must be registered.", "greet"),
    ]
    params: Annotated[
        bytes,
        BeforeValidator(_params),
        WithJsonSchema({"type": "object", "additionalProperties": True}),
        doc("The call's parameters.", {"name": "world"}, default={}),
    ] = b"{}"
    expect: Annotated[
        JsonExpectation | None,
        doc(
            "A field of the answer.",
            {"path": "result.message", "value": "Hello, world!"},
        ),
    ] = None


class TlsOptions(Body):
    """How a check judges the server's certificate."""

    verify: Annotated[
        bool, doc("Whether the certificate must be valid and trusted.", True)
    ] = True
    server_name: Annotated[
        str,
        StringConstraints(pattern=HOST_NAME_PATTERN, max_length=253),
        doc(
            "The name to ask for, and to find in the certificate; by default the host"
            " of the location.",
            "hello.example",
        ),
    ] = ""


class Check(Body):
    """One check of the service, beside the one of its mode."""

    name: Annotated[
        str,
        StringConstraints(pattern=CHECK_NAME_PATTERN),
        doc("The check's name, unique within the service.", "db"),
    ]
    kind: Annotated[CheckKind, doc("How to check.", "http")]
    critical: Annotated[
        bool,
        doc("Whether the check can make the service unhealthy, not only warn.", True),
    ] = True
    port: Annotated[
        int | None,
        Field(ge=1, le=65_535),
        BeforeValidator(whole),
        doc("The port to check, on the location's host; by default its port.", 9090),
    ] = None
    path: Annotated[
        str,
        StringConstraints(max_length=512),
        AfterValidator(lambda value: value and health_path(value)),
        doc(
            "The path to request: after the location's, or with `port` all of it.",
            "/ready",
            pattern=rf"^$|{HEALTH_PATH_PATTERN}",
        ),
    ] = ""
    method: Annotated[
        Literal["GET", "HEAD", "POST"], doc("The method of the request.", "GET")
    ] = "GET"
    headers: Annotated[
        dict[str, str],
        BeforeValidator(_headers),
        WithJsonSchema(
            {
                "type": "object",
                "maxProperties": MAX_HEADERS,
                "propertyNames": {"pattern": _HEADER_NAME},
                "additionalProperties": {
                    "type": "string",
                    "maxLength": MAX_HEADER_VALUE,
                    "pattern": _HEADER_VALUE,
                },
            }
        ),
        doc(
            "Headers to send. Replies show `(hidden)` in place of their values.",
            {"Authorization": "Bearer a-secret"},
            default={},
        ),
    ] = {}
    body: Annotated[
        str,
        AfterValidator(_body),
        doc("The body to send with `POST`; replies show `(hidden)`.", '{"ping": 1}'),
    ] = ""
    expect: Annotated[
        Expectation | None,
        doc("Which answer is good; by default any 2xx.", {"status": [200, 204]}),
    ] = None
    service: Annotated[
        str,
        StringConstraints(pattern=KEY_PATTERN, max_length=256),
        doc("The gRPC service to ask about; by default the whole server.", "pay.Pay"),
    ] = ""
    tls: Annotated[
        TlsOptions | None,
        doc("How to judge the certificate. A gRPC check uses TLS if it is set.", {}),
    ] = None
    interval: Interval = None
    timeout: Timeout = None
    fall: Annotated[
        int | None,
        Field(ge=1, le=100),
        BeforeValidator(whole),
        doc("How many failures in a row count; by default the registry's.", 3),
    ] = None
    rise: Annotated[
        int | None,
        Field(ge=1, le=100),
        BeforeValidator(whole),
        doc("How many successes in a row end that; by default the registry's.", 1),
    ] = None
    ttl: Annotated[
        Seconds | None,
        Field(ge=1, le=7 * 86_400),
        doc("Kind `ttl`: seconds within which the service reports again.", 30),
    ] = None
    invoke: Annotated[
        Invoke | None,
        doc("Kind `module`: a call to make as well.", {"capability": "greet"}),
    ] = None
