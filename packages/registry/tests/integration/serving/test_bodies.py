"""Request bodies against a real server: whole and within the limits, or refused."""

import json
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import pytest

from modularity_registry.serving.protocol import MAX_BODY
from support.registry import eventually
from support.serving import Server, read_all, read_some, running

BODY_SECONDS = 1.0
POST = b"POST /body HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(options={"body_seconds": BODY_SECONDS}) as running_server:
        yield running_server


def status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])


def content(reply: bytes) -> Any:
    return json.loads(reply.partition(b"\r\n\r\n")[2])


def chunks(size: int) -> Iterator[bytes]:
    for start in range(0, size, 100_000):
        yield bytes(min(100_000, size - start))


@pytest.mark.parametrize("size", [1, 17, 100_000, MAX_BODY])
@pytest.mark.parametrize("chunked", [False, True])
def test_body_within_the_limit_is_read_whole(
    server: Server, size: int, chunked: bool
) -> None:
    body = chunks(size) if chunked else bytes(size)
    assert server.call("POST", "/body", body) == (200, {"length": size})


def test_no_body_is_an_empty_one(server: Server) -> None:
    assert server.call("POST", "/body") == (200, {"length": 0})
    assert server.call("POST", "/body", iter([])) == (200, {"length": 0})


@pytest.mark.parametrize("size", [MAX_BODY + 1, 2 << 20, 8 << 20])
@pytest.mark.parametrize("chunked", [False, True])
def test_caller_over_the_limit_gets_to_see_413(
    server: Server, size: int, chunked: bool
) -> None:
    code, said = server.call("POST", "/body", chunks(size) if chunked else bytes(size))
    assert (code, said["code"]) == (413, "body_too_large")


def test_caller_that_asks_before_sending_is_told_413_at_once(server: Server) -> None:
    head = b"Content-Length: 2000000\r\nExpect: 100-continue\r\n\r\n"
    with server.connect(POST + head) as caller:
        assert status(read_some(caller, b"}")) == 413


def test_refused_call_ends_the_connection_once_its_reply_was_seen(
    server: Server,
) -> None:
    for path, size, expected in ((b"body", 2 << 20, 413), (b"unwanted", 900_000, 404)):
        head = b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % (path, size)
        with server.connect(head + b"\r\n" + bytes(size) + GET) as caller:
            reply = read_all(caller)
        assert status(reply) == expected
        assert reply.count(b"HTTP/1.1 ") == 1


def test_body_that_nobody_wants_is_not_waited_for(server: Server) -> None:
    head = b"POST /unwanted HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    with server.connect(head) as caller:
        started = time.monotonic()
        assert status(read_some(caller, b"}")) == 404
        assert time.monotonic() - started < BODY_SECONDS / 2


@pytest.mark.parametrize(
    "cut_short",
    [b"Content-Length: 10\r\n\r\nabc", CHUNKED + b"3\r\nabc\r\n", CHUNKED + b"3\r\na"],
)
def test_body_cut_short_is_never_taken_for_a_whole_one(
    server: Server, cut_short: bytes
) -> None:
    reply = server.exchange(POST + cut_short, half_close=True)
    assert (status(reply), content(reply)["code"]) == (400, "body_incomplete")


def test_server_lives_on_after_callers_that_vanish_amid_a_body(server: Server) -> None:
    for _ in range(20):
        with server.connect(POST + CHUNKED + b"3\r\nabc\r\n") as caller:
            caller.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: server.call("POST", "/body", iter([b"abc"]))[0] == 200)


def drip(server: Server, head: bytes, piece: bytes) -> tuple[float, bytes]:
    """Send a piece every 0.2 s; return when an answer came, in seconds, and it."""
    started = time.monotonic()
    with server.connect(POST + head) as caller:
        caller.settimeout(0.2)
        while time.monotonic() - started < 10 * BODY_SECONDS:
            try:
                reply = caller.recv(65_536)
            except TimeoutError:
                caller.sendall(piece)
            else:
                if b" 100 " not in reply:
                    seconds = time.monotonic() - started
                    caller.settimeout(5.0)
                    return seconds, reply + read_all(caller)
    raise AssertionError("no answer")


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"Content-Length: 1000\r\n\r\n", b""),
        (b"Content-Length: 1000\r\n\r\nabc", b""),
        (b"Content-Length: 1000\r\n\r\n", b"x"),
        (b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n", b""),
        (CHUNKED, b""),
        (CHUNKED, b"1\r\nx\r\n"),
    ],
)
def test_body_that_does_not_arrive_in_time_is_cut(
    server: Server, head: bytes, piece: bytes
) -> None:
    seconds, reply = drip(server, head, piece)
    assert BODY_SECONDS <= seconds < BODY_SECONDS + 1.5
    assert (status(reply), content(reply)["code"]) == (400, "body_incomplete")


