"""The module contract and its membership, for any web framework.

`modularity_client.flask` and `modularity_client.fastapi` serve it.
"""

import inspect
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Required, Self, TypedDict, TypeVar

from modularity_client.client import AsyncRegistry, Registry
from modularity_client.errors import RegistryError
from modularity_client.invoke.failover import NOT_REPEATABLE
from modularity_client.membership.membership import Membership
from modularity_client.parameters import mismatch, signature_of
from modularity_client.types.services import Registered

log = logging.getLogger("modularity_client")

JSON, PROBLEM = "application/json", "application/problem+json"
# Compared with only; this module does not choose to listen there.
ANYWHERE = frozenset({"", "0.0.0.0", "::"})  # nosec B104
EXPECTED = 'send {"capability": ..., "params": {...}} as JSON'

Handler = Callable[..., Any]
HandlerT = TypeVar("HandlerT", bound=Handler)


class ModuleFields(TypedDict, total=False):
    """The fields of a module; its capabilities are those with a handler.

    ``location`` is the address for callers, by default ``MODULE_LOCATION``. The other
    fields are those of a registration and of `Registry.join`.
    """

    id: Required[str]
    name: Required[str]
    location: str
    version: str
    metadata: Mapping[str, Any]
    weight: int
    ttl: float | None
    health: Mapping[str, Any] | None
    owner_key: str | None
    zone: str | None
    region: str | None
    priority: int
    grace: float
    on_registered: Callable[[Registered], object]
    on_error: Callable[[RegistryError], object]


class HealthWarning(str):
    """A reason for a warning: return it from a health check.

    Callers get the module only if no other provider is healthy.
    """

    __slots__ = ()

    def __new__(cls, reason: str) -> Self:
        return super().__new__(cls, reason)


