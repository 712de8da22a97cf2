"""What an intention may name."""

import re
from typing import Final

from modularity_registry.errors import InvalidRequest
from modularity_registry.model.intention import ANY, Action, Intention
from modularity_registry.schema.patterns import CAPABILITY_PATTERN, LONGEST_CAPABILITY

MESH_ID: Final = r"[A-Za-z0-9][A-Za-z0-9._\-]{0,127}"
"""As an id, without the colon, which no SPIFFE id has."""

_is_source: Final = re.compile(rf"\*|{MESH_ID}\*?").fullmatch
_is_capability: Final = re.compile(CAPABILITY_PATTERN).fullmatch


def intention_of(source: str, capability: str, action: Action) -> Intention:
    """Return an intention; raises `InvalidRequest` for names that can't be."""
    if not _is_source(source):
        raise InvalidRequest(
            "the source must be a service's id of letters, digits, dots, hyphens and"
            " underscores, its beginning and *, or * for all services"
        )
    # A beginning may end with a slash, which no whole name does.
    name = capability.removesuffix(ANY).rstrip("/") if capability != ANY else "any"
    if len(capability) > LONGEST_CAPABILITY or not _is_capability(name):
        raise InvalidRequest(
            "the capability must be a capability's name, its beginning and *, or * for"
            " all capabilities"
        )
    return Intention(source, capability, action)
