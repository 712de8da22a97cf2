"""One connection, with a transport that only notes what is done to it."""

import asyncio
import gc
import json
import random
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from modularity_registry.errors import BodyTooLarge, RegistryError
from modularity_registry.serving.forwarded import Proxies
from modularity_registry.serving.front import REFUSAL, Connection, Front
from modularity_registry.serving.head import (
    Answer,
    Environ,
    Head,
    KnownHeads,
    PathAnswer,
)
from modularity_registry.serving.limits import ServerOptions, ServerPlaces
from modularity_registry.serving.protocol import MAX_HEAD, HttpConnection, Shared
from modularity_registry.serving.wsgi import BASE, Bridge
from support.loops import PEER, FakeTransport, on_loop, soon, turns

HOST = b" HTTP/1.1\r\nHost: a\r\n"
HOT = b"GET /hot" + HOST + b"\r\n"
LATER = b"GET /later" + HOST + b"\r\n"
SLOW = b"GET /slow" + HOST + b"\r\n"
STREAM = b"GET /stream" + HOST + b"\r\n"
POST = b"POST /slow" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhot"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class FakeFront(Front):
    """Answers /hot at once and /later when told; /stream takes the connection."""

    def __init__(self) -> None:
        self.pending: list[Callable[[bytes], None]] = []
        self.plans = 0
        self.lost = 0
        self.failing = ""

    def plan(self, head: Head) -> Answer | None:
        self.plans += 1
        if self.failing == "plan":
            raise LookupError("on purpose")
        head.streams = head.path == "/stream"
        head.plain = head.plain and not head.streams
        return {"/hot": self._hot, "/later": self._later, "/stream": self._stream}.get(
            head.path or ""
        )

    def plan_paths(self, head: Head) -> PathAnswer | None:
        return self._hot_path if head.path == "/hot" else None

    def _hot_path(self, connection: Connection, path: str) -> bytes | None:
        return self._hot(connection, b"") if path.startswith("/hot") else None

    def _hot(self, connection: Connection, body: bytes) -> bytes:
        if self.failing == "answer":
            raise LookupError("on purpose")
        return REPLY

    def _later(self, connection: Connection, body: bytes) -> bytes:
        self.pending.append(connection.reply_later())
        return b""

    def _stream(self, connection: Connection, body: bytes) -> bytes:
        connection.take(self._lose)
        connection.transport.write(b"stream")
        return b""

    def _lose(self) -> None:
        self.lost += 1

    def wants_body(self, environ: Environ) -> bool:
        return bool(environ["PATH_INFO"] != "/unwanted")


class Caller:
    """A connection and the app behind it, which answers when ``gate`` is open."""

    def __init__(
        self,
        front: FakeFront | None = None,
        shared: Shared | None = None,
        peer: tuple[str, int] = PEER,
        proxies: Proxies | None = None,
        **options: Any,
    ) -> None:
        self.front = front or FakeFront()
        self.gate = asyncio.Event()
        self.calls: list[tuple[str, str, bytes]] = []
        self.errors: list[RegistryError] = []
        limits = ServerOptions(**options)
        self.shared = shared or Shared(
            self.front,
            proxies,
            limits,
            *ServerPlaces.of(limits),
            KnownHeads(),
            BASE,
        )
        config = uvicorn.Config(
            self._app,
            ws="none",
            log_config=None,
            proxy_headers=False,
            interface="asgi3",
        )
        config.load()
        self.state = ServerState()
        self.transport = FakeTransport(peer)
        self.connection = HttpConnection(
            self.shared, config=config, server_state=self.state, app_state={}
        )
        self.connection.connection_made(self.transport)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        environ = scope["environ"]
        error = environ.get(REFUSAL)
        if error is not None:
            self.errors.append(error)
        else:
            body = environ["wsgi.input"].read()
            self.calls.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], body))
            await self.gate.wait()
        text = b"app" if error is None else error.code.encode()
        headers = [(b"content-length", b"%d" % len(text))]
        status = 200 if error is None else 400
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        await send({"type": "http.response.body", "body": text})

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    def vanish(self) -> None:
        self.transport.closed = True
        self.connection.connection_lost(ConnectionResetError())

    @property
    def bodies(self) -> list[bytes]:
        """The last three letters of each reply."""
        replies = self.transport.sent.split(b"HTTP/1.1 ")[1:]
        return [reply[-3:] for reply in replies]

    @property
    def places(self) -> list[int]:
        shared = self.shared
        return [p.taken for p in (shared.connections, shared.heads, shared.bodies)]


