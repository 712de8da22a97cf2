"""An HTTP connection of the server.

However the bytes of a connection are cut, the same calls get the same replies, and a
caller who is refused is told with a status from 400 to 499. No exception leaves the
connection, nothing of it stays behind, and what it holds meanwhile is bounded.
"""

import asyncio
import logging
from functools import cache
from typing import Any, Final

import uvicorn
from uvicorn.server import ServerState

from fuzzing.targets.cuts import parts_of
from modularity_registry.api.problems import status_of
from modularity_registry.serving import protocol
from modularity_registry.serving.front import REFUSAL, Connection, Front
from modularity_registry.serving.head import (
    Answer,
    Environ,
    Head,
    KnownHeads,
    PathAnswer,
)
from modularity_registry.serving.limits import ServerOptions, ServerPlaces
from modularity_registry.serving.protocol import HttpConnection, Shared
from modularity_registry.serving.wsgi import BASE
from support.loops import FakeTransport

OPTIONS: Final = ServerOptions()
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
MOST_TURNS: Final = 10_000
TIGHT: Final = {"MAX_HEAD": 128, "MAX_BODY": 64, "MAX_HEADERS": 8, "_SLICE": 32}
"""Limits that short inputs reach, for half of them. What is nearly too large is refused
in some cuts and taken in others, so these are not compared."""

WIDE: Final = {name: getattr(protocol, name) for name in TIGHT}


def check(data: bytes) -> None:
    """Raise unless ``data`` is served as it has to be."""
    logger = logging.getLogger(protocol.__name__)
    logger.addHandler(_LOG)
    parts = parts_of(data)
    try:
        if data[:1] > b"\x7f":
            _set(TIGHT)
            _serve(parts)
        else:
            assert _serve(parts) == _serve([data[1:]]), parts
    finally:
        _set(WIDE)
        logger.removeHandler(_LOG)


def _set(limits: dict[str, int]) -> None:
    for name, value in limits.items():
        setattr(protocol, name, value)


Call = tuple[str, str, str, bytes, int]


class _Log(logging.Handler):
    """Raises what the server logs as an error: it expected something else."""

    def emit(self, record: logging.LogRecord) -> None:
        raise AssertionError(record.getMessage())


_LOG: Final = _Log(logging.ERROR)


class _Front(Front):
    """Answers some paths at once or a turn later, and notes what is answered."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.heads = 0

    def plan(self, head: Head) -> Answer | None:
        self.heads += 1

        def at_once(connection: Connection, body: bytes) -> bytes:
            return self.reply(connection.environ_of(head, body))

        def later(connection: Connection, body: bytes) -> bytes:
            send = connection.reply_later()
            reply = self.reply(connection.environ_of(head, body))
            asyncio.get_running_loop().call_soon(send, reply)
            return b""

        path = head.path or ""
        return {"h": at_once, "l": later}.get(path[1:2])

    def plan_paths(self, head: Head) -> PathAnswer | None:
        def at_once(connection: Connection, path: str) -> bytes | None:
            if path[:2] != "/h":
                return None
            return self.reply(connection.environ_of(head) | {"PATH_INFO": path})

        return None if head.environ["QUERY_STRING"] else at_once

    def reply(self, environ: Environ) -> bytes:
        """Note a call, and return the head and the body of its reply."""
        error = environ.get(REFUSAL)
        status = 200 if error is None else int(status_of(error))
        assert status == 200 or 400 <= status < 500, error
        self.calls.append(
            (
                environ["REQUEST_METHOD"],
                environ["PATH_INFO"],
                environ["QUERY_STRING"],
                environ["wsgi.input"].read(),
                status,
            )
        )
        return b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status


class _Server:
    """What all connections share, and a loop for them."""

    def __init__(self) -> None:
        self.front = _Front()
        self.places = ServerPlaces.of(OPTIONS)
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._fail)
        self.failure: dict[str, Any] | None = None
        self.config = uvicorn.Config(
            self._app,
            ws="none",
            log_config=None,
            proxy_headers=False,
            interface="asgi3",
        )
        self.config.load()

    def _fail(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failure = context

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        status = self.front.reply(scope["environ"])[9:12]
        headers = [(b"content-length", b"0")]
        start = {"status": int(status), "headers": headers}
        await send({"type": "http.response.start"} | start)
        await send({"type": "http.response.body", "body": b""})

    async def serve(self, parts: list[bytes]) -> tuple[list[Call], int, bool]:
        """Return the calls, the number of their replies, and whether all was read."""
        shared = Shared(self.front, None, OPTIONS, *self.places, KnownHeads(), BASE)
        transport = FakeTransport()
        connection = HttpConnection(
            shared, config=self.config, server_state=ServerState(), app_state={}
        )
        self.front.heads = 0
        calls: list[Call] = []
        self.front.calls = calls
        connection.connection_made(transport)
        for part in parts:
            if not transport.closed:
                connection.data_received(part)
                _bounded(connection, len(part))
            await self._settled(connection)
        if not transport.closed and connection.eof_received() is None:
            transport.close()
        await self._settled(connection)
        closed = transport.closed or transport.half_closed
        transport.closed = True
        connection.connection_lost(None)
        assert [places.taken for places in self.places] == [0, 0, 0, 0]
        assert connection._timer is None or connection._timer.cancelled()
        sent = transport.sent.replace(CONTINUE, b"")
        replies = [int(part[:3]) for part in sent.split(b"HTTP/1.1 ")[1:]]
        assert replies == [call[4] for call in calls]
        assert len(calls) >= self.front.heads, "a head was read and got no reply"
        assert not transport.reading_paused
        return calls, len(replies), closed

    async def _settled(self, connection: HttpConnection) -> None:
        """Return once all that was read is answered."""
        for _turn in range(MOST_TURNS):
            if connection._is_idle() and not connection.pipeline:
                break
            await asyncio.sleep(0)
        else:
            raise AssertionError("a call got no reply")
        assert self.failure is None, self.failure


def _bounded(connection: HttpConnection, length: int) -> None:
    """Raise if the connection holds more than the limits say."""
    assert len(connection._body) <= protocol.MAX_BODY + protocol._SLICE
    if connection._head is None and not connection._deaf:
        assert not connection._body
    assert len(connection._unread) <= length
    sizes = (len(name) + len(value) for name, value in connection.headers or ())
    assert sum(sizes) <= protocol.MAX_HEAD + 2 * protocol._SLICE
    # The shortest request has 18 bytes: GET / HTTP/1.1 and two line ends.
    assert len(connection.pipeline) <= protocol._SLICE // 18 + 1


@cache
def _server() -> _Server:
    return _Server()


def _serve(parts: list[bytes]) -> tuple[list[Call], int, bool]:
    server = _server()
    return server.loop.run_until_complete(server.serve(parts))
