"""One line for each request, for whoever runs the registry with ``--debug``."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


class RequestLog:
    """WSGI around WSGI: logs method, path, status and the time to the headers."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        started = time.perf_counter()

        def note(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            milliseconds = (time.perf_counter() - started) * 1000
            method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            # As a literal, so that no path can forge a line of its own.
            log.debug("%s %r %s %.1f ms", method, path, status, milliseconds)
            return start_response(status, headers, exc_info)

        return self._application(environ, note)