@on_loop
async def test_replies_come_in_the_order_of_their_calls() -> None:
    caller = Caller()
    caller.send(LATER + SLOW + HOT + LATER + HOT)
    await turns()
    assert (caller.bodies, caller.calls) == ([], [])
    caller.front.pending.pop()(REPLY.replace(b"hot", b"own"))
    await turns()
    assert caller.bodies == [b"own"]
    caller.gate.set()
    await soon(lambda: len(caller.bodies) == 5)
    # What stands behind a call that is under way is the app's.
    assert [path for _, path, _ in caller.calls] == ["/slow", "/hot", "/later", "/hot"]


@on_loop
async def test_stream_behind_a_reply_is_left_to_the_app() -> None:
    caller = Caller()
    caller.send(LATER + STREAM)
    caller.front.pending.pop()(REPLY)
    await turns()
    assert caller.calls == [("GET", "/stream", b"")]


@on_loop
async def test_known_head_is_read_once_however_it_arrives() -> None:
    caller = Caller()
    caller.send(HOT)
    caller.send(HOT)
    assert caller.front.plans == 1
    caller.send(HOT[:9])
    caller.send(HOT[9:])
    caller.send(HOT + HOT[:5])
    caller.send(HOT[5:] + HOT)
    caller.send(HOT)
    assert caller.bodies == [b"hot"] * 7


@on_loop
async def test_known_headers_are_read_once_for_all_paths() -> None:
    caller = Caller()
    caller.send(HOT)
    for path in (b"/hot/b", b"/hot/c"):
        caller.send(HOT.replace(b"/hot", path))
    assert caller.front.plans == 1
    caller.send(HOT.replace(b"/hot", b"/slow"))
    caller.gate.set()
    await turns()
    assert caller.calls == [("GET", "/slow", b"")]
    assert caller.front.plans == 2
    caller.front.failing = "answer"
    caller.send(HOT.replace(b"/hot", b"/hot/d"))
    await turns()
    caller.front.failing = ""
    caller.shared.closing = True
    caller.send(HOT.replace(b"/hot", b"/hot/e"))
    await turns()
    assert [call[1] for call in caller.calls] == ["/slow", "/hot/d", "/hot/e"]
    assert caller.bodies == [b"hot"] * 3 + [b"app"] * 3


@on_loop
async def test_head_that_the_front_did_not_answer_is_not_remembered() -> None:
    caller = Caller()
    caller.front.failing = "answer"
    caller.send(HOT)
    caller.front.failing = ""
    for path in (b"/slow", b"/stream"):
        Caller(caller.front, caller.shared).send(b"GET " + path + HOST + b"\r\n")
    assert caller.shared.known._heads == {}


@on_loop
async def test_head_with_another_body_is_the_same_head() -> None:
    caller = Caller()
    head = b"POST /hot" + HOST + b"Content-Length: 3\r\n\r\n"
    for body in (b"abc", b"\r\n\r", b"def"):
        caller.send(head + body)
    assert caller.front.plans == 1
    caller.send(head)
    caller.send(b"abc" + head + b"abc")
    assert caller.bodies == [b"hot"] * 5
    assert caller.places == [1, 0, 0]


