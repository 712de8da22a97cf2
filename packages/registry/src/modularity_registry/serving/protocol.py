"""One connection: uvicorn's protocol with limits, whole bodies, and answers at once.

Names of uvicorn that this leans on are not promised to stay, so its minor version is
pinned: `RequestResponseCycle` (a reply in ASGI), its place in ``cycle`` and
``pipeline``, ``_start_asgi_task`` and ``on_response_complete``, and ``flow``.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from math import inf
from typing import Any, Final, TypeVar

import httptools
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from modularity_registry.errors import (
    BodyIncomplete,
    BodyTooLarge,
    HeadTooLarge,
    InvalidRequest,
    RegistryError,
    TooManyConnections,
    TooManyUploads,
)
from modularity_registry.model.rights import network_of
from modularity_registry.ratelimit import Places
from modularity_registry.serving.forwarded import Proxies
from modularity_registry.serving.front import CALL, REFUSAL, Front
from modularity_registry.serving.head import Environ, Head, KnownHeads
from modularity_registry.serving.limits import ServerOptions

_log = logging.getLogger(__name__)

Given = TypeVar("Given", bytes, str)

MAX_BODY: Final = 1_048_576
MAX_HEAD: Final = 65_536
MAX_HEADERS: Final = 100
# So much is parsed at a time: it bounds how many requests queue up behind a reply.
_SLICE: Final = 8_192
# Of what a refused caller goes on sending, so much is thrown away, for so long: most
# callers look for the answer only once they have sent all, and a reset would overtake
# it.
_MOST_DISCARDED: Final = 16 * 1_048_576
_LINGER_SECONDS: Final = 2.0
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_FULL = TooManyConnections(
    "too many connections are open; close some, or try again later"
)


@dataclass(slots=True)
class Shared:
    """What all connections of one server share.

    ``heads`` are places for heads that come in pieces, ``bodies`` for bodies that do,
    ``refusals`` for callers without a place who have yet to see that.
    """

    front: Front
    proxies: Proxies | None
    options: ServerOptions
    connections: Places
    heads: Places
    bodies: Places
    refusals: Places
    known: KnownHeads
    base: Environ
    closing: bool = False


class HttpConnection(HttpToolsProtocol):
    """A caller's connection.

    Each request is in one of three hands: the front answers it at once from its head
    and body, or takes the connection over for a stream, or the app gets it as a
    `RequestResponseCycle`. Bodies are whole by then.
    """

    def __init__(self, shared: Shared, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shared = shared
        self.peer = ""
        self.local_port = ""
        self._client = ""
        self._on_lost: Callable[[], None] | None = None
        self._is_proxy = False
        self._deaf = False  # the last request was read: what comes in is thrown away
        self._discarded = 0
        self._unread = b""  # not parsed until what came before it has been answered
        self._running: Any = None  # the cycle whose reply is under way
        self._head: Head | None = None  # of a request whose body is not complete
        self._body = bytearray()
        self._in_head = False
        self._piece = 0  # bytes since a head began, or since the last of its body
        self._data: bytes | None = None  # what the current request begins with
        self._held: list[tuple[Places, str]] = []
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # The transport's calls

    def connection_made(  # type: ignore[override]
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        self.local_port = str(self.server[1]) if self.server else ""
        self._client = network_of(self.peer)
        shared = self.shared
        proxies = shared.proxies
        self._is_proxy = proxies is not None and proxies.trusts(self.peer)
        if not self._hold(shared.connections):
            self._deaf = True
            transport.write(shared.front.refusal(_FULL))
            if shared.refusals.has_room(self._client) and self._hold(shared.refusals):
                self.linger()
            else:
                transport.close()
            return
        self._since = self.loop.time()
        self._set_timer(shared.options.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._running is not None:
            self._running.disconnected = True
        if self._timer is not None:
            self._timer.cancel()
        for places, client in self._held:
            places.free(client)
        self._held.clear()
        self._lose()
        # They hold the connection, or each other, in turn: as a ring, only a search for
        # garbage would find them, and not even that if they were left out of it.
        if self._head is not None:
            self._head.answer = None
        self.cycle = self._running = None  # type: ignore[assignment]
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._discarded += len(data)
            if self._discarded > _MOST_DISCARDED:
                self.transport.close()
            return
        if self._unread:
            self._unread += data
            return
        self._data = None
        if self._head is None and not self._in_head and self._is_free():
            known = self.shared.known
            plain = known.for_path(data)
            if plain is not None:
                answer, path = plain
                if self._reply_by(answer, path, path):
                    return
            end = data.find(b"\r\n\r\n") + 4
            head = known.get(data[:end])
            if (
                head is not None
                and head.length == len(data) - end
                and self._answer(head, data[end:])
            ):
                return
            self._data = data
        self._parse(data)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The caller sends no more: what it asked for whole is still answered.

        TLS has no such half of a connection.
        """
        if self._on_lost is not None:
            self._lose()
            return None
        if self._head is not None:
            self._refuse(
                BodyIncomplete("the connection ended before the body was complete")
            )
        if self._is_idle():
            return None
        self.cycle.keep_alive = False
        return self.scheme == "http"

    def resume_writing(self) -> None:
        super().resume_writing()
        self._go_on()

    def shutdown(self) -> None:
        """End once what is under way has been answered."""
        if self._is_idle():
            if self._head is None and self._on_lost is None:
                self.transport.close()
        else:
            self.cycle.keep_alive = False

    # The parser's calls

    def _parse(self, data: bytes) -> None:
        parser = self.parser
        for start in range(0, len(data), _SLICE):
            if not self._is_free():
                self._unread = data[start:]
                self.flow.pause_reading()
                return
            piece = data[start : start + _SLICE]
            self._piece += len(piece)
            try:
                parser.feed_data(piece)
            except httptools.HttpParserUpgrade:
                return  # HTTP/1.1 is what there is: the reply to that ends it
            except httptools.HttpParserError as error:
                self._refuse(_cause(error))
            if self._deaf:
                return
            if self._piece > MAX_HEAD and (self._in_head or self._head is not None):
                self._refuse(_head_too_large())
                return
        if self._in_head:
            self._wait_for_head()
        elif self._head is not None:
            self._wait_for_body()

    def _go_on(self) -> None:
        """Read on, as what came before has been answered and taken."""
        if self.transport.is_closing() or not self._is_free():
            return
        data, self._unread = self._unread, b""
        if data:
            self._parse(data)
        else:
            self._invite()
        if not self._unread:
            self.flow.resume_reading()

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._in_head = True
        self._piece = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it is a trailer
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._deaf:
            return
        self._drop(self.shared.heads)
        # One that came in a single slice is small enough.
        if len(self.headers) > MAX_HEADERS or (self._piece and self._is_too_large()):
            raise _head_too_large()
        parser = self.parser
        self._head = head = Head(
            parser.get_method(),
            self.url,
            parser.get_http_version(),
            self.headers,
            parser.should_keep_alive(),
        )
        if head.length is not None and head.length > MAX_BODY:
            raise _too_large()
        try:
            head.answer = self.shared.front.plan(head)
        except Exception:
            _log.exception("planning for %s failed", head.path)

    def _is_too_large(self) -> bool:
        sizes = (len(name) + len(value) for name, value in self.headers)
        return len(self.url) + sum(sizes) > MAX_HEAD

    def on_chunk_header(self) -> None:
        self._piece = 0

    def on_body(self, body: bytes) -> None:
        self._piece = 0
        self._body += body
        if len(self._body) > MAX_BODY:
            raise _too_large()

    def on_message_complete(self) -> None:
        head, self._head = self._head, None
        if head is None or self._deaf:
            return
        body = bytes(self._body)
        self._body.clear()
        self._drop(self.shared.bodies)
        data, self._data = self._data, None
        shared = self.shared
        if not (self._is_free() and self._answer(head, body)):
            self._call(self.environ_of(head, body), head.keep_alive)
        elif data is not None and shared.known.add(
            data, body, head, shared.front.plan_paths
        ):
            return
        head.answer = None  # see `connection_lost`

    # Heads and bodies that come in pieces

    def _wait_for_head(self) -> None:
        if self._holds(self.shared.heads):
            return
        if self._hold(self.shared.heads):
            self._since = self.loop.time()
        else:
            self._refuse(TooManyUploads("too many requests are being received"))

    def _wait_for_body(self) -> None:
        """Decide, before more of a body is read, whether it is wanted."""
        head = self._head
        assert head is not None
        if self._holds(self.shared.bodies):
            return
        environ = self.environ_of(head)
        error: RegistryError | None = None
        try:
            wanted = self.shared.front.wants_body(environ)
        except RegistryError as refusal:
            wanted, error = False, refusal
        if not wanted:
            self._refuse(error)
        elif not self._hold(self.shared.bodies, self.shared.front.client(environ)):
            self._refuse(TooManyUploads("too many bodies are being received"))
        else:
            self._since = self.loop.time()
            self._set_timer(self.shared.options.body_seconds)
            self._invite()

    def _invite(self) -> None:
        """Tell a caller who asked, and whose turn it is, to send its body."""
        head = self._head
        if head is not None and head.expects and self._is_idle():
            head.expects = False
            self.transport.write(_CONTINUE)

    def _refuse(self, error: RegistryError | None) -> None:
        """Have the app answer with ``error`` (None: its own), read nothing more."""
        if self._deaf:
            return
        head, self._head = self._head, None
        self._in_head = False
        if head is None:
            environ = self._of_connection() | {
                "REQUEST_METHOD": "GET",
                "PATH_INFO": "/",
                "QUERY_STRING": "",
                "SERVER_PROTOCOL": "HTTP/1.1",
            }
        else:
            environ = self.environ_of(head)
            head.answer = None
        if error is not None:
            environ[REFUSAL] = error
        self._drop(self.shared.heads)
        self._drop(self.shared.bodies)
        self._body.clear()
        self._unread = b""
        self.flow.resume_reading()
        self._call(environ, keep_alive=False, transport=_Lingering(self))

    # Answers

    def environ_of(self, head: Head, body: bytes = b"") -> Environ:
        """Return a call's environment, the caller as trusted proxies name it."""
        environ = head.environ | self._of_connection()
        environ["wsgi.input"] = BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        if self.shared.proxies is not None:
            self.shared.proxies.believe(environ)
        return environ

    def address_of(self, head: Head) -> str:
        """Return the caller's address, as trusted proxies name it."""
        if self.shared.proxies is None:
            return self.peer
        return str(self.environ_of(head)["REMOTE_ADDR"])

    def _of_connection(self) -> Environ:
        return self.shared.base | {
            "REMOTE_ADDR": self.peer,
            "SERVER_PORT": self.local_port,
            "wsgi.url_scheme": self.scheme,
            "wsgi.input": BytesIO(),
            CALL: self,
        }

    def _answer(self, head: Head, body: bytes) -> bool:
        """Have the front answer at once; say whether it does."""
        answer = head.answer
        if answer is None or not (head.plain or head.streams):
            return False
        return self._reply_by(answer, body, head.path)

    def _reply_by(
        self,
        answer: Callable[[Any, Given], bytes | None],
        given: Given,
        path: str | None,
    ) -> bool:
        """Write what ``answer`` makes of a body or a path; say whether it did."""
        if self.shared.closing:
            return False
        try:
            reply = answer(self, given)
        except Exception:
            _log.exception("answering %s at once failed", path)
            return False
        if reply is None:
            return False
        if reply:
            self.transport.write(reply)
        self._since = self.loop.time()
        return True

    def reply_later(self) -> Callable[[bytes], None]:
        """Keep what comes next in the queue; return what sends the reply."""
        cycle = self.cycle = _Later(self)  # type: ignore[assignment]
        return cycle.finish

    def take(self, on_lost: Callable[[], None]) -> None:
        """Hand the connection over: the taker writes all from now on.

        ``on_lost`` is called once, when the caller is gone.
        """
        self._deaf = True
        self._on_lost = on_lost
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.headers = []
        self.parser = None  # type: ignore[assignment]

    def watch(self, on_lost: Callable[[], None] | None) -> None:
        """Call ``on_lost`` if the caller goes away before its reply; None: no more."""
        self._on_lost = on_lost

    def end(self) -> None:
        """Close the connection after what is written."""
        self._on_lost = None
        self.transport.close()

    def linger(self) -> None:
        """Close once the caller has had the time to see its reply."""
        if self.transport.can_write_eof():
            with suppress(OSError, RuntimeError):
                self.transport.write_eof()
        self._since = -inf
        self._set_timer(_LINGER_SECONDS)

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            return
        if not self._deaf:  # else it lingers
            self._since = self.loop.time()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._go_on()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _call(self, environ: Environ, keep_alive: bool, transport: Any = None) -> None:
        cycle = RequestResponseCycle(
            scope={  # type: ignore[typeddict-item]
                "type": "http",
                "method": environ["REQUEST_METHOD"],
                "environ": environ,
            },
            transport=transport or self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive and not self.shared.closing,
            on_response=self.on_response_complete,
        )
        self._deaf = not keep_alive
        former, self.cycle = self.cycle, cycle
        if former is None or former.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.pipeline.appendleft((cycle, self.app))

    # Places and time

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _is_free(self) -> bool:
        """Say whether a request is answered next, and its reply will be taken."""
        cycle = self.cycle
        return (cycle is None or cycle.response_complete) and not self.flow.write_paused

    def _hold(self, places: Places, caller: str | None = None) -> bool:
        client = caller or self._client
        # Whoever comes through a proxy is known once the head is whole.
        if not places.take(client, caller is None and self._is_proxy):
            return False
        self._held.append((places, client))
        return True

    def _holds(self, places: Places) -> bool:
        return any(held[0] is places for held in self._held)

    def _drop(self, places: Places) -> None:
        for held in self._held:
            if held[0] is places:
                places.free(held[1])
                self._held.remove(held)
                return

    def _lose(self) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        """Look whether the caller is late. One timer a connection, not a request."""
        options = self.shared.options
        in_body = self._head is not None
        limit = options.body_seconds if in_body else options.header_seconds
        if self._unread or not (in_body or self._is_free()):
            self._set_timer(limit)
            return
        left = self._since + limit - self.loop.time()
        if left > 0:
            self._set_timer(left)
        elif in_body:
            self._refuse(
                BodyIncomplete(f"the body did not arrive within {limit:g} seconds")
            )
        else:
            self.transport.close()


