"""Maps errors to HTTP status codes and renders them as problems (RFC 9457)."""

import logging
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from modularity_registry import errors, schema
from modularity_registry.api import replies
from modularity_registry.audit import OFF, Audit
from modularity_registry.serving.front import REFUSAL

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
REALM = "modularity-registry"
RETRY_AFTER = 1
"""Seconds until a retry of a 503 may succeed: a check or a failover takes about one."""

RETRIED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""Replies that carry ``Retry-After``."""

STATUS: dict[type[errors.RegistryError], HTTPStatus] = {
    errors.InvalidRequest: HTTPStatus.BAD_REQUEST,
    errors.AddressRefused: HTTPStatus.BAD_REQUEST,
    errors.BodyIncomplete: HTTPStatus.BAD_REQUEST,
    errors.OriginRefused: HTTPStatus.FORBIDDEN,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.OwnedByAnother: HTTPStatus.CONFLICT,
    errors.QuotaExceeded: HTTPStatus.FORBIDDEN,
    errors.RegistryFull: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.UnknownNamespace: HTTPStatus.NOT_FOUND,
    errors.TokenNotFound: HTTPStatus.NOT_FOUND,
    errors.TokenConflict: HTTPStatus.CONFLICT,
    errors.ServiceNotFound: HTTPStatus.NOT_FOUND,
    errors.NotRegistered: HTTPStatus.NOT_FOUND,
    errors.CapabilityNotFound: HTTPStatus.NOT_FOUND,
    errors.SplitNotFound: HTTPStatus.NOT_FOUND,
    errors.RevisionMismatch: HTTPStatus.PRECONDITION_FAILED,
    errors.HeadTooLarge: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.NoHealthyProvider: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.TooManyWatchers: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.TooManyWatchersOfClient: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    errors.StoreError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.TooManyConnections: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.TooManyUploads: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.OutcomeUnknown: HTTPStatus.GATEWAY_TIMEOUT,
}


class Problem(Response):
    """An error reply; ``error`` is the registry's own error behind it, or None."""

    error: errors.RegistryError | None = None


def problem(
    status: int,
    code: str,
    detail: str,
    fields: tuple[errors.FieldError, ...] = (),
    extra: dict[str, Any] | None = None,
) -> Problem:
    """Return an error reply; ``error`` repeats ``detail`` for older clients."""
    body: dict[str, Any] = {
        "type": f"urn:modularity-registry:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "error": detail,
    }
    if status == HTTPStatus.BAD_REQUEST:
        body["errors"] = [field._asdict() for field in fields]
    body.update(extra or {})
    response = Problem(schema.encode(body), status, content_type=CONTENT_TYPE)
    if status in RETRIED:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def status_of(error: errors.RegistryError) -> HTTPStatus:
    """Return the HTTP status of an error, by the nearest class in the table."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def of(error: errors.RegistryError) -> Response:
    """Return the reply to one of the registry's own errors."""
    fields = error.errors if isinstance(error, errors.InvalidRequest) else ()
    if isinstance(error, errors.AddressRefused):
        fields = (errors.FieldError("location", error.detail),)
    reply = problem(status_of(error), error.code, error.detail, fields)
    reply.error = error
    if isinstance(error, errors.TooManyRequests):
        reply.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.UnsupportedMediaType):
        reply.headers["Accept-Encoding"] = "identity"  # RFC 9110, section 15.5.16
    challenge = _challenge(error)
    if challenge is not None:
        reply.headers["WWW-Authenticate"] = f'Bearer realm="{REALM}"{challenge}'
    return reply


def http(error: HTTPException) -> Response:
    """Return the reply to one of the web framework's errors, such as a 404."""
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    phrase = HTTPStatus(status).phrase
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    response = problem(status, code, error.description or phrase)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def unexpected(error: BaseException | None, debug: bool = False) -> Response:
    """Log an error that nobody expected; return the reply, which tells little of it."""
    log.error("unexpected error", exc_info=error)
    extra = {}
    if debug and error is not None:
        extra["traceback"] = traceback.format_exception(error)
    detail = "an internal error occurred; see the registry's log"
    return problem(500, "internal_error", detail, extra=extra)


def _challenge(error: errors.RegistryError) -> str | None:
    """Return the parameters of the challenge in RFC 6750, section 3."""
    if isinstance(error, errors.Unauthorized):
        return ', error="invalid_token"' if error.shown else ""
    if isinstance(error, errors.Forbidden):
        return ', error="insufficient_scope"'
    return None


REFUSALS = (
    errors.Unauthorized,
    errors.Forbidden,
    errors.OriginRefused,
    errors.OwnedByAnother,
)
"""Errors of calls that the caller may not make; the audit records them."""


def note(audit: Audit, error: errors.RegistryError, environ: Mapping[str, Any]) -> None:
    """Write ``error`` to the audit if it is one of `REFUSALS`."""
    if isinstance(error, REFUSALS):
        call = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        audit.refused(status_of(error).value, error.code, call, error.detail)


def install(app: Flask, debug: bool, audit: Audit = OFF) -> None:
    """Make every error of ``app`` a problem.

    With ``debug``, a 500 has its traceback, for callers on this machine. Refusals go to
    the ``audit``.
    """

    @app.before_request
    def refuse() -> ResponseReturnValue | None:
        # Neither raised nor left there: see `let_go`.
        error: errors.RegistryError | None = request.environ.pop(REFUSAL, None)
        if error is None:
            return None
        reply: ResponseReturnValue = app.handle_user_exception(error)
        return reply

    # Flask calls the last of these first.
    @app.after_request
    def let_go(response: Response) -> Response:
        # The frames that an error came through hold the reply and the request. If these
        # held the error, only a search for garbage would find them and the connection.
        if isinstance(response, Problem):
            response.error = None
        request.routing_exception = None
        return response

    @app.after_request
    def note_refusal(response: Response) -> Response:
        # Here, since rate_limits has its own handler for one of them.
        if isinstance(response, Problem) and response.error is not None:
            note(audit, response.error, request.environ)
        return response

    def internal(error: Exception) -> Response:
        return unexpected(error, debug and replies.caller_is_local(request.environ))

    app.register_error_handler(errors.RegistryError, of)
    app.register_error_handler(HTTPException, http)
    app.register_error_handler(Exception, internal)