@on_loop
async def test_caller_who_takes_no_replies_is_not_answered_into_memory() -> None:
    caller = Caller()
    caller.connection.pause_writing()
    caller.send(HOT)
    caller.send(HOT * 10_000)
    assert caller.bodies == []
    assert caller.transport.reading_paused
    caller.connection.resume_writing()
    assert len(caller.bodies) == 10_001
    assert not caller.transport.reading_paused


@on_loop
async def test_writing_that_is_paused_amid_many_calls_stops_them() -> None:
    caller = Caller()
    write = caller.transport.write

    def write_and_pause(data: Any) -> None:
        write(data)
        if caller.transport.sent.count(b"hot") == 5:
            caller.transport.write = write  # type: ignore[method-assign]
            caller.connection.pause_writing()

    caller.transport.write = write_and_pause  # type: ignore[method-assign]
    caller.send(HOT * 10_000)
    await turns()
    assert len(caller.bodies) == 5
    caller.gate.set()
    caller.connection.resume_writing()
    await soon(lambda: len(caller.bodies) == 10_000)


@on_loop
async def test_few_of_many_calls_are_read_while_one_is_under_way() -> None:
    caller = Caller()
    caller.send(SLOW * 10_000)
    assert len(caller.connection.pipeline) < 300
    assert caller.transport.reading_paused
    caller.gate.set()
    await soon(lambda: len(caller.bodies) == 10_000)
    assert not caller.transport.reading_paused


@on_loop
async def test_many_calls_are_no_large_head() -> None:
    caller = Caller()
    count = 2 * MAX_HEAD // len(HOT)
    caller.send(HOT * count + HOT[:7])
    assert caller.places == [1, 1, 0]
    caller.send(HOT[7:])
    assert len(caller.bodies) == count + 1
    assert caller.errors == []


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 80_000,
        b"GET /hot" + HOST + b"X: " + b"a" * 80_000,
        POST + CHUNKED + b"1\r\nx\r\n0\r\nX: " + b"a" * 80_000,
        POST + CHUNKED + b"1\r\nx\r\n0\r\n" + b"X: a\r\n" * 20_000,
        POST + CHUNKED + b"1;x=" + b"a" * 80_000,
    ],
)
@pytest.mark.parametrize("size", [1_000, 100_000])
def test_head_trailers_and_extensions_are_bounded(head: bytes, size: int) -> None:
    @on_loop
    async def run() -> None:
        caller = Caller()
        for start in range(0, len(head), size):
            caller.send(head[start : start + size])
        await turns()
        assert [error.code for error in caller.errors] == ["head_too_large"]
        assert caller.places == [1, 0, 0]

    run()


@on_loop
async def test_trailers_are_no_headers() -> None:
    caller = Caller()
    caller.gate.set()
    caller.send(POST + CHUNKED + b"3\r\nabc\r\n0\r\nX-Owner-Key: x\r\n\r\n" + HOT)
    await soon(lambda: len(caller.bodies) == 2)
    assert caller.calls[0] == ("POST", "/slow", b"abc")


@on_loop
async def test_head_in_pieces_takes_one_place_until_it_is_whole_or_refused() -> None:
    caller = Caller(heads=4)
    for byte in HOT:
        caller.send(bytes([byte]))
        assert caller.places[1] <= 1
    assert caller.places == [1, 0, 0]
    caller.send(b"GET /hot HTTP/1.1\r\nA")
    other = Caller(shared=caller.shared)
    other.send(b"GET")
    await turns()
    assert [error.code for error in other.errors] == ["too_many_uploads"]
    caller.send(b"\0: x\r\n\r\n")
    assert caller.places[1] == 0


@on_loop
async def test_caller_who_asks_is_told_to_send_its_body_when_it_is_its_turn() -> None:
    caller = Caller()
    ask = POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    caller.send(LATER + ask)
    assert caller.transport.sent == b""
    caller.front.pending.pop()(REPLY)
    assert caller.transport.sent == REPLY + CONTINUE
    caller.connection.resume_writing()
    caller.gate.set()
    caller.send(b"abc")
    await soon(lambda: caller.transport.sent.endswith(b"app"))
    assert caller.transport.sent.count(CONTINUE) == 1
    assert caller.calls == [("POST", "/slow", b"abc")]


