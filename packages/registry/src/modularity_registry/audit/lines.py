"""The event and the fields of a line: pure functions of what was before and after."""

from typing import Any

from modularity_registry import tokens
from modularity_registry.model import status
from modularity_registry.model.rights import OWNER_KEY, Claim, Token, shown_owner
from modularity_registry.model.service import Registration, Service
from modularity_registry.model.split import Split
from modularity_registry.telemetry.logs import RequestContext

AuditEvent = tuple[str, dict[str, Any]]
"""What happened, and its fields."""

_FIELDS = tuple(name for name in Registration.__struct_fields__ if name != "id")

_NAMED_ONLY = frozenset({"metadata", "checks"})
"""Long, or with secrets: a line says that these changed, not how."""


def of_request(request: RequestContext | None, claim: Claim | None) -> dict[str, Any]:
    """Return the fields of the caller and the request.

    ``who`` is None for a caller without a name. Without a request, ``by`` says that the
    registry acted by itself.
    """
    if request is None:
        return {"who": None, "by": "registry"}
    who = request.caller
    if who is None and claim is not None and claim.key is not None:
        who = OWNER_KEY
    line: dict[str, Any] = {"who": who, "peer": request.peer}
    if request.proxy is not None:
        line["proxy"] = request.proxy
    line["request_id"] = request.request_id
    if request.trace_id is not None:
        line["trace_id"] = request.trace_id
    return line


def of_write(old: Service | None, new: Service) -> AuditEvent | None:
    """Return the event of storing ``new`` over ``old``.

    None if no caller changed anything: a registration that repeats the one before, or
    a fault that a check or a lease added or removed.
    """
    if old is None:
        return "service.registered", _summary(new)
    same = old.registration == new.registration
    if same and old.registered_at == new.registered_at:
        return _of_status(old, new)
    before, after = _content(old), _content(new)
    changed = [name for name in after if before[name] != after[name]]
    if not changed:
        return None
    return "service.replaced", {
        "changed": changed,
        "old": _values(before, changed),
        "new": _values(after, changed),
    }


def of_removal(old: Service, expired: bool) -> AuditEvent:
    """Return the event of removing a service."""
    if not expired:
        return "service.unregistered", _summary(old)
    reason = f"no heartbeat for {status.LEASE_TERMS} times its ttl"
    return "service.expired", {"reason": reason, **_summary(old)}


def of_split(old: Split | None, new: Split | None) -> AuditEvent:
    """Return the event of putting ``new`` in place of ``old``; None is no split."""
    split = new or old
    event = "capability.split_changed" if new else "capability.split_ended"
    return event, {
        "capability": split.capability if split else None,
        "old": old.groups if old else None,
        "new": new.groups if new else None,
    }


def of_token(token: Token) -> dict[str, Any]:
    """Return a token's public fields: neither its text nor its hash."""
    document = tokens.token_document(token)
    # A line has its own time.
    del document["created_at"]
    return {"token": document.pop("name"), **document}


def _of_status(old: Service, new: Service) -> AuditEvent | None:
    if old.drain != new.drain:
        if new.drain is None:
            return "service.undrained", {"status": status.status(new)}
        return "service.drained", {"reason": new.drain.reason or None}
    changed = {*old.faults, *old.warnings} ^ {*new.faults, *new.warnings}
    sources = {fault.source for fault in changed}
    before, after = status.status(old), status.status(new)
    if before == after or "report" not in sources:
        return None
    return "service.reported", {
        "old": {"status": before},
        "new": {"status": after},
        "reason": status.reason(new),
    }


def _summary(service: Service) -> dict[str, Any]:
    registration = service.registration
    return {
        "location": registration.location,
        "mode": registration.mode,
        "version": registration.version,
        "capabilities": registration.capabilities,
        "owner": shown_owner(service.owner),
    }


def _content(service: Service) -> dict[str, Any]:
    """Return all that a registration sets; it also ends a drain."""
    content: dict[str, Any] = {
        name: getattr(service.registration, name) for name in _FIELDS
    }
    content["metadata"] = bytes(content["metadata"])
    return content | {"drain": service.drain, "owner": service.owner}


def _values(content: dict[str, Any], names: list[str]) -> dict[str, Any]:
    values = {name: content[name] for name in names if name not in _NAMED_ONLY}
    if "owner" in values:
        values["owner"] = shown_owner(values["owner"])
    if values.get("drain") is not None:
        values["drain"] = values["drain"].reason
    return values
