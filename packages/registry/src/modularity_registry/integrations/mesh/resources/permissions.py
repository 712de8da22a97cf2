"""Intentions as rules of Envoy's filter for role-based access control (RBAC)."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from typing import Any, Final

from modularity_registry.integrations.envoy.resources.places import server_name
from modularity_registry.integrations.mesh.authority.certificates import spiffe_id
from modularity_registry.model.intention import ANY, Intention

AUTHORITY: Final = ":authority"

_LAST: Final = "\U0010ffff"
"""The last of all characters."""


def rules(policies: dict[str, Any]) -> dict[str, Any]:
    """Return rules that allow what a policy allows, and nothing else."""
    return {"rules": {"action": "ALLOW", "policies": policies}}


def policy(
    capability: str, intentions: Sequence[Intention], trust_domain: str
) -> dict[str, Any] | None:
    """Return the policy for calls of a capability; None if nobody may call it.

    ``intentions`` are those that decide on it, the most exact one first. Whoever may
    call is named by an intention that allows it, and by none before that denies it.
    """
    denied: list[str] = []  # in the order of their letters
    allowed: list[Any] = []
    decided: set[str] = set()
    for one in intentions:
        source = one.source
        if not decided.isdisjoint(_covering(source)):
            continue
        decided.add(source)
        if one.action == "deny":
            insort(denied, source)
        else:
            allowed.append(_principal(source, denied, trust_domain))
    if not allowed:
        return None
    host = {"name": AUTHORITY, "string_match": {"exact": server_name(capability)}}
    return {"permissions": [{"header": host}], "principals": allowed}


def _covering(source: str) -> Iterable[str]:
    """Yield all patterns that stand for whatever ``source`` stands for."""
    yield source
    for end in range(len(source.removesuffix(ANY)) + 1):
        yield source[:end] + ANY


def _principal(source: str, denied: list[str], trust_domain: str) -> dict[str, Any]:
    """Return who is named by a source, but by none of those that are denied."""
    principal = _named(source, trust_domain)
    if not source.endswith(ANY):
        return principal
    start = source.removesuffix(ANY)
    first, last = bisect_left(denied, start), bisect_left(denied, start + _LAST)
    others = [_named(each, trust_domain) for each in denied[first:last]]
    if not others:
        return principal
    return {"and_ids": {"ids": [principal, {"not_id": {"or_ids": {"ids": others}}}]}}


def _named(source: str, trust_domain: str) -> dict[str, Any]:
    name = spiffe_id(trust_domain, source.removesuffix(ANY))
    match = {"prefix" if source.endswith(ANY) else "exact": name}
    return {"authenticated": {"principal_name": match}}
