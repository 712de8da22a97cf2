"""What a line says of an act: pure functions from what was and is to its fields."""

from typing import Any

from modularity_registry import tokens
from modularity_registry.model import status
from modularity_registry.model.rights import OWNER_KEY, Claim, Token, shown_owner
from modularity_registry.model.service import Registration, Service
from modularity_registry.telemetry.logs import RequestContext

Act = tuple[str, dict[str, Any]]
"""What happened, and the fields that are about it."""

_FIELDS = tuple(name for name in Registration.__struct_fields__ if name != "id")

_NOT_SHOWN = frozenset({"metadata"})
"""May be 16 KiB: of these it is said that they changed, not how."""


def of_request(request: RequestContext | None, claim: Claim | None) -> dict[str, Any]:
    """Return who asked for it, from where, and in which request.

    ``who`` is None for somebody without a name; where nobody asked, ``by`` says that
    it was the registry itself.
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


def of_write(old: Service | None, new: Service) -> Act | None:
    """Return what it means that ``new`` is stored over ``old``.

    None where nothing was decided by anybody: a registration that repeats the one
    before, or a fault that a check or a lease has found or ended.
    """
    if old is None:
        return "service.registered", _told(new)
    same = old.registration == new.registration
    if same and old.registered_at == new.registered_at:
        return _of_verdict(old, new)
    before, now = _decided(old), _decided(new)
    changed = [name for name in now if before[name] != now[name]]
    if not changed:
        return None
    return "service.replaced", {
        "changed": changed,
        "old": _shown(before, changed),
        "new": _shown(now, changed),
    }


def of_removal(old: Service, expired: bool) -> Act:
    """Return what it means that a service is no more."""
    if not expired:
        return "service.unregistered", _told(old)
    reason = f"no heartbeat for {status.LEASE_TERMS} times its ttl"
    return "service.expired", {"reason": reason, **_told(old)}


def of_token(token: Token) -> dict[str, Any]:
    """Return what may be known of a token: not its hash, let alone its text."""
    told = tokens.token_document(token)
    # A line has its own time.
    del told["created_at"]
    return {"token": told.pop("name"), **told}


def _of_verdict(old: Service, new: Service) -> Act | None:
    if old.drain != new.drain:
        if new.drain is None:
            return "service.undrained", {"status": status.status(new)}
        return "service.drained", {"reason": new.drain.reason or None}
    sources = {each.source for each in {*old.faults} ^ {*new.faults}}
    was, now = status.status(old), status.status(new)
    if was == now or "report" not in sources:
        return None
    return "service.reported", {
        "old": {"status": was},
        "new": {"status": now},
        "reason": status.reason(new),
    }


def _told(service: Service) -> dict[str, Any]:
    said = service.registration
    return {
        "location": said.location,
        "mode": said.mode,
        "version": said.version,
        "capabilities": said.capabilities,
        "owner": shown_owner(service.owner),
    }


def _decided(service: Service) -> dict[str, Any]:
    """Return all that a registration decides: it ends an order to drain as well."""
    told: dict[str, Any] = {
        name: getattr(service.registration, name) for name in _FIELDS
    }
    told["metadata"] = bytes(told["metadata"])
    return told | {"drain": service.drain, "owner": service.owner}


def _shown(told: dict[str, Any], names: list[str]) -> dict[str, Any]:
    found = {name: told[name] for name in names if name not in _NOT_SHOWN}
    if "owner" in found:
        found["owner"] = shown_owner(found["owner"])
    if found.get("drain") is not None:
        found["drain"] = found["drain"].reason
    return found
