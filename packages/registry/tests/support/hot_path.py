"""Asks the hot path as the server does, without a connection."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import quote

from werkzeug.wrappers import Request

from modularity_registry.api.hot_path import front_of
from modularity_registry.api.tracing import Tracing
from modularity_registry.runtime import Registry
from modularity_registry.serving.front import Front
from modularity_registry.serving.head import Environ, Head
from modularity_registry.serving.wsgi import BASE
from support.loops import Transport

Reply = tuple[int, dict[str, str], bytes]


class FakeConnection:
    """The connection of one call; ``reply`` is what was sent in its own time.

    The reader of a stream goes away after its beginning.
    """

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.transport = Transport(self._begin)
        self.reply: bytes | None = None
        self.replied = threading.Event()

    def environ_of(self, head: Head, body: bytes = b"") -> Environ:
        return (
            BASE
            | head.environ
            | {
                "REMOTE_ADDR": self.peer,
                "SERVER_PORT": "80",
                "wsgi.url_scheme": "http",
                "wsgi.input": BytesIO(body),
                "CONTENT_LENGTH": str(len(body)),
            }
        )

    def address_of(self, head: Head) -> str:
        return self.peer

    def reply_later(self) -> Callable[[bytes], None]:
        return self._finish

    def take(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost

    def end(self) -> None:
        """Nothing is open."""

    def _begin(self, reply: bytes) -> None:
        if self.reply is None:
            self._finish(reply)
            asyncio.get_running_loop().call_soon(self._on_lost)

    def _finish(self, reply: bytes) -> None:
        self.reply = reply
        self.replied.set()


def ask(
    registry: Registry,
    front: Front,
    method: str,
    path: str,
    query: str = "",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    peer: str = "127.0.0.1",
    by_path: bool = False,
) -> Reply | None:
    """Return status, headers (lower case) and body; None if it leaves it to Flask.

    With ``by_path``, as a call whose headers came before with another path.
    """
    target = quote(path, safe="/%") + (f"?{query}" if query else "")
    lines = [("Host", "localhost"), *(headers or {}).items()]
    if body or method in ("POST", "PUT"):
        lines.append(("Content-Length", str(len(body))))

    sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines]

    def head_of(target: str) -> Head:
        return Head(method.encode(), target.encode(), "1.1", sent, keep_alive=True)

    connection = FakeConnection(peer)

    async def answer() -> bytes | None:
        if by_path and not body and target == quote(path) and "%" not in target:
            answer_path = front.plan_paths(head_of("/"))
            return None if answer_path is None else answer_path(connection, path)
        plan = front.plan(head_of(target))
        return None if plan is None else plan(connection, body)

    reply = registry.call(answer())
    if reply == b"":
        assert connection.replied.wait(10.0)
        reply = connection.reply
    return None if reply is None else parsed(reply)


class HotPath:
    """The hot path as WSGI in front of Flask's, for a test client."""

    def __init__(
        self, registry: Registry, app: Any, tracing: Tracing | None = None
    ) -> None:
        self._registry = registry
        self._app = app
        self._front = front_of(registry, app, tracing)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        body = request.get_data()
        environ["wsgi.input"] = BytesIO(body)
        headers = {n: v for n, v in request.headers if n not in _MADE_HERE}
        reply = ask(
            self._registry,
            self._front,
            request.method,
            request.path,
            environ.get("QUERY_STRING", ""),
            headers,
            body,
            environ.get("REMOTE_ADDR", ""),
        )
        if reply is None:
            answer: Iterable[bytes] = self._app(environ, start_response)
            return answer
        status, shown, data = reply
        phrase = HTTPStatus(status).phrase
        start_response(f"{status} {phrase}", list(shown.items()))
        return [data]


_MADE_HERE = ("Host", "Content-Length")


def parsed(reply: bytes) -> Reply:
    """Return the parts of a reply as it goes over the line."""
    head, _, body = reply.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        assert name == name.lower() and name not in headers
        headers[name] = value
    if "transfer-encoding" not in headers:  # as a stream has
        assert headers["content-length"] == str(len(body))
    return int(status.split(" ")[1]), headers, body