@pytest.mark.parametrize(
    "asked",
    [
        b"POST /slow HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
        b"POST /unwanted" + HOST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n",
        POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        POST + b"Content-Length: 3000000\r\nExpect: 100-continue\r\n\r\n",
    ],
)
def test_nobody_else_is_told_to_send_its_body(asked: bytes) -> None:
    @on_loop
    async def run() -> None:
        caller = Caller()
        caller.gate.set()
        caller.send(asked)
        await turns()
        assert CONTINUE not in caller.transport.sent

    run()


@pytest.mark.parametrize(
    "last",
    [
        b"GET /hot HTTP/1.0\r\n\r\n",
        b"GET /hot HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET /hot" + HOST + b"Connection: close\r\n\r\n",
        b"GET /hot" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /hot"
        + HOST
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
        b"HEAD /hot" + HOST + b"Connection: close\r\n\r\n",
        b"CONNECT /hot" + HOST + b"\r\n",
    ],
)
def test_last_call_of_a_connection_is_answered_and_nothing_after_it(
    last: bytes,
) -> None:
    @on_loop
    async def run() -> None:
        caller = Caller()
        caller.gate.set()
        caller.send(HOT + last + HOT + b"garbage\r\n\r\n")
        caller.send(HOT)
        await soon(lambda: caller.transport.closed)
        assert len(caller.bodies) == 2
        assert b"connection: close" in caller.transport.sent
        assert (len(caller.calls), caller.errors) == (1, [])

    run()


@on_loop
async def test_head_request_gets_no_body() -> None:
    caller = Caller()
    caller.gate.set()
    caller.send(b"HEAD /slow" + HOST + b"Content-Length: 2\r\n\r\nab")
    await soon(lambda: caller.connection.cycle.response_complete)
    caller.send(HOT)
    assert caller.bodies[-1] == b"hot"
    assert b"app" not in caller.transport.sent


@on_loop
async def test_half_closed_caller_gets_what_it_asked_for() -> None:
    for sent in (LATER, LATER + SLOW):
        caller = Caller()
        caller.gate.set()
        caller.send(sent)
        assert caller.connection.eof_received()
        caller.front.pending.pop()(REPLY)
        await soon(lambda caller=caller: caller.transport.closed)  # type: ignore[misc]
        assert len(caller.bodies) == sent.count(b"GET")
    encrypted = Caller()
    encrypted.connection.scheme = "https"
    encrypted.send(LATER)
    # asyncio would warn, in the log, that True has no effect.
    assert not encrypted.connection.eof_received()
    idle = Caller()
    idle.send(HOT + HOT[:4])
    assert not idle.connection.eof_received()
    stream = Caller()
    stream.send(STREAM)
    assert not stream.connection.eof_received()
    assert stream.front.lost == 1


@on_loop
async def test_caller_that_vanishes_before_its_reply_leaves_nothing() -> None:
    caller = Caller()
    caller.send(LATER + SLOW)
    caller.vanish()
    sent = caller.transport.sent
    caller.front.pending.pop()(REPLY)
    await turns()
    assert (caller.transport.sent, caller.calls) == (sent, [])
    assert caller.places == [0, 0, 0]
    assert not caller.state.connections


@on_loop
async def test_lost_connection_is_no_garbage_that_only_a_search_finds() -> None:
    large = POST + b"Content-Length: 9999999\r\n\r\n"
    broken = b"no request\r\n\r\n"
    gc.collect()
    gc.disable()
    try:
        for sent in (HOT, SLOW, LATER, LATER + SLOW, STREAM, large, broken, HOT[:4]):
            caller = Caller()
            caller.gate.set()
            caller.send(sent)
            await turns()
            caller.vanish()
            caller.front.pending.clear()
            caller.errors.clear()
            await turns()
            connection = weakref.ref(caller.connection)
            del caller.connection
            await turns()
            assert connection() is None, sent
    finally:
        gc.enable()


