"""The rules of calling a provider, and another one where that is safe. No I/O."""

import json
import time
import uuid
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import httpx

from modularity_client.balancing import Strategy
from modularity_client.http.transport import NOT_SENT, TOO_LATE
from modularity_client.resolver.errors import CallFailed, ProviderLost, ProviderRefused
from modularity_client.types.services import Service

ATTEMPTS = 3
"""So many providers are tried for one call."""

CONNECT_TIMEOUT = 2.0
"""Seconds for a provider to take a connection, if there is as much time left."""

GATEWAY = frozenset((502, 503, 504))
"""Answers of those who stand before a provider, or of one who is about to leave."""

NOT_REPEATABLE = "not_repeatable"
"""In a service's metadata: a list of its capabilities that must not be called twice
for one call, ``true`` for all. What is not listed may be.
"""


class Providers(Protocol):
    """Who is to be called, and who wants to hear what came of it: the resolver."""

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
    """Say whether a call whose answer was lost may be made again."""
    said = service.metadata.get(NOT_REPEATABLE, ())
    if isinstance(said, list | tuple):
        return capability not in said
    return not said


class Invocation:
    """One call, over all its attempts, of which there are three at most.

    What surely was not sent (no connection) is sent to another provider. What was
    sent, but lost its answer, or was answered by 502, 503 or 504, may have been
    carried out: it is made again if ``idempotent``, which by the module contract all
    capabilities are unless their provider declares `NOT_REPEATABLE`. All attempts
    carry one ``Idempotency-Key``, by which a provider can tell that they are the same.
    Every other answer is the answer.

    Where there is no other provider, one whose answer was lost is asked once more: it
    may have been restarted.
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
        self.timeout = timeout
        self.how: dict[str, Any] = {"key": key, "strategy": strategy}
        self.deadline = time.monotonic() + timeout
        self.result: Any = None
        self._providers = providers
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
        """Seconds that are left, never 0."""
        return max(0.001, self.deadline - time.monotonic())

    def begin(self, service: Service) -> None:
        """Take the provider that was resolved, if it can be called."""
        if service.mode != "http":
            other = self._providers.alternative(self.capability, (), **self.how)
            if other is None:
                why = f"{service.id} can't be called: its mode is {service.mode!r}"
                raise ProviderLost(why, self.capability, service, sent=False)
            service = other
        self._service = service

    def request(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """Return what is to be sent now."""
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

    def failed(self, error: httpx.HTTPError | httpx.InvalidURL) -> None:
        """Go on to another provider after no answer; raises `ProviderLost` if not."""
        sent = not isinstance(error, (*NOT_SENT, httpx.InvalidURL))
        timed_out = isinstance(error, httpx.TimeoutException)
        reason = TOO_LATE if timed_out else str(error) or type(error).__name__
        lost = ProviderLost(**self._account(reason), sent=sent)
        self._providers.skip(self._service)
        self._go_on(lost, again=sent)

    def answered(self, status: int, body: bytes) -> bool:
        """Return whether this is the ``result``; if not, go on to another provider.

        Raises `ProviderRefused` when the answer is an error.
        """
        try:
            said = json.loads(body)
        except ValueError:
            said = None
        if 200 <= status < 300 and isinstance(said, dict) and "result" in said:
            self._track(True)
            self.result = said["result"]
            return True
        account = self._account(_reason(status, said))
        refused = ProviderRefused(**account, status=status, body=said)
        if status not in GATEWAY:
            self._track(False)
            raise refused
        self._providers.skip(self._service)
        self._go_on(refused, again=False)
        return False

    def _go_on(self, error: CallFailed, again: bool) -> None:
        self._track(False)
        safe = not error.sent or (
            repeatable(self._service, self.capability)
            if self._idempotent is None
            else self._idempotent
        )
        if not safe or len(self._tried) >= ATTEMPTS or time.monotonic() > self.deadline:
            raise error
        tried = [service_id for service_id, _ in self._tried]
        other = self._providers.alternative(self.capability, tried, **self.how)
        if other is not None:
            self._service = other
        elif not again or tried.count(self._service.id) > 1:
            raise error

    def _track(self, success: bool) -> None:
        took = (time.monotonic() - self._began) * 1000
        self._providers.track(self._service, self.capability, success, took)

    def _account(self, reason: str) -> dict[str, Any]:
        service = self._service
        self._tried.append((service.id, reason))
        return {
            "detail": f"{self.capability!r} at {service.id}: {reason}",
            "capability": self.capability,
            "service": service,
            "attempts": self._tried,
        }


def _reason(status: int, said: Any) -> str:
    if 200 <= status < 300:
        return f"HTTP {status}, but no result"
    if isinstance(said, dict):
        why = said.get("error") or said.get("detail")
        if why:
            return f"HTTP {status}, {why}"
    return f"HTTP {status}"
