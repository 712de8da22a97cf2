"""JSON from outside becomes a value here, or an error that names every bad field.

Nothing else validates. What comes out has a type and keeps to the limits.
"""

from modularity_registry.schema.parse import (
    CheckReport,
    Discovery,
    Heartbeat,
    Invocation,
    parse_check_report,
    parse_discovery,
    parse_drain,
    parse_heartbeat,
    parse_invocation,
    parse_invocations,
    parse_registration,
    parse_registration_request,
    parse_rotation,
    parse_split,
    parse_token,
)
from modularity_registry.schema.request_models import (
    MAX_CAPABILITIES,
    MAX_INVOCATIONS,
    MAX_METADATA_BYTES,
)
from modularity_registry.schema.strict_json import decode_object, encode

__all__ = [
    "MAX_CAPABILITIES",
    "MAX_INVOCATIONS",
    "MAX_METADATA_BYTES",
    "CheckReport",
    "Discovery",
    "Heartbeat",
    "Invocation",
    "decode_object",
    "encode",
    "parse_check_report",
    "parse_discovery",
    "parse_drain",
    "parse_heartbeat",
    "parse_invocation",
    "parse_invocations",
    "parse_registration",
    "parse_registration_request",
    "parse_rotation",
    "parse_split",
    "parse_token",
]
