"""One log line for each request, at log level debug."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from modularity_registry.api import request_context
from modularity_registry.telemetry import logs

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


class RequestLog:
    """Logs method, path, caller, status and the time to the headers.

    The line of a stream has no number of bytes, since the stream has only begun.
    """

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        started = time.perf_counter()
        # Set now, so that the reply and this line have the same.
        request_context.request_id(environ)

        def note(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            seconds = time.perf_counter() - started
            log_request(environ, int(status[:3]), _length(headers), seconds)
            return start_response(status, headers, exc_info)

        return self._application(environ, note)


def log_request(
    environ: "WSGIEnvironment", status: int, size: int | None, seconds: float
) -> None:
    """Log one request; ``size`` is the body's bytes, ``seconds`` the time to it."""
    context = request_context.of(environ)
    log.debug(
        "request",
        extra=logs.fields(
            request_id=context.request_id,
            trace_id=context.trace_id,
            peer=context.peer,
            caller=context.caller,
            method=environ["REQUEST_METHOD"],
            path=request_context.path(environ),
            status=status,
            duration_ms=round(seconds * 1000, 3),
            bytes=size,
        ),
    )


def _length(headers: list[tuple[str, str]]) -> int | None:
    for name, value in headers:
        if name.lower() == "content-length":
            return int(value)
    return None
