"""How a call to a provider is retried at another one. Does no I/O."""

import json
import time
import uuid
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import httpx

from modularity_client.balancing import Strategy
from modularity_client.http.call import check_timeout
from modularity_client.http.reply_body import TOO_LATE
from modularity_client.http.retry import GATEWAY
from modularity_client.http.transport import NOT_SENT
from modularity_client.resolver.errors import CallFailed, ProviderLost, ProviderRefused
from modularity_client.types.services import Service

ATTEMPTS = 3
"""Providers tried for one call, at most."""

CONNECT_TIMEOUT = 2.0
"""Seconds for a provider to accept a connection, at most."""

NOT_REPEATABLE = "not_repeatable"
"""Key in a service's metadata: a list of its capabilities that must not be retried, or
``true`` for all.
"""


class Providers(Protocol):
    """Chooses providers and gets the outcomes of calls: the resolver."""

    def resolve(
        self,
        capability: str,
        *,
        key: str | None = None,
        strategy: Strategy | None = None,
        timeout: float = ...,
    ) -> Service: ...

    async def aresolve(
        self,
        capability: str,
        *,
        key: str | None = None,
        strategy: Strategy | None = None,
        timeout: float = ...,
    ) -> Service: ...

    def alternative(
        self,
        capability: str,
        tried: Collection[str],
        key: str | None,
        strategy: Strategy | None,
    ) -> Service | None: ...

    def skip(self, service: Service) -> None: ...

    def track(
        self,
        service: Service,
        capability: str,
        success: bool,
        latency_ms: float | None = None,
    ) -> None: ...


def repeatable(service: Service, capability: str) -> bool:
    """Return whether a call whose answer was lost may be retried."""
    not_repeatable = service.metadata.get(NOT_REPEATABLE, ())
    if isinstance(not_repeatable, list | tuple):
        return capability not in not_repeatable
    return not not_repeatable


class Invocation:
    """One call, with at most three attempts.

    A request that was not sent (no connection) goes to another provider. A request
    whose answer was lost, or was a 502, 503 or 504, may have been carried out: it is
    retried if ``idempotent``. By the module contract all capabilities are, unless their
    provider declares `NOT_REPEATABLE`. All attempts carry one ``Idempotency-Key``, by
    which a provider recognizes a retry. Any other answer is final.

    If there is no other provider, one whose answer was lost is tried once more: it may
    have been restarted.
    """

    def __init__(
        self,
        providers: Providers,
        capability: str,
        params: Mapping[str, Any] | None,
        timeout: float,
        idempotent: bool | None,
        key: str | None,
        strategy: Strategy | None,
    ) -> None:
        self.capability = capability
        self.providers = providers
        self._pick_options: dict[str, Any] = {"key": key, "strategy": strategy}
        self.resolve_options = {**self._pick_options, "timeout": timeout}
        check_timeout(timeout)
        self.deadline = time.monotonic() + timeout
        self.result: Any = None
        self._idempotent = idempotent
        self._body = json.dumps(
            {"capability": capability, "params": dict(params or {})}, allow_nan=False
        ).encode()
        self._key = uuid.uuid4().hex
        self._service: Service
        self._began = 0.0
        self._tried: list[tuple[str, str]] = []

    @property
    def remaining(self) -> float:
        """Seconds that are left, more than 0."""
        return max(0.001, self.deadline - time.monotonic())

    def begin(self, service: Service) -> None:
        """Start with the resolved provider, or another one that speaks HTTP."""
        if service.mode != "http":
            other = self.providers.alternative(
                self.capability, (), **self._pick_options
            )
            if other is None:
                detail = f"{service.id} can't be called: its mode is {service.mode!r}"
                raise ProviderLost(detail, self.capability, service, sent=False)
            service = other
        self._service = service

    def request(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Return the request of the next attempt."""
        self._began = time.monotonic()
        left = self.remaining
        return client.build_request(
            "POST",
            f"{self._service.location.rstrip('/')}/_module/invoke",
            content=self._body,
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Idempotency-Key": f'"{self._key}"',
            },
            timeout=httpx.Timeout(left, connect=min(left, CONNECT_TIMEOUT)),
        )

    def failed(self, error: Exception) -> None:
        """Choose another provider after a lost answer, or raise `ProviderLost`."""
        sent = not isinstance(error, (*NOT_SENT, httpx.InvalidURL))
        timed_out = isinstance(error, httpx.TimeoutException)
        reason = TOO_LATE if timed_out else str(error) or type(error).__name__
        lost = ProviderLost(**self._record_attempt(reason), sent=sent)
        self.providers.skip(self._service)
        self._next_provider(lost, again=sent)

    def answered(self, status: int, body: bytes) -> bool:
        """Set ``result`` and return True, or choose another provider.

        Raises `ProviderRefused` if the answer is an error that can't be retried.
        """
        try:
            reply = json.loads(body)
        except ValueError:
            reply = None
        if 200 <= status < 300 and isinstance(reply, dict) and "result" in reply:
            self._track(True)
            self.result = reply["result"]
            return True
        attempt = self._record_attempt(_reason(status, reply))
        refused = ProviderRefused(**attempt, status=status, body=reply)
        if status not in GATEWAY:
            self._track(False)
            raise refused
        self.providers.skip(self._service)
        self._next_provider(refused, again=False)
        return False

    def _next_provider(self, error: CallFailed, again: bool) -> None:
        self._track(False)
        safe = not error.sent or (
            repeatable(self._service, self.capability)
            if self._idempotent is None
            else self._idempotent
        )
        if not safe or len(self._tried) >= ATTEMPTS or time.monotonic() > self.deadline:
            raise error
        tried = [service_id for service_id, _ in self._tried]
        other = self.providers.alternative(self.capability, tried, **self._pick_options)
        if other is not None:
            self._service = other
        elif not again or tried.count(self._service.id) > 1:
            raise error

    def _track(self, success: bool) -> None:
        latency_ms = (time.monotonic() - self._began) * 1000
        self.providers.track(self._service, self.capability, success, latency_ms)

    def _record_attempt(self, reason: str) -> dict[str, Any]:
        service = self._service
        self._tried.append((service.id, reason))
        return {
            "detail": f"{self.capability!r} at {service.id}: {reason}",
            "capability": self.capability,
            "service": service,
            "attempts": self._tried,
        }


def _reason(status: int, reply: Any) -> str:
    if 200 <= status < 300:
        return f"HTTP {status}, but no result"
    if isinstance(reply, dict):
        detail = reply.get("error") or reply.get("detail")
        if detail:
            return f"HTTP {status}, {detail}"
    return f"HTTP {status}"
