"""Replies of the hot path, as bytes."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from werkzeug.wrappers import Response

from modularity_registry.api import replies, request_context, security_headers
from modularity_registry.config import Settings
from modularity_registry.replicas.staleness import ViewHealth
from modularity_registry.serving.head import Environ


class ReplyWriter:
    """Renders replies with the headers that every reply of the API has."""

    def __init__(self, settings: Settings, view_health: ViewHealth) -> None:
        self.fixed = security_headers.of_replies(settings)
        self._view_health = view_health
        self._heads: dict[int, bytes] = {}
        self._ok = self._head(200)

    def read(self, body: bytes, tag: int, revision: int, request_id: str) -> bytes:
        """Return a read's reply: ``tag`` is for the body, ``revision`` the view's."""
        stale = b""
        if self._view_health.is_stale():
            stale = _lines(replies.stale(self._view_health))
        return (
            b'%b%d\r\netag: W/"%d"\r\nx-registry-revision: %d\r\nx-request-id: %b\r\n'
            b"%b\r\n%b"
        ) % (
            self._ok,
            len(body),
            tag,
            revision,
            request_id.encode(),
            stale,
            body,
        )

    def write(self, status: int, body: bytes, request_id: str) -> bytes:
        """Return a write's reply."""
        head = self._heads.get(status) or self._head(status)
        return b"%b%d\r\nx-request-id: %b\r\n\r\n%b" % (
            head,
            len(body),
            request_id.encode(),
            body,
        )

    def problem(self, problem: Response, environ: Environ) -> bytes:
        """Return an error's reply."""
        problem.headers.extend(self.fixed)
        problem.headers[request_context.REQUEST_ID] = request_context.request_id(
            environ
        )
        status = HTTPStatus(problem.status_code)
        line = b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
        headers = _lines(problem.headers.items())
        return line + headers + b"\r\n" + problem.get_data()

    def _head(self, status: int) -> bytes:
        phrase = HTTPStatus(status).phrase.encode()
        head = b"HTTP/1.1 %d %b\r\n" % (status, phrase)
        head += _lines([("content-type", replies.JSON), *self.fixed])
        head += b"content-length: "
        self._heads[status] = head
        return head


def request_ids(environ: Environ) -> Callable[[], str]:
    """Return what gives the id of each call with this head."""
    given = environ.get(request_context.GIVEN)
    if given is not None and request_context.is_valid(given):
        return lambda: given
    return request_context.new_id


def _lines(headers: Any) -> bytes:
    return b"".join(
        b"%b: %b\r\n" % (name.lower().encode(), value.encode("latin-1"))
        for name, value in headers
    )
