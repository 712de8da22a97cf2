"""Whose request it is: its id, its trace, its sender.

Trace ids come as the W3C's Trace Context has them
(https://www.w3.org/TR/trace-context/#traceparent-header).
"""

import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from modularity_registry.api.authorization import CALLER, Guard
from modularity_registry.model.rights import Caller
from modularity_registry.serving.forwarded import CONNECTED
from modularity_registry.telemetry import logs
from modularity_registry.telemetry.logs import Origin

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID = "X-Request-ID"
GIVEN = "HTTP_X_REQUEST_ID"
TRACEPARENT = "HTTP_TRACEPARENT"

_sane = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch
_traceparent = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})"
).match


class _Numbers:
    """Makes ids: a part that no other process has, and a number."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._next = count(1).__next__

    def make(self) -> str:
        return f"{self._prefix}-{self._next():x}"


_numbers = _Numbers()
os.register_at_fork(after_in_child=_numbers.renew)


def request_id(environ: "WSGIEnvironment") -> str:
    """Return the request's id: the one it came with, if that is sane, else a new one.

    Sane are 1 to 128 letters, digits, dots, underscores and hyphens. A new one takes
    the other's place in ``environ``: the same for the reply and for every line.
    """
    given = environ.get(GIVEN)
    if given is None or not _sane(given):
        given = environ[GIVEN] = _numbers.make()
    return str(given)


def trace(environ: Mapping[str, Any]) -> tuple[str | None, bool]:
    """Return the id of the trace that the request belongs to, and whether it is kept.

    None and False where its ``traceparent`` says nothing, or not what it should.
    """
    given = environ.get(TRACEPARENT)
    found = _traceparent(given) if given else None
    if given is None or found is None:
        return None, False
    # Version 00 ends here; later ones may go on after a hyphen.
    rest = given[found.end() :]
    if rest and (given.startswith("00") or not rest.startswith("-")):
        return None, False
    return found[1], bool(int(found[2], 16) & 1)


def of(environ: "WSGIEnvironment") -> Origin:
    """Return whose request this is; with the token's name if a guard has seen it."""
    caller: Caller | None = environ.get(CALLER)
    address = environ.get("REMOTE_ADDR", "")
    sender = environ.get(CONNECTED, address)
    return Origin(
        request_id(environ),
        address,
        trace(environ)[0],
        None if caller is None else caller.name,
        None if sender == address else sender,
    )


class Scope:
    """WSGI around WSGI: a request's lines say which it is, and so does its reply."""

    def __init__(self, application: "WSGIApplication", guard: Guard) -> None:
        self._application = application
        self._guard = guard

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        self._guard.caller(environ)
        found = of(environ)

        def start(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            headers.append((REQUEST_ID, found.request_id))
            return start_response(status, headers, exc_info)

        token = logs.origin.set(found)
        try:
            return self._application(environ, start)
        finally:
            logs.origin.reset(token)
