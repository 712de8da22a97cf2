"""The registry's errors, by the ``code`` of the reply (RFC 9457)."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, NamedTuple


class FieldError(NamedTuple):
    """One error in one field of a request."""

    field: str
    message: str


class RegistryError(Exception):
    """Base of all errors that a call raises.

    ``detail`` is a sentence for people, ``code`` is stable, for programs. ``status`` is
    the HTTP status, 0 without a reply. ``errors`` has every invalid field.
    ``retry_after`` is the seconds to wait before a retry, None if unknown.
    """

    codes: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        detail: str,
        *,
        status: int = 0,
        code: str = "",
        errors: Sequence[FieldError] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code or (self.codes[0] if self.codes else "")
        self.errors = tuple(errors)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        # By default, unpickling calls the class with the message, which not all accept.
        return _copy, (type(self), self.args), self.__dict__


class InvalidRequest(RegistryError):
    """The request is invalid; ``errors`` has every invalid field."""

    codes = ("invalid_request", "body_incomplete")


class AddressRefused(InvalidRequest):
    """The registry may not, or can't, connect to the location."""

    codes = ("address_refused", "name_not_resolved")


class Unauthorized(RegistryError):
    """The registry requires a token, and there was none or an invalid one."""

    codes = ("unauthorized",)


class Forbidden(RegistryError):
    """The token lacks the right for this call."""

    codes = ("forbidden", "origin_refused")


class NotFound(RegistryError):
    """Base of the not-found errors; itself if the registry has no such call."""

    codes = ("not_found",)


class ServiceNotFound(NotFound):
    """No service has this id."""

    codes = ("service_not_found",)


class NotRegistered(ServiceNotFound):
    """The heartbeat is for an id that is not registered: register again."""

    codes = ("not_registered",)


class CapabilityNotFound(NotFound):
    """No service offers this capability, as far as the registry knows none ever did."""

    codes = ("capability_not_found",)


class SplitNotFound(NotFound):
    """The calls of this capability are not split."""

    codes = ("split_not_found",)


class TokenNotFound(NotFound):
    """No token has this name, or the registry uses no tokens."""

    codes = ("token_not_found",)


class UnknownNamespace(RegistryError):
    """The registry has no namespace of this name."""

    codes = ("unknown_namespace",)


class Conflict(RegistryError):
    """Base of the conflicts with what the registry already has."""

    codes = ("conflict",)


class OwnedByAnother(Conflict):
    """The service belongs to another token, or to another ``owner_key``."""

    codes = ("owned_by_another",)


class TokenConflict(Conflict):
    """The token's name is taken, or it is the last admin token."""

    codes = ("token_conflict",)


class RevisionMismatch(RegistryError):
    """The service or split is not at the revision that the call names."""

    codes = ("revision_mismatch",)


class Unavailable(RegistryError):
    """Base of errors that may pass; ``retry_after`` says when to retry."""

    codes: ClassVar[tuple[str, ...]] = ("service_unavailable",)


class NoHealthyProvider(Unavailable):
    """The capability has no healthy provider at the moment."""

    codes = ("no_healthy_provider",)


class TooManyWatchers(Unavailable):
    """The registry has no free place for another watcher."""

    codes = ("too_many_watchers",)


class TooManyRequests(Unavailable):
    """This client makes too many calls, or has too many watchers."""

    codes = ("too_many_requests", "too_many_watchers_of_client")


class StoreUnavailable(Unavailable):
    """The registry's store can't take the write at the moment."""

    codes: ClassVar[tuple[str, ...]] = ("store_unavailable", "store_corrupt")


class OutcomeUnknown(StoreUnavailable):
    """The registry's store did not confirm the write, which may have been made."""

    codes = ("outcome_unknown",)


class NotReady(Unavailable):
    """This registry can't take calls at the moment."""

    codes = ("not_ready",)


class BadReply(RegistryError):
    """The reply is not from a registry; check the URL."""

    codes = ("bad_reply",)


class RegistryUnreachable(RegistryError):
    """No URL of the registry answered.

    ``attempts`` has each URL tried, in order, and the reason why it failed. If
    ``sent``, a reply was lost, so the call may have been carried out.
    """

    codes = ("unreachable",)

    def __init__(
        self, attempts: Sequence[tuple[str, str]] = (), *, sent: bool = False
    ) -> None:
        last = dict(attempts)  # the last reason of each URL
        reasons = "; ".join(f"{url}: {reason}" for url, reason in last.items())
        super().__init__(f"no registry answers: {reasons or 'there was no time left'}")
        self.attempts = tuple(attempts)
        self.sent = sent


def _copy(kind: type[RegistryError], arguments: tuple[Any, ...]) -> RegistryError:
    error = kind.__new__(kind)
    error.args = arguments
    return error


_BY_STATUS: dict[int, type[RegistryError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: RevisionMismatch,
    429: TooManyRequests,
    503: Unavailable,
}


def _with_subclasses(kind: type[RegistryError]) -> list[type[RegistryError]]:
    subclasses = map(_with_subclasses, kind.__subclasses__())
    return [kind, *chain.from_iterable(subclasses)]


_BY_CODE = {
    code: kind
    for kind in _with_subclasses(RegistryError)
    if kind not in (BadReply, RegistryUnreachable)
    for code in kind.codes
}


def from_problem(
    status: int, problem: Mapping[str, Any], retry_after: float | None = None
) -> RegistryError:
    """Return the error of a reply, chosen by its code, else by its status."""
    code = str(problem.get("code") or "")
    detail = problem.get("detail") or problem.get("error") or problem.get("title")
    fields = problem.get("errors")
    errors = [
        FieldError(str(field.get("field", "")), str(field.get("message", "")))
        for field in (fields if isinstance(fields, list) else [])
        if isinstance(field, Mapping)
    ]
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, RegistryError)
    return kind(
        str(detail or f"the registry answers with HTTP {status}"),
        status=status,
        code=code,
        errors=errors,
        retry_after=retry_after,
    )
