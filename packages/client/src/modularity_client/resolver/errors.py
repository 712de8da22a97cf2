"""What `Resolver` raises, besides the errors of the registry."""

from collections.abc import Sequence
from typing import Any

from modularity_client.errors import NoHealthyProvider, RegistryUnreachable
from modularity_client.types.services import Service


class NoProvider(NoHealthyProvider):
    """The capability has no healthy provider.

    ``age`` is the number of seconds since the view was current; 0 while it is.
    """

    def __init__(self, capability: str, age: float) -> None:
        since = f" (as of {age:.0f} s ago)" if age >= 1 else ""
        super().__init__(f"{capability!r} has no healthy provider{since}")
        self.capability = capability
        self.age = age


class UnknownProviders(RegistryUnreachable):
    """The providers are not loaded yet, and the registry can't be reached."""

    def __init__(self, capability: str, reason: str) -> None:
        super().__init__()
        self.detail = f"the providers of {capability!r} are not known: {reason}"
        self.args = (self.detail,)
        self.capability = capability


class CallFailed(Exception):
    """A call to a provider failed.

    ``service`` is the last provider tried. ``attempts`` has the id of each provider
    tried, in order, with the reason why it failed. If ``sent``, the call may have been
    carried out.
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
    """The provider gave no complete answer in time."""


class ProviderRefused(CallFailed):
    """The provider answered with an error; ``body`` is None if it isn't JSON."""

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
