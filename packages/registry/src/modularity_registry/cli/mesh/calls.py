"""The calls under ``/api/mesh/``, as those of `modularity_client.calls`."""

from collections.abc import Sequence
from typing import Any

from modularity_client.http.call import (
    Call,
    Reply,
    arguments,
    call_with_body,
    owner_key_header,
    path_segment,
)

PREFIX = "/api/mesh"


def authority() -> Call[Any]:
    """Read the trust domain, the root certificates and when to look again."""
    return Call("GET", f"{PREFIX}/authority", _whole)


def rotate_authority(overlap: float | None) -> Call[Any]:
    """Begin to replace the root certificate; ``overlap`` is seconds."""
    body = {} if overlap is None else {"overlap_seconds": overlap}
    path = f"{PREFIX}/authority/rotate"
    return call_with_body("POST", path, body, _whole, repeat=False)


def certificate(
    service_id: str, capabilities: Sequence[str], csr: str, owner_key: str | None
) -> Call[Any]:
    """Have the key of ``csr`` certified as a service's."""
    body = {
        "service_id": service_id,
        "capabilities": list(capabilities),
        "csr": csr,
    }
    headers = owner_key_header(owner_key)
    return call_with_body("POST", f"{PREFIX}/certificates", body, _whole, headers)


def intentions() -> Call[Any]:
    """List the intentions, the most exact one first."""
    return Call("GET", f"{PREFIX}/intentions", _whole)


def set_intention(source: str, capability: str, action: str) -> Call[Any]:
    """Let services call capabilities, or not."""
    path = _intention_path(source, capability)
    return call_with_body("PUT", path, {"action": action}, _whole)


def remove_intention(source: str, capability: str) -> Call[Any]:
    """Remove an intention: the others decide."""
    return Call("DELETE", _intention_path(source, capability), _whole, repeat=False)


def decision(source: str, capability: str) -> Call[Any]:
    """Read whether a service may call a capability."""
    query = arguments(source=source, capability=capability)
    return Call("GET", f"{PREFIX}/decision", _whole, query)


def _intention_path(source: str, capability: str) -> str:
    parts = (part and path_segment(part) for part in capability.split("/"))
    return f"{PREFIX}/intentions/{path_segment(source)}/{'/'.join(parts)}"


def _whole(data: Any, _: Reply) -> Any:
    return data
