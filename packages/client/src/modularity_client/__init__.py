"""Client of the Modularity Registry: register services, find and call providers."""

from modularity_client.client import AsyncRegistry, Registry
from modularity_client.errors import (
    AddressRefused,
    BadReply,
    CapabilityNotFound,
    Conflict,
    FieldError,
    Forbidden,
    InvalidRequest,
    NoHealthyProvider,
    NotFound,
    NotReady,
    NotRegistered,
    OutcomeUnknown,
    OwnedByAnother,
    RegistryError,
    RegistryUnreachable,
    RevisionMismatch,
    ServiceNotFound,
    StoreUnavailable,
    TokenConflict,
    TokenNotFound,
    TooManyRequests,
    TooManyWatchers,
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
from modularity_client.token_calls import IssuedToken, Token
from modularity_client.types.services import Service, ServiceList

__version__ = "0.1.0"

__all__ = [
    "AddressRefused",
    "AsyncEventStream",
    "AsyncRegistry",
    "BadReply",
    "CallFailed",
    "CapabilityNotFound",
    "Conflict",
    "Event",
    "EventStream",
    "FieldError",
    "Forbidden",
    "InvalidRequest",
    "IssuedToken",
    "Membership",
    "NoHealthyProvider",
    "NoProvider",
    "NotFound",
    "NotReady",
    "NotRegistered",
    "OutcomeUnknown",
    "OwnedByAnother",
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
    "Token",
    "TokenConflict",
    "TokenNotFound",
    "TooManyRequests",
    "TooManyWatchers",
    "Unauthorized",
    "Unavailable",
    "UnknownProviders",
]
