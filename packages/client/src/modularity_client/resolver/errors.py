"""What resolving and invoking raise, on top of what the registry refuses."""

from collections.abc import Sequence
from typing import Any

from modularity_client.errors import NoHealthyProvider, RegistryUnreachable
from modularity_client.types.services import Service


class NoProvider(NoHealthyProvider):
    """Nobody healthy provides the capability, as far as the registry knows.

    ``age`` is for how many seconds that has not been confirmed; 0 while it is.
    """

    def __init__(self, capability: str, age: float) -> None:
        since = f" (as of {age:.0f} s ago)" if age >= 1 else ""
        super().__init__(f"nobody healthy provides {capability!r}{since}")
        self.capability = capability
        self.age = age


class UnknownProviders(RegistryUnreachable):
    """Who provides the capability can't be known: no view of it, and no registry."""

    def __init__(self, capability: str, reason: str) -> None:
        super().__init__()
        self.detail = f"who provides {capability!r} is not known: {reason}"
        self.args = (self.detail,)
        self.capability = capability


class CallFailed(Exception):
    """A provider was called in vain.

    ``service`` is the last one tried, ``attempts`` has the id of each one tried, in
    order, and what came of it. ``sent`` says that the call may have been carried out.
    """

    def __init__(
        self,
        detail: str,
        capability: str,
        service: Service,
        attempts: Sequence[tuple[str, str]] = (),
        *,
        sent: bool,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.capability = capability
        self.service = service
        self.attempts = tuple(attempts)
        self.sent = sent


class ProviderLost(CallFailed):
    """There was no answer, or not all of one, within the time."""


class ProviderRefused(CallFailed):
    """The provider answered with an error: its ``status`` and ``body``, if JSON."""

    def __init__(
        self,
        detail: str,
        capability: str,
        service: Service,
        attempts: Sequence[tuple[str, str]] = (),
        *,
        status: int,
        body: Any,
    ) -> None:
        super().__init__(detail, capability, service, attempts, sent=True)
        self.status = status
        self.body = body
