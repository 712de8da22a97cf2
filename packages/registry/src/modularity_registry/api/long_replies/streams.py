"""Streams of events: each is written to its connection, on the event loop."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request

from modularity_registry.api import cors, problems, rate_limits, request_context
from modularity_registry.api.authorization import Authenticator
from modularity_registry.api.query import EVENTS, Query
from modularity_registry.api.route_policy import ROUTES
from modularity_registry.errors import RegistryError
from modularity_registry.events import (
    Batch,
    Hub,
    Interest,
    Listener,
    Position,
    chunk,
    position_of,
)
from modularity_registry.model.rights import Caller
from modularity_registry.ratelimit import Rate
from modularity_registry.runtime import Registry
from modularity_registry.serving.front import Connection
from modularity_registry.serving.head import Environ
from modularity_registry.telemetry.counters import Timings

if TYPE_CHECKING:
    from modularity_registry.api.hot_path.reply import ReplyWriter

PATH = "/api/events"
RETRY = b"retry: 1000\n"

MOST_UNSENT = 256 * 1024
"""Bytes that a stream may have waiting for its reader; beyond, it ends."""

HEADERS = [
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),  # or nginx would hold it back
]

TOO_SLOW = "this reader was too slow; read the list again"
NOT_KNOWN = "events after that id are no longer kept; read the list again"


Note = Callable[[Environ, int, float], None]
"""Takes note of a reply: a call, its status, and the seconds to its head."""


class Streams:
    """Opens the streams of one registry."""

    def __init__(
        self,
        registry: Registry,
        authenticator: Authenticator,
        writer: "ReplyWriter",
        note: Note,
    ) -> None:
        self._hub: Hub = registry.hub
        self._feed = registry.feed
        self._authenticator = authenticator
        self._writer = writer
        self._note = note
        self._right = ROUTES["GET", PATH].right
        self._rate = registry.rates.reads
        self._propagation = registry.metrics.propagation
        self._origins = cors.patterns(registry.settings.allowed_origins)
        names = {name for name, _ in HEADERS}
        self._headers = [*HEADERS, *(h for h in writer.fixed if h[0] not in names)]
        self._counting: set[asyncio.Task[None]] = set()

    def open(self, environ: Environ, connection: Connection) -> bool:
        """Take a call's connection for a stream, and say so.

        If the caller can't have one, Flask is to answer: it finds the same error.
        """
        started = perf_counter()
        caller = self._authenticator.caller(environ)
        client = rate_limits.client_of(environ, caller)
        rate = self._rate
        try:
            if self._right is not None:
                caller.require(self._right)
            interest = _interest(environ)
        except RegistryError:
            return False
        if self._feed.unread or not self._hub.places.has_room(client):
            return False
        if rate is not None and not rate.waits and not rate.takes(client):
            return False
        stream = Stream(connection, self._hub, self._propagation, caller, client)
        stream.http10 = environ["SERVER_PROTOCOL"] == "HTTP/1.0"
        connection.take(stream.leave)
        if rate is None or not rate.waits:
            self._begin(environ, stream, interest, started)
        else:
            begin = self._count_and_begin(environ, stream, interest, started, rate)
            task = asyncio.get_running_loop().create_task(begin)
            self._counting.add(task)
            task.add_done_callback(self._counting.discard)
        return True

    def _begin(
        self, environ: Environ, stream: "Stream", interest: Interest, started: float
    ) -> None:
        text, after = opening(self._hub, environ.get("HTTP_LAST_EVENT_ID"))
        self._hub.watch(stream, interest, after)
        stream.write(self._head(environ, stream.http10), text)
        self._note(environ, 200, perf_counter() - started)

    async def _count_and_begin(
        self,
        environ: Environ,
        stream: "Stream",
        interest: Interest,
        started: float,
        rate: Rate,
    ) -> None:
        """Begin once the call is counted, by a program that takes its time."""
        try:
            await asyncio.to_thread(rate.take, stream.client)
            if not stream.ended:
                self._begin(environ, stream, interest, started)
        except RegistryError as error:
            problem = problems.of(error)
            problem.headers.extend(cors.of_read(environ, self._origins))
            problem.headers["Connection"] = "close"
            stream.refuse(self._writer.problem(problem, environ))
            self._note(environ, problem.status_code, perf_counter() - started)

    def _head(self, environ: Environ, http10: bool) -> bytes:
        headers = [
            *self._headers,
            *cors.of_read(environ, self._origins),
            (request_context.REQUEST_ID, request_context.request_id(environ)),
            ("Connection", "close"),
        ]
        if not http10:
            headers.append(("Transfer-Encoding", "chunked"))
        lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers)
        return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode("latin-1")


def _interest(environ: Environ) -> Interest:
    """Return what a call wants to hear. Raises `InvalidRequest`."""
    request = Request(environ, populate_request=False)
    query = Query(list(request.args.items(multi=True)), EVENTS)
    interest = query.interest()
    query.finish()
    return interest


def opening(hub: Hub, seen: str | None) -> tuple[bytes, Position | None]:
    """Return a stream's first events, and the position after which it goes on.

    ``seen`` is the id that the caller heard last. The position is None for a stream
    that begins now.
    """
    data = {"epoch": hub.epoch}
    position = hub.position
    after = position_of(seen, hub.epoch) if seen else None
    if after is not None and hub.knows(after):
        return RETRY + hub.notice("connected", after, data), after
    text = RETRY + hub.notice("connected", position, data)
    if seen:
        text += hub.notice("resync", position, {"reason": NOT_KNOWN})
    return text, None


class Stream(Listener):
    """One caller's stream of events; without chunks for a caller of HTTP/1.0."""

    __slots__ = ("_connection", "_hub", "_propagation", "http10")

    def __init__(
        self,
        connection: Connection,
        hub: Hub,
        propagation: Timings,
        caller: Caller,
        client: str,
    ) -> None:
        super().__init__(caller, client)
        self.http10 = False
        self._connection: Connection | None = connection
        self._hub = hub
        self._propagation = propagation

    @property
    def ended(self) -> bool:
        """Whether the connection is gone or given up."""
        return self._connection is None

    @property
    def is_full(self) -> bool:
        """Whether the reader has yet to take much of what was written."""
        connection = self._connection
        return (
            connection is not None
            and connection.transport.get_write_buffer_size() > MOST_UNSENT // 2
        )

    def hear(self, batch: Batch) -> None:
        """Write what is told; end the stream of a reader who is too slow."""
        connection = self._connection
        if connection is None:
            return
        transport = connection.transport
        if transport.get_write_buffer_size() > MOST_UNSENT:
            reason = {"reason": TOO_SLOW}
            self.write(b"", self._hub.notice("resync", self._hub.position, reason))
            self.end()
            return
        transport.write(batch.text if self.http10 else batch.chunk)
        if batch.events:
            self._propagation.observe(self._hub.age(batch.events[0]))

    def write(self, head: bytes, text: bytes) -> None:
        """Write a head, or nothing, and events, in one go."""
        if self._connection is not None:
            body = text if self.http10 else chunk(text)
            self._connection.transport.write(head + body)

    def refuse(self, reply: bytes) -> None:
        """Send another reply in place of a stream that has not begun."""
        if self._connection is not None:
            self._connection.transport.write(reply)
            self._close(self._connection)

    def end(self) -> None:
        """End the stream and close the connection. Idempotent."""
        if self._connection is not None:
            if not self.http10:
                self._connection.transport.write(b"0\r\n\r\n")
            self._close(self._connection)

    def leave(self) -> None:
        """Give up the place: the connection has ended. Idempotent."""
        self._connection = None
        self._hub.leave(self)

    def _close(self, connection: Connection) -> None:
        self.leave()
        connection.end()
