"""Client of the Modularity Registry: register services, find and call providers."""

import warnings
from importlib import import_module
from typing import Any

from modularity_client.client import AsyncRegistry, Registry
from modularity_client.errors import (
    CapabilityNotFound,
    Conflict,
    Forbidden,
    InvalidRequest,
    NoHealthyProvider,
    NotFound,
    OutcomeUnknown,
    RegistryError,
    RegistryUnreachable,
    RevisionMismatch,
    ServiceNotFound,
    StoreUnavailable,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from modularity_client.events.stream import AsyncEventStream, Event, EventStream
from modularity_client.membership.membership import Membership
from modularity_client.resolver.errors import (
    CallFailed,
    NoProvider,
    ProviderLost,
    ProviderRefused,
    UnknownProviders,
)
from modularity_client.resolver.resolver import Resolver
from modularity_client.types.services import Service, ServiceList

__version__ = "0.2.0"

__all__ = [
    "AsyncEventStream",
    "AsyncRegistry",
    "CallFailed",
    "CapabilityNotFound",
    "Conflict",
    "Event",
    "EventStream",
    "Forbidden",
    "InvalidRequest",
    "Membership",
    "NoHealthyProvider",
    "NoProvider",
    "NotFound",
    "OutcomeUnknown",
    "ProviderLost",
    "ProviderRefused",
    "Registry",
    "RegistryError",
    "RegistryUnreachable",
    "Resolver",
    "RevisionMismatch",
    "Service",
    "ServiceList",
    "ServiceNotFound",
    "StoreUnavailable",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "UnknownProviders",
]

_IN_ERRORS = (
    "AddressRefused",
    "BadReply",
    "FieldError",
    "NotReady",
    "NotRegistered",
    "OwnedByAnother",
    "TokenConflict",
    "TokenNotFound",
    "TooManyWatchers",
)
_IN_TOKENS = ("IssuedToken", "Token")
_MOVED = dict.fromkeys(_IN_ERRORS, "errors") | dict.fromkeys(_IN_TOKENS, "tokens")


def __getattr__(name: str) -> Any:
    """Return what has moved to another module, until the next version."""
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = f"{__name__}.{_MOVED[name]}"
    warnings.warn(
        f"import {name} from {module}; from {__name__} it goes with the next version",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(import_module(module), name)