class Held:
    """What an answer holds."""


class RingFront(FakeFront):
    """Its answers hold their heads, as those of the registry do."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[weakref.ref[Held]] = []

    def plan(self, head: Head) -> Answer | None:
        known, held = super().plan(head), Held()
        self.held.append(weakref.ref(held))

        def answer(connection: Connection, body: bytes) -> bytes | None:
            assert head.path and held
            return None if known is None else known(connection, body)

        return answer


@on_loop
async def test_head_that_does_not_come_again_is_no_garbage() -> None:
    own_id = b"X-Request-ID: 1\r\n\r\n"
    large = POST + b"Content-Length: 9\r\nX-Request-ID: 1\r\n\r\n123"
    gc.collect()
    gc.disable()
    try:
        for sent in (HOT[:-2] + own_id, SLOW[:-2] + own_id, STREAM, HOT + HOT, large):
            front = RingFront()
            caller = Caller(front)
            caller.gate.set()
            caller.send(sent)
            await turns()
            caller.vanish()
            await turns()
            assert [held() for held in front.held] == [None] * len(front.held), sent
    finally:
        gc.enable()


def test_app_that_gives_up_on_a_caller_who_vanished_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @on_loop
    async def run() -> None:
        caller = Caller()

        async def silent(scope: Any, receive: Any, send: Any) -> None:
            await caller.gate.wait()

        caller.connection.app = silent
        caller.send(SLOW + SLOW)
        await turns()
        caller.vanish()
        caller.gate.set()
        await turns()

    run()
    assert caplog.records == []


@on_loop
async def test_refused_caller_has_two_seconds_to_see_why() -> None:
    caller = Caller()
    caller.send(b"POST /slow" + HOST + b"Content-Length: 2000000\r\n\r\nabc")
    await soon(lambda: caller.transport.half_closed)
    assert isinstance(caller.errors[0], BodyTooLarge)
    caller.send(bytes(100_000))
    assert not caller.transport.closed
    timer = caller.connection._timer
    assert timer is not None
    assert timer.when() - asyncio.get_running_loop().time() < 2.1
    caller.connection._on_timer()
    assert caller.transport.closed


@pytest.mark.parametrize("where", ["plan", "answer"])
def test_front_that_fails_leaves_the_call_to_the_app(where: str) -> None:
    @on_loop
    async def run() -> None:
        caller = Caller()
        caller.gate.set()
        caller.front.failing = where
        caller.send(HOT)
        await soon(lambda: caller.bodies == [b"app"])
        assert not caller.transport.closed

    run()


@on_loop
async def test_task_that_is_cancelled_ends_with_an_error_not_silence() -> None:
    caller = Caller()
    caller.send(SLOW)
    await turns()
    for task in list(caller.state.tasks):
        task.cancel()
    await soon(lambda: caller.transport.closed)
    assert caller.transport.sent.startswith(b"HTTP/1.1 500 ")


@on_loop
async def test_shutdown_lets_each_finish_what_it_is_at() -> None:
    idle, partial, pending, body, stream = (Caller() for _ in range(5))
    idle.send(HOT)
    partial.send(HOT[:4])
    pending.send(LATER + SLOW)
    body.send(POST + b"Content-Length: 3\r\n\r\na")
    stream.send(STREAM)
    callers = (idle, partial, pending, body, stream)
    for caller in callers:
        caller.shared.closing = True
        caller.connection.shutdown()
        caller.gate.set()
    closed = [caller.transport.closed for caller in callers]
    assert closed == [True, True, False, False, False]
    pending.front.pending.pop()(REPLY)
    body.send(b"bc")
    await soon(lambda: pending.transport.closed and body.transport.closed)
    assert pending.bodies == [b"hot", b"app"]
    stream.connection.end()
    assert stream.transport.closed


@on_loop
async def test_caller_behind_a_proxy_is_bound_by_its_own_share() -> None:
    proxies = Proxies("192.0.2.0/24", "x-forwarded-for")
    front = FakeFront()
    one = Caller(front, proxies=proxies, connections=4, heads=4, bodies=8)
    others = [Caller(front, shared=one.shared) for _ in range(3)]
    assert one.shared.connections.taken == 4
    assert b"503" in Caller(front, shared=one.shared).transport.sent
    for caller in (one, *others):
        caller.send(POST + b"X-Forwarded-")
    assert one.places == [4, 4, 0]
    for caller in (one, *others):
        caller.send(b"For: 203.0.113.9\r\nContent-Length: 3\r\n\r\na")
    await turns()
    assert one.places == [4, 0, 2]
    assert [len(c.errors) for c in (one, *others)] == [0, 0, 1, 1]


@on_loop
async def test_nothing_is_kept_after_a_storm_of_odd_connections() -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    rng = random.Random(seed)
    pieces = [
        HOT,
        LATER,
        SLOW,
        STREAM,
        POST + b"Content-Length: 9\r\n\r\nabc",
        POST + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        b"POST /unwanted" + HOST + b"Content-Length: 9\r\n\r\nabc",
        POST + CHUNKED + b"3\r\nabc\r\n0\r\nA: b\r\n\r\n",
        POST + b"Content-Length: 9000000\r\n\r\n",
        b"abcdefghi",
        b"\0garbage",
        b"GET /hot HTTP/1.0\r\n\r\n",
        b"GET /x" + HOST + b"Upgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        b"X: " + b"a" * 70_000,
    ]
    front = FakeFront()
    first = Caller(front)
    callers = [first, *(Caller(front, shared=first.shared) for _ in range(150))]
    steps: list[Callable[[Caller], Any]] = [
        lambda caller: caller.gate.set(),
        lambda caller: caller.connection.eof_received(),
        lambda caller: caller.connection.pause_writing(),
        lambda caller: caller.connection.resume_writing(),
        lambda caller: caller.connection._on_timer(),
        lambda caller: caller.connection.shutdown(),
        lambda caller: caller.vanish(),
    ]
    for _ in range(8):
        for caller in callers:
            if caller.connection not in caller.state.connections:
                continue
            sent = b"".join(rng.choices(pieces, k=rng.randint(1, 4)))
            cut = rng.randrange(len(sent))
            for piece in (sent[:cut], sent[cut:]):
                if piece and not caller.transport.closed:
                    caller.send(piece)
            if rng.random() < 0.4:
                rng.choice(steps)(caller)
            if front.pending and rng.random() < 0.5:
                front.pending.pop(rng.randrange(len(front.pending)))(REPLY)
        await turns(3)
    for caller in callers:
        caller.gate.set()
    await turns()
    shared = first.shared
    here = [c for c in callers if c.connection in c.state.connections]
    assert shared.connections.taken == len(here)
    for caller in here:
        caller.vanish()
    for finish in front.pending:
        finish(REPLY)
    await turns()
    assert first.places == [0, 0, 0]
    for caller in callers:
        timer = caller.connection._timer
        assert timer is None or timer.cancelled()


@on_loop
async def test_bridge_hands_the_app_a_call_and_sends_its_reply() -> None:
    caller = Caller()

    def app(environ: Environ, start: Any) -> list[bytes]:
        start("200 OK", [("X-Path", environ["PATH_INFO"])])
        return [json.dumps(environ["QUERY_STRING"]).encode()]

    caller.connection.app = Bridge(app, caller.front, lambda _: ([], b"failed"), 2)
    caller.send(b"GET /x?q=1" + HOST + b"\r\n")
    await soon(lambda: b'"q=1"' in caller.transport.sent)
    assert b"x-path: /x\r\n" in caller.transport.sent
    assert b"content-length: 5\r\n" in caller.transport.sent