class InvocationError(Exception):
    """Raise it in a handler to refuse a call with this status, code and detail."""

    def __init__(
        self, detail: str, *, status: int = 400, code: str = "invalid_request"
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class ModuleReply:
    """A reply, ready to send."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class InvokeRequest:
    """A valid call: ``handler(**params)``."""

    capability: str
    handler: Handler
    params: dict[str, Any]


class Contract:
    """A module's handlers, and its replies to the three calls of the contract."""

    def __init__(self, module_id: str) -> None:
        self.module_id = module_id
        self._handlers: dict[str, Handler] = {}
        self._signatures: dict[str, inspect.Signature] = {}
        self.not_repeatable: list[str] = []
        self._health: Callable[[], str | None] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The capabilities, in the order you added them."""
        return tuple(self._handlers)

    def add(self, capability: str, handler: Handler, repeatable: bool = True) -> None:
        """Add a capability; raises `ValueError` if it already has a handler."""
        if capability in self._handlers:
            raise ValueError(f"the capability {capability!r} already has a handler")
        self._handlers[capability] = handler
        self._signatures[capability] = signature_of(handler)
        if not repeatable:
            self.not_repeatable.append(capability)

    def watch_health(self, check: Callable[[], str | None]) -> None:
        """Set the health check; it returns why the module is unhealthy, or None.

        As a `HealthWarning`, the reason is only a warning.
        """
        self._health = check

    def health(self) -> ModuleReply:
        """Answer ``GET /_module/health``."""
        try:
            reason = self._health() if self._health else None
        except Exception as error:
            log.exception("the health check of %s failed", self.module_id)
            reason = f"its health check failed: {type(error).__name__}"
        if reason is None:
            return _json(200, {"status": "healthy"})
        if isinstance(reason, HealthWarning):
            return _json(200, {"status": "warning", "reason": reason})
        return _json(503, {"status": "unhealthy", "reason": reason})

    def capabilities(self) -> ModuleReply:
        """Answer ``GET /_module/capabilities``."""
        return _json(200, {"id": self.module_id, "capabilities": self.names})

    def read(self, body: bytes, content_type: str) -> InvokeRequest:
        """Parse the body of ``POST /_module/invoke``; raises `InvocationError`."""
        # For security: a web page of any origin may send other types.
        if content_type.partition(";")[0].strip().lower() != JSON:
            raise InvocationError(EXPECTED)
        try:
            call = json.loads(body)
        except (ValueError, RecursionError):
            raise InvocationError(EXPECTED) from None
        call = call if isinstance(call, dict) else {}
        capability, params = call.get("capability"), call.get("params", {})
        if not isinstance(capability, str) or not isinstance(params, dict):
            raise InvocationError(EXPECTED)
        handler = self._handlers.get(capability)
        if handler is None:
            detail = f"this module provides only {', '.join(self.names) or 'nothing'}"
            raise InvocationError(detail, status=404, code="capability_not_found")
        reason = mismatch(self._signatures[capability], params)
        if reason is not None:
            raise InvocationError(f"{capability}: {reason}")
        return InvokeRequest(capability, handler, params)

    def result(self, call: InvokeRequest, value: Any) -> ModuleReply:
        """Reply with the handler's result; raises `TypeError` if it isn't JSON."""
        return _json(200, {"capability": call.capability, "result": value})

    def refusal(self, error: Exception) -> ModuleReply:
        """Reply with the error; hides the details of unexpected ones, and logs them."""
        if not isinstance(error, InvocationError):
            log.error("a call of %s failed", self.module_id, exc_info=error)
            detail = "internal error of the module; its log has the details"
            error = InvocationError(detail, status=500, code="internal_error")
        problem = {
            "type": "about:blank",
            "title": HTTPStatus(error.status).phrase,
            "status": error.status,
            "detail": error.detail,
            "code": error.code,
            "error": error.detail,
        }
        return _json(error.status, problem, PROBLEM)


def _json(status: int, value: Any, content_type: str = JSON) -> ModuleReply:
    return ModuleReply(status, content_type, json.dumps(value).encode())


def address(host: str, port: int) -> str | None:
    """Return the location of a server on this host; None for a wildcard host."""
    name = f"[{host}]" if ":" in host else host
    return None if host in ANYWHERE else f"http://{name}:{port}"


class ModuleBase:
    """A module's handlers and its membership; base of the frameworks' modules."""

    def __init__(
        self,
        registry: Registry | AsyncRegistry | None,
        capabilities: Mapping[str, Handler] | None,
        fields: ModuleFields,
    ) -> None:
        self.registry = registry if registry is not None else Registry()
        self.contract = Contract(fields["id"])
        self.membership: Membership | None = None
        self._fields = fields
        self._lock = threading.Lock()
        for name, handler in (capabilities or {}).items():
            self.contract.add(name, handler)

    def capability(
        self, name: str, *, repeatable: bool = True
    ) -> Callable[[HandlerT], HandlerT]:
        """Decorate the handler of a capability; it gets the ``params`` as arguments.

        Callers repeat a call whose answer was lost, up to three times in all. With
        ``repeatable=False`` they don't, for what must not happen twice. All attempts at
        one call carry the same ``Idempotency-Key`` header.
        """

        def decorate(handler: HandlerT) -> HandlerT:
            self.contract.add(name, handler, repeatable)
            return handler

        return decorate

    def health(self, check: Callable[[], str | None]) -> Callable[[], str | None]:
        """Decorate the health check, which returns why it is unhealthy, or None.

        As a `HealthWarning`, the reason is only a warning.
        """
        self.contract.watch_health(check)
        return check

    def start(
        self, location: str | None = None, *, when_listening: bool = False
    ) -> Membership:
        """Join, in the background; the module leaves when its process ends.

        Call it in a hook of your server. Later calls in the same process return the
        same membership. Raises `RuntimeError` if the location is not set.
        """
        with self._lock:
            current = self.membership
            if current is None or current.owner != os.getpid():
                current = self._membership(location, when_listening)
                self.membership = current.start()
            return current

    def _membership(self, location: str | None, when_listening: bool) -> Membership:
        configured = self._fields.get("location") or os.environ.get("MODULE_LOCATION")
        if not (configured or location):
            raise RuntimeError(
                f"the location of {self.contract.module_id!r} is not set: use location="
                " or MODULE_LOCATION"
            )
        joining: dict[str, Any] = {
            "metadata": {"runtime": "python"},
            **self._fields,
            "capabilities": self.contract.names,
            "location": configured or location,
            "when_listening": when_listening,
        }
        once = self.contract.not_repeatable
        declared = joining["metadata"].get(NOT_REPEATABLE, ())
        if once and not isinstance(declared, bool):
            names = sorted({*declared, *once})
            joining["metadata"] = {**joining["metadata"], NOT_REPEATABLE: names}
        return self.registry.join(**joining)