def test_late_body_costs_nobody_else_on_that_address(server: Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(server.get, "/wait?4")]
        threading.Event().wait(0.2)
        late = pool.submit(drip, server, b"Content-Length: 9\r\n\r\n", b"")
        threading.Event().wait(0.2)
        waits.append(pool.submit(server.get, "/wait?3"))
        with server.connect(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n") as stream:
            assert status(late.result()[1]) == 400
            assert [wait.result()[0] for wait in waits] == [200, 200]
            assert b"beat" in read_some(stream, b"beat")


def test_late_bodies_of_one_address_leave_places_to_others() -> None:
    options = {"threads": 2, "bodies": 16, "body_seconds": 3.0}
    head = POST + b"Content-Length: 9\r\n\r\n"
    with running(options=options) as server, ExitStack() as stack:
        callers = [stack.enter_context(server.connect(head)) for _ in range(40)]
        refused = [status(read_some(caller, b"}")) for caller in callers[4:]]
        assert refused == [503] * 36
        assert server.get("/")[0] == 200
        # A whole body takes no place.
        with server.connect(POST + b"Content-Length: 3\r\n\r\nabc") as whole:
            assert status(read_some(whole, b"}")) == 200
        with server.connect(b"", source="127.0.0.2") as other:
            other.sendall(head + b"abc")
            threading.Event().wait(0.2)
            other.sendall(b"defghi")
            assert status(read_some(other, b"}")) == 200
        assert [status(read_some(caller, b"}")) for caller in callers[:4]] == [400] * 4
        eventually(lambda: server.call("POST", "/body", iter([b"abc"]))[0] == 200)


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"Content-Length: -5\r\n\r\nabcdef",
        b"Content-Length: +5\r\n\r\nabcdef",
        b"Content-Length: 0x5\r\n\r\nabcdef",
        b"Transfer-Encoding: gzip\r\n\r\nabcdef",
        b"Transfer-Encoding: chunked, gzip\r\n\r\nabcdef",
    ],
)
def test_length_that_makes_no_sense_is_400_and_ends_the_connection(
    server: Server, lengths: bytes
) -> None:
    reply = server.exchange(POST + lengths + GET)
    assert status(reply) == 400
    assert reply.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "end", [b"XX0\r\n\r\n", b"\r\n0\r\nXX\r\n\r\n", b"\r\nXX\r\n\r\n"]
)
def test_chunks_that_end_otherwise_are_400(server: Server, end: bytes) -> None:
    reply = server.exchange(POST + CHUNKED + b"3\r\nabc" + end + GET)
    assert status(reply) == 400
    assert reply.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("piece", [1, 1_000])
def test_trailers_are_taken_and_ignored(server: Server, piece: int) -> None:
    sent = POST + CHUNKED + b"3\r\nabc\r\n0\r\nA: b\r\nC: d\r\n\r\n"
    with server.connect(b"") as caller:
        for start in range(0, len(sent), piece):
            caller.sendall(sent[start : start + piece])
        reply = read_some(caller, b"}")
    assert status(reply) == 200


def test_length_beside_chunks_is_400_and_ends_the_connection(server: Server) -> None:
    # RFC 9112, 6.1: it may be an attempt at smuggling, so nothing of it is trusted.
    sent = b"Content-Length: 40\r\n" + CHUNKED + b"3\r\nabc\r\n0\r\n\r\n"
    reply = server.exchange(POST + sent + GET)
    assert status(reply) == 400
    assert reply.count(b"HTTP/1.1 ") == 1


def test_pipelined_calls_with_bodies_are_answered_in_order(server: Server) -> None:
    first = POST + b"Content-Length: 2\r\n\r\nab"
    unread = b"POST /gone HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    last = POST + b"Content-Length: 1\r\nConnection: close\r\n\r\na"
    with server.connect(first + unread + last) as caller:
        replies = read_all(caller).split(b"HTTP/1.1 ")[1:]
    assert [reply[:3] for reply in replies] == [b"200", b"404", b"200"]
    assert [content(replies[0])["length"], content(replies[2])["length"]] == [2, 1]
