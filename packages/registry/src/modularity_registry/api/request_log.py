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
    """WSGI around WSGI: logs what was asked, by whom, and the time to the headers.

    A stream has no number of bytes: when its line is written, it has only begun.
    """

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        started = time.perf_counter()
        # Whoever answers takes it from there.
        request_context.request_id(environ)

        def note(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            milliseconds = (time.perf_counter() - started) * 1000
            _log(environ, status, _length(headers), milliseconds)
            return start_response(status, headers, exc_info)

        return self._application(environ, note)


def _log(
    environ: "WSGIEnvironment", status: str, size: int | None, milliseconds: float
) -> None:
    asked = request_context.of(environ)
    log.debug(
        "request",
        extra=logs.fields(
            request_id=asked.request_id,
            trace_id=asked.trace_id,
            peer=asked.peer,
            caller=asked.caller,
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            status=int(status[:3]),
            duration_ms=round(milliseconds, 3),
            bytes=size,
        ),
    )


def _length(headers: list[tuple[str, str]]) -> int | None:
    for name, value in headers:
        if name.lower() == "content-length":
            return int(value)
    return None