class _Later:
    """Stands where uvicorn keeps a reply under way, for one that the front sends."""

    __slots__ = ("_connection", "disconnected", "keep_alive", "response_complete")

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = False

    @property
    def message_event(self) -> "_Later":
        return self

    def set(self) -> None:
        """Nobody waits for more of its body."""

    def finish(self, reply: bytes) -> None:
        self.response_complete = True
        if self.disconnected:
            return
        connection = self._connection
        connection.transport.write(reply)
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()


class _Lingering:
    """The transport of a last reply, whose end does not overtake it."""

    def __init__(self, connection: HttpConnection) -> None:
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self.close = connection.linger


def _cause(error: httptools.HttpParserError) -> RegistryError:
    """Return why the parser stopped: for an error of ours, or one of the caller's."""
    cause = error.__context__
    if isinstance(cause, RegistryError):
        return cause
    if cause is not None and not isinstance(cause, httptools.HttpParserError):
        _log.error("reading a request failed", exc_info=cause)
    return InvalidRequest("what came is not a request of HTTP/1.1")


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {MAX_BODY:,} bytes")


def _head_too_large() -> HeadTooLarge:
    return HeadTooLarge(
        f"the request's head has more than {MAX_HEAD:,} bytes or {MAX_HEADERS} headers"
    )
