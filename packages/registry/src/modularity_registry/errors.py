"""What can go wrong, as types. ``api.problems`` maps each of them to HTTP."""

from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple, Self


class FieldError(NamedTuple):
    """One thing wrong with one field of a request."""

    field: str
    message: str


class RegistryError(Exception):
    """Base of every error the registry raises on purpose.

    ``code`` is stable and meant for programs, ``detail`` is one sentence for people.
    """

    code: ClassVar[str] = "error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


MOST_ERRORS: Final = 20
"""Bad fields that one reply names; it counts the others."""

LONGEST_NAME: Final = 128
LONGEST_MESSAGE: Final = 1_024


def shortened(text: str, length: int = LONGEST_MESSAGE) -> str:
    """Return a text of at most ``length`` characters, for one that callers send."""
    return text if len(text) <= length else text[: length - 3] + "..."


class InvalidRequest(RegistryError):
    """The request can't be accepted as it is; ``errors`` names every bad field."""

    code = "invalid_request"

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(shortened(detail))
        self.errors = tuple(errors)

    @classmethod
    def of(cls, errors: Sequence[FieldError], more: int = 0) -> Self:
        """Return the error for these fields, and ``more`` that are only counted.

        Only the first `MOST_ERRORS` are named.
        """
        named = [
            FieldError(shortened(error.field, LONGEST_NAME), shortened(error.message))
            for error in errors[:MOST_ERRORS]
        ]
        sentences = [f"{error.field} {error.message}" for error in named]
        error = cls("", named)
        error.detail = "; ".join(dict.fromkeys(sentences))
        more += len(errors) - len(named)
        if more:
            error.detail += f"; and {more} more"
        error.args = (error.detail,)
        return error


class AddressRefused(RegistryError):
    """The address policy forbids the registry to connect there."""

    code = "address_refused"


class Unauthorized(RegistryError):
    """No token, or one that is not valid; ``shown`` says which."""

    code = "unauthorized"

    def __init__(self, detail: str, shown: bool = False) -> None:
        super().__init__(detail)
        self.shown = shown


class Forbidden(RegistryError):
    """The token is valid, but does not have the right to do this."""

    code = "forbidden"


class OriginRefused(RegistryError):
    """A web page of another site tried to change something."""

    code = "origin_refused"


class OwnedByAnother(RegistryError):
    """The service belongs to another owner."""

    code = "owned_by_another"


class UnknownNamespace(RegistryError):
    """The path names a namespace that this registry does not have."""

    code = "unknown_namespace"


class TokenNotFound(RegistryError):
    """No token has this name."""

    code = "token_not_found"


class TokenConflict(RegistryError):
    """The token can't be written: its name is taken, or it is the last of its kind."""

    code = "token_conflict"


class ServiceNotFound(RegistryError):
    """No service has this id."""

    code = "service_not_found"


class NotRegistered(RegistryError):
    """A heartbeat for an id that is not registered: its owner should register again."""

    code = "not_registered"


class CapabilityNotFound(RegistryError):
    """No service offers this capability, as far as this process knows none ever did."""

    code = "capability_not_found"


class SplitNotFound(RegistryError):
    """The calls of this capability are not split."""

    code = "split_not_found"


class QuotaExceeded(RegistryError):
    """A token holds as many services, or bytes, as one may."""

    code = "quota_exceeded"


class RegistryFull(RegistryError):
    """The registry holds as many services, or bytes, as it may."""

    code = "registry_full"


class NoHealthyProvider(RegistryError):
    """The capability is known, but no healthy service provides it now."""

    code = "no_healthy_provider"


class NotReady(RegistryError):
    """The registry should get no traffic at the moment."""

    code = "not_ready"


class TooManyWatchers(RegistryError):
    """All places for those who wait for changes are taken."""

    code = "too_many_watchers"


class TooManyRequests(RegistryError):
    """The client makes more calls than its rate allows.

    ``retry_after`` (whole seconds) is when there is room for another one.
    """

    code = "too_many_requests"

    def __init__(self, detail: str, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class TooManyWatchersOfClient(RegistryError):
    """One client has all the places for watchers that one client may have."""

    code = "too_many_watchers_of_client"


class RevisionMismatch(RegistryError):
    """``If-Match`` named a revision that is not the current one."""

    code = "revision_mismatch"


class BodyTooLarge(RegistryError):
    """The request's body is over the limit."""

    code = "body_too_large"


class BodyIncomplete(RegistryError):
    """The connection ended, or the time was up, before the body was complete."""

    code = "body_incomplete"


class HeadTooLarge(RegistryError):
    """The request's head, its address and headers, is over the limit."""

    code = "head_too_large"


class TooManyConnections(RegistryError):
    """So many connections are open that one more can't be served."""

    code = "too_many_connections"


class TooManyUploads(RegistryError):
    """So many requests are arriving in pieces that one more must come later."""

    code = "too_many_uploads"


class UnsupportedMediaType(RegistryError):
    """The body is not declared as JSON."""

    code = "unsupported_media_type"


class BadSetting(RegistryError):
    """A setting has a value that the registry can't start with."""

    code = "bad_setting"


class StoreError(RegistryError):
    """Base of what a store raises; drivers' own errors never leave it."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """The store can't be reached or can't take the write now; nothing has changed."""

    code = "store_unavailable"


class OutcomeUnknown(StoreError):
    """The store did not confirm a write, which may or may not have been made."""

    code = "outcome_unknown"

    @classmethod
    def because(cls, reason: str) -> Self:
        """Return the error with what happened, and what to do."""
        return cls(
            f"{reason}; the write may or may not have been made: read before you retry"
        )


class StoreConflict(StoreError):
    """A compare-and-set found another revision: ``actual``, 0 for no record."""

    code = "store_conflict"

    def __init__(self, key: str, actual: int) -> None:
        super().__init__(f"{key} is at revision {actual}")
        self.key = key
        self.actual = actual


class StoreCorrupt(StoreError):
    """The store returned something that was never written to it."""

    code = "store_corrupt"
