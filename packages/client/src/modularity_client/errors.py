"""What the registry refuses, as types, by the ``code`` of its reply (RFC 9457)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple


class FieldError(NamedTuple):
    """One thing wrong with one field of a request."""

    field: str
    message: str


class RegistryError(Exception):
    """Base of everything that a call raises when it can't be done.

    ``detail`` is one sentence for people and ``code`` is stable, for programs.
    ``status`` is that of HTTP, 0 where there was no reply. ``errors`` has every bad
    field. ``retry_after`` (seconds) is when the registry wants to be asked again.
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
        # By default it would be made again of its message, which some are not made of.
        return _copy, (type(self), self.args), self.__dict__


class InvalidRequest(RegistryError):
    """The request can't be accepted as it is; ``errors`` names every bad field."""

    codes = ("invalid_request", "body_incomplete")


class AddressRefused(InvalidRequest):
    """The registry may not, or can't, connect to that location."""

    codes = ("address_refused", "name_not_resolved")


class Unauthorized(RegistryError):
    """The registry wants a token, and there was none or not a good one."""

    codes = ("unauthorized",)


class Forbidden(RegistryError):
    """The token does not give this right."""

    codes = ("forbidden", "origin_refused")


class NotFound(RegistryError):
    """Base of what isn't there; itself when the registry knows no such call."""

    codes = ("not_found",)


class ServiceNotFound(NotFound):
    """No service has this id."""

    codes = ("service_not_found",)


class NotRegistered(ServiceNotFound):
    """A heartbeat for an id that is not registered: register again."""

    codes = ("not_registered",)


class CapabilityNotFound(NotFound):
    """Nobody ever offered this capability."""

    codes = ("capability_not_found",)


class TokenNotFound(NotFound):
    """No token has this name, or there are no tokens there at all."""

    codes = ("token_not_found",)


class Conflict(RegistryError):
    """Base of what is refused for what is there already."""

    codes = ("conflict",)


class OwnedByAnother(Conflict):
    """The service belongs to another token, or to who has its ``owner_key``."""

    codes = ("owned_by_another",)


class TokenConflict(Conflict):
    """The token's name is taken, or it is the last that an admin has."""

    codes = ("token_conflict",)


class RevisionMismatch(RegistryError):
    """The service is not at the revision that the call was for."""

    codes = ("revision_mismatch",)


class Unavailable(RegistryError):
    """Base of what may pass by itself; ``retry_after`` says when to ask again."""

    codes: ClassVar[tuple[str, ...]] = ("service_unavailable",)


class NoHealthyProvider(Unavailable):
    """The capability is known, but nobody healthy provides it now."""

    codes = ("no_healthy_provider",)


class TooManyWatchers(Unavailable):
    """All places for those who wait for changes are taken."""

    codes = ("too_many_watchers",)


class TooManyRequests(Unavailable):
    """This client makes more calls, or waits more often at once, than it may."""

    codes = ("too_many_requests", "too_many_watchers_of_client")


class StoreUnavailable(Unavailable):
    """The registry's store can't take the write now."""

    codes = ("store_unavailable", "store_corrupt")


class NotReady(Unavailable):
    """This registry should get no calls at the moment."""

    codes = ("not_ready",)


class BadReply(RegistryError):
    """What answered does not speak as the registry does; is the URL right?"""

    codes = ("bad_reply",)


class RegistryUnreachable(RegistryError):
    """No URL of the registry answered.

    ``attempts`` has, in order, each URL tried and what came of it. ``sent`` says that
    a request went out whose reply was lost, so that it may have been carried out.
    """

    codes = ("unreachable",)

    def __init__(
        self, attempts: Sequence[tuple[str, str]] = (), *, sent: bool = False
    ) -> None:
        last = dict(attempts)  # of each URL, what it said last
        said = "; ".join(f"{url}: {message}" for url, message in last.items())
        super().__init__(f"no registry answers: {said or 'there was no time to ask'}")
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


def _heirs(kind: type[RegistryError]) -> list[type[RegistryError]]:
    return [kind, *(heir for each in kind.__subclasses__() for heir in _heirs(each))]


_BY_CODE = {
    code: kind
    for kind in _heirs(RegistryError)
    if kind not in (BadReply, RegistryUnreachable)
    for code in kind.codes
}


def from_problem(
    status: int, problem: Mapping[str, Any], retry_after: float | None = None
) -> RegistryError:
    """Return the error that a reply is: by its code, else by its status."""
    code = str(problem.get("code") or "")
    detail = problem.get("detail") or problem.get("error") or problem.get("title")
    fields = problem.get("errors")
    errors = [
        FieldError(str(each.get("field", "")), str(each.get("message", "")))
        for each in (fields if isinstance(fields, list) else [])
        if isinstance(each, Mapping)
    ]
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, RegistryError)
    return kind(
        str(detail or f"the registry answers with HTTP {status}"),
        status=status,
        code=code,
        errors=errors,
        retry_after=retry_after,
    )
