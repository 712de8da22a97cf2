"""The context of a request: its id, its trace, its sender.

Trace ids follow the W3C's Trace Context
(https://www.w3.org/TR/trace-context/#traceparent-header).
"""

import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from modularity_registry.api.authorization import CALLER, Authenticator
from modularity_registry.model.rights import Caller
from modularity_registry.serving.forwarded import CONNECTED
from modularity_registry.telemetry import logs
from modularity_registry.telemetry.logs import RequestContext

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID = "X-Request-ID"
GIVEN = "HTTP_X_REQUEST_ID"
TRACEPARENT = "HTTP_TRACEPARENT"
PATH = "modularity.path"
"""Where a call in a namespace has the path that it came with."""

is_valid = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch
_traceparent = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})"
).match


class _RequestIds:
    """Makes ids: a prefix that no other process has, and a number."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._next = count(1).__next__

    def make(self) -> str:
        return f"{self._prefix}-{self._next():x}"


_request_ids = _RequestIds()
if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks either
    os.register_at_fork(after_in_child=_request_ids.renew)


def new_id() -> str:
    """Return a request id that no other call has."""
    return _request_ids.make()


def request_id(environ: "WSGIEnvironment") -> str:
    """Return the request's id: the one it came with, if that is valid, else a new one.

    Valid are 1 to 128 letters, digits, dots, underscores and hyphens. A new one is
    stored in ``environ``, so that the reply and every log line have the same.
    """
    given = environ.get(GIVEN)
    if given is None or not is_valid(given):
        given = environ[GIVEN] = _request_ids.make()
    return str(given)


def path(environ: Mapping[str, Any]) -> str:
    """Return the path that the request came with."""
    return str(environ.get(PATH, environ["PATH_INFO"]))


def trace(environ: Mapping[str, Any]) -> tuple[str | None, bool]:
    """Return the id of the trace that the request belongs to, and whether it is kept.

    None and False without a valid ``traceparent``.
    """
    given = environ.get(TRACEPARENT)
    match = _traceparent(given) if given else None
    if given is None or match is None:
        return None, False
    # Version 00 ends here; later ones may go on after a hyphen.
    rest = given[match.end() :]
    if rest and (given.startswith("00") or not rest.startswith("-")):
        return None, False
    return match[1], bool(int(match[2], 16) & 1)


def of(environ: "WSGIEnvironment") -> RequestContext:
    """Return the request's context; with the token's name once it is authenticated."""
    caller: Caller | None = environ.get(CALLER)
    address = environ.get("REMOTE_ADDR", "")
    sender = environ.get(CONNECTED, address)
    return RequestContext(
        request_id(environ),
        address,
        trace(environ)[0],
        None if caller is None else caller.label,
        None if sender == address else sender,
    )


class ContextMiddleware:
    """Adds the request's id to its log lines and to its reply."""

    def __init__(
        self, application: "WSGIApplication", authenticator: Authenticator
    ) -> None:
        self._application = application
        self._authenticator = authenticator

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        self._authenticator.caller(environ)
        context = of(environ)

        def start(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            headers.append((REQUEST_ID, context.request_id))
            return start_response(status, headers, exc_info)

        token = logs.current_request.set(context)
        try:
            return self._application(environ, start)
        finally:
            logs.current_request.reset(token)
