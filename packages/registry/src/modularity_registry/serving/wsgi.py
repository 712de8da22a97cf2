"""From Granian's call to a WSGI app and back."""

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from modularity_registry.serving.body import PEER, WATCH, discard_body
from modularity_registry.serving.slow_uploads import UploadWatch

_log = logging.getLogger(__name__)

Headers = list[tuple[str, str]]
WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

Failure = Callable[[dict[str, Any]], tuple[Headers, bytes]]
"""The headers and the body of the 500 for an environment whose app raised."""

_CLOSE = ("Connection", "close")


class Reply(Protocol):
    """What Granian hands over to answer one call with."""

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None: ...

    def response_iter(self, status: int, headers: Headers, body: object) -> None: ...


class _Head:
    """``start_response`` of one call, and what it was told."""

    __slots__ = ("headers", "status")

    status: int
    headers: Headers

    def __call__(self, status: str, headers: Headers, exc_info: object = None) -> None:
        self.status = int(status[:3])
        self.headers = headers


class _Stream:
    """A reply's chunks as Granian takes them: ``__next__`` and ``close``."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._iterator = iter(chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._iterator)
        except StopIteration:
            raise
        except Exception:
            # The head is on its way: the stream can only end here.
            _log.exception("a streamed reply failed")
            raise StopIteration from None

    def close(self) -> None:
        _close(self._chunks)


def bridge(
    app: WsgiApp,
    failure: Failure,
    uploads: UploadWatch,
    closing: threading.Event | None = None,
) -> Callable[[Reply, dict[str, Any]], None]:
    """Return what Granian calls for every request: ``app`` with its environment.

    A reply of known length is handed over whole, which frees the thread however slowly
    the caller reads; only a stream of unknown length keeps its thread. For an app
    that raises, the caller gets a 500 as ``failure`` makes it, and the log has why.
    Once ``closing`` is set, every reply says that it is the last on its connection.
    """
    base: dict[str, Any] = {
        "SCRIPT_NAME": "",
        "SERVER_SOFTWARE": "Granian",
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,
        "wsgi.multiprocess": False,
        "wsgi.multithread": True,
        "wsgi.run_once": False,
        "wsgi.version": (1, 0),
        WATCH: uploads,
    }

    def call(reply: Reply, scope: dict[str, Any]) -> None:
        environ = base | scope
        head = _Head()
        sends_body = "CONTENT_LENGTH" in scope or "HTTP_TRANSFER_ENCODING" in scope
        if sends_body:
            environ[PEER] = scope["REMOTE_ADDR"]
        try:
            chunks = app(environ, head)
            if sends_body:
                discard_body(environ)
            if closing is not None and closing.is_set():
                head.headers = [*head.headers, _CLOSE]
            if type(chunks) is list:
                body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            elif _length_known(head.headers):
                body = _joined(chunks)
            else:
                reply.response_iter(head.status, head.headers, _Stream(chunks))
                return
        except Exception:
            _log.exception("%s %s failed", scope["REQUEST_METHOD"], scope["PATH_INFO"])
            reply.response_bytes(500, *failure(environ))
            return
        reply.response_bytes(head.status, head.headers, body)

    return call


def _length_known(headers: Headers) -> bool:
    return any(name.lower() == "content-length" for name, _ in headers)


def _joined(chunks: Iterable[bytes]) -> bytes:
    try:
        return b"".join(chunks)
    finally:
        _close(chunks)


def _close(chunks: Iterable[bytes]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
