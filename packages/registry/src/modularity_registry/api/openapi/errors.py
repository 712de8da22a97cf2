"""Error replies: every code, when it is sent, and the reply that carries it."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

from modularity_registry import errors
from modularity_registry.api import problems
from modularity_registry.api.openapi.builders import (
    Json,
    field,
    header,
    listed,
    record,
    ref,
    text,
)
from modularity_registry.network.name_lookup import NameNotResolved


class Refusal(NamedTuple):
    """An error code: its status, when it is sent, and an example of its detail."""

    status: HTTPStatus
    when: str
    example: str


_RAISED: dict[type[errors.RegistryError], tuple[str, str]] = {
    errors.InvalidRequest: (
        "the body is not JSON, or a field or parameter is invalid, missing or unknown",
        "name must not be empty; port is not a known field",
    ),
    errors.AddressRefused: (
        "the registry may not connect to the location",
        "169.254.169.254 is link-local (cloud metadata lives there)",
    ),
    NameNotResolved: (
        "the location's name has no address",
        "the host name 'nowhere.invalid' has no address",
    ),
    errors.BodyIncomplete: (
        "the body ended early, or did not arrive in time",
        "the connection ended after 100 of 250 bytes of the body",
    ),
    errors.OriginRefused: (
        "the call came from a web page of another site",
        "web pages of the origin 'http://127.0.0.1:8000' may not change this"
        " registry; allow them with REGISTRY_ALLOWED_ORIGINS",
    ),
    errors.Unauthorized: (
        "the token is missing or invalid",
        "this needs a token with the right 'read'; send it as Authorization: Bearer"
        " <token>",
    ),
    errors.Forbidden: (
        "the token does not have the right for this call",
        "the token 'weather-team' does not have the right 'admin'; an admin can make"
        " one that does",
    ),
    errors.OwnedByAnother: (
        "another token or `owner_key` owns the service",
        "the id 'hello-service' belongs to another owner; to change it, use the token"
        " that it was registered with, or an admin's token",
    ),
    errors.UnknownNamespace: (
        "the path is one of a namespace, and the registry has none of this name",
        "there is no namespace 'team-b' here; name it with --namespace on every"
        " replica, or see GET /api/namespaces for those that there are",
    ),
    errors.TokenNotFound: (
        "no token has this name, or the registry does not use tokens",
        "there is no token 'weather-team'",
    ),
    errors.TokenConflict: (
        "the name is taken, or this is the last admin's token",
        "the token 'weather-team' exists already; rotate or revoke it",
    ),
    errors.ServiceNotFound: (
        "no service has this id",
        "no service 'hello-service' is registered",
    ),
    errors.NotRegistered: (
        "the service is not registered and must register again",
        "no service 'hello-service' is registered here; register it again",
    ),
    errors.CapabilityNotFound: (
        "no service provides the capability, or has since the registry started",
        "no service offers the capability 'greet'",
    ),
    errors.SplitNotFound: (
        "the calls of the capability are not split",
        "the calls of 'greet' are not split",
    ),
    errors.QuotaExceeded: (
        "the token has as many services, or bytes of registrations, as one may",
        "the token 'ci' has 100 services, which is all that one may have; unregister"
        " some, or have --max-services-per-token raised",
    ),
    errors.RegistryFull: (
        "the registry has as many services, or bytes of registrations, as it may",
        "the registry holds 1,000,000 services, which is all that it may; unregister"
        " some, or have --max-services raised",
    ),
    errors.RevisionMismatch: (
        "`If-Match` or `If-None-Match` does not hold",
        "the service is at revision 8; read it again and retry",
    ),
    errors.HeadTooLarge: (
        "the address and headers are larger than 64 KiB, or there are over 100 headers",
        "the request's head has more than 65,536 bytes or 100 headers",
    ),
    errors.BodyTooLarge: (
        "the body is larger than 1 MiB",
        "the body is larger than 1,048,576 bytes",
    ),
    errors.UnsupportedMediaType: (
        "the body is not declared as JSON in UTF-8",
        "send Content-Type: application/json, not 'text/plain'",
    ),
    errors.NoHealthyProvider: (
        "the capability is known, but has no healthy provider",
        "the capability 'greet' has no healthy provider;"
        " GET /api/capabilities/greet/explain says why",
    ),
    errors.NotReady: (
        "the registry can't take traffic now",
        "the store does not answer",
    ),
    errors.TooManyConnections: (
        "too many connections are open, or too many from the caller's address",
        "too many connections are open; close some, or try again later",
    ),
    errors.TooManyUploads: (
        "the registry is receiving too many bodies",
        "too many bodies are being received; try again in a moment",
    ),
    errors.TooManyWatchers: (
        "too many streams and waiting requests are open",
        "all 2000 places for watchers are taken; try again later",
    ),
    errors.TooManyRequests: (
        "the client exceeded its rate limit, or sent too many invalid tokens",
        "the token builds is over the limit of 600/minute for writes; retry in 12 s",
    ),
    errors.TooManyWatchersOfClient: (
        "the client has too many streams and waiting requests open",
        "the address 10.0.0.7 has taken all 20 places for watchers that one client may"
        " have; end one of them, or try again later",
    ),
    errors.StoreUnavailable: (
        "the store is unreachable or can't take the write now",
        "the store does not answer",
    ),
    errors.OutcomeUnknown: (
        "the store did not confirm the write, which may or may not have been made;"
        " read before you retry",
        "etcd at etcd-1:2379 did not answer within 5 s; the write may or may not have"
        " been made: read before you retry",
    ),
    errors.StoreCorrupt: (
        "the store contains a record that the registry did not write",
        "the record services/hello-service can't be read",
    ),
}


def _status_of(kind: type[errors.RegistryError]) -> HTTPStatus:
    return next(
        problems.STATUS[base] for base in kind.__mro__ if base in problems.STATUS
    )


REFUSALS: dict[str, Refusal] = {
    kind.code: Refusal(_status_of(kind), *texts) for kind, texts in _RAISED.items()
} | {
    "not_found": Refusal(
        HTTPStatus.NOT_FOUND, "no call has this path", "there is no such call"
    ),
    "internal_error": Refusal(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "an error in the registry itself",
        "an internal error occurred; see the registry's log",
    ),
}
"""Every error of a documented call, by its code."""

_BAD_FIELD = record(
    "An invalid field or parameter.",
    {
        "field": text("The name of the field or parameter.", "name"),
        "message": text("What is wrong with it.", "must not be empty"),
    },
)

SCHEMAS: dict[str, Json] = {
    "BadField": _BAD_FIELD,
    "Problem": record(
        "An error, as in RFC 9457. Nothing has changed.",
        {
            "type": text("A URN for the code.", "urn:modularity-registry:not_found"),
            "title": text("The HTTP status in words.", "Not Found"),
            "status": field(
                "integer", "The HTTP status.", 404, minimum=400, maximum=599
            ),
            "detail": text("What is wrong, for people.", "there is no such call"),
            "code": text(
                "What is wrong, for programs. Codes never change.", "not_found"
            ),
            "error": text(
                "The same as `detail`, for older clients.", "there is no such"
            ),
        },
    ),
    "BadRequest": record(
        "An error that names every invalid field. Nothing has changed.",
        {
            "type": text(
                "A URN for the code.", "urn:modularity-registry:invalid_request"
            ),
            "title": text("The HTTP status in words.", "Bad Request"),
            "status": field("integer", "The HTTP status.", 400, const=400),
            "detail": text("What is wrong, for people.", "name must not be empty"),
            "code": text(
                "What is wrong, for programs. Codes never change.", "invalid_request"
            ),
            "error": text(
                "The same as `detail`, for older clients.", "name must not be empty"
            ),
            "errors": listed(
                ref("BadField"),
                "Every invalid field.",
                [{"field": "name", "message": "must not be empty"}],
            ),
        },
    ),
}
"""The schemas of error replies, by name."""


def replies(codes: Iterable[str]) -> dict[str, Json]:
    """Return the error replies with these codes, by status."""
    by_status: dict[HTTPStatus, list[str]] = {}
    for code in codes:
        by_status.setdefault(REFUSALS[code].status, []).append(code)
    return {
        str(status.value): _reply(status, by_status[status])
        for status in sorted(by_status)
    }


def _reply(status: HTTPStatus, codes: list[str]) -> Json:
    cases = "; ".join(f"`{code}`: {REFUSALS[code].when}" for code in codes)
    base = "BadRequest" if status == HTTPStatus.BAD_REQUEST else "Problem"
    schema: Json = {
        "allOf": [ref(base)],
        "properties": {
            "code": {"enum": codes},
            "status": {"const": status.value},
        },
    }
    examples = {code: {"value": _example(code)} for code in codes}
    reply: Json = {
        "description": f"{status.phrase}. {cases}.",
        "content": {problems.CONTENT_TYPE: {"schema": schema, "examples": examples}},
    }
    if status == HTTPStatus.UNAUTHORIZED:
        challenge = {"type": "string", "examples": ['Bearer realm="..."']}
        reply["headers"] = {
            "WWW-Authenticate": header("How to authenticate (RFC 6750).", challenge)
        }
    if status in problems.RETRIED:
        seconds = {"type": "integer", "minimum": 0, "examples": [1]}
        reply["headers"] = {
            "Retry-After": header("Seconds to wait before a retry.", seconds)
        }
    return reply


def _example(code: str) -> Json:
    refusal = REFUSALS[code]
    problem: Json = {
        "type": f"urn:modularity-registry:{code}",
        "title": refusal.status.phrase,
        "status": refusal.status.value,
        "detail": refusal.example,
        "code": code,
        "error": refusal.example,
    }
    if refusal.status == HTTPStatus.BAD_REQUEST:
        problem["errors"] = []
    return problem
