"""Callers that are silent, slow, malformed or many, against a real server."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import socket

import pytest

from support.registry import eventually
from support.serving import Server, read_all, read_some, running

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LIMIT = 1.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(options={"header_seconds": LIMIT}) as running_server:
        yield running_server


def seconds_until_closed(connection: socket) -> float:
    started = time.monotonic()
    read_all(connection)
    return time.monotonic() - started


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nA: b"])
def test_caller_that_sends_no_whole_head_is_closed(server: Server, sent: bytes) -> None:
    with server.connect(sent) as caller:
        assert 0.5 * LIMIT < seconds_until_closed(caller) < LIMIT + 1.0


def test_head_that_drips_is_closed(server: Server) -> None:
    started = time.monotonic()
    with server.connect(b"GET / HTTP/1.1\r\nX-Slow: ") as caller:
        caller.settimeout(0.1)
        while time.monotonic() - started < 10 * LIMIT:
            try:
                assert caller.recv(1) == b""
                break
            except TimeoutError:
                caller.sendall(b"x")
    assert time.monotonic() - started < LIMIT + 1.0


def test_connection_idle_between_two_calls_is_closed(server: Server) -> None:
    with server.connect(GET) as caller:
        read_some(caller, b"}")
        assert 0.5 * LIMIT < seconds_until_closed(caller) < LIMIT + 1.0


def test_wait_and_stream_are_not_idle(server: Server) -> None:
    assert server.get(f"/wait?{2 * LIMIT}")[0] == 200


def test_silent_connections_by_the_thousand_do_not_delay_a_call() -> None:
    with running(options={"header_seconds": 30.0}) as server, ExitStack() as silent:
        for _ in range(1500):
            silent.enter_context(server.connect())
        for _ in range(20):
            started = time.monotonic()
            assert server.get("/")[0] == 200
            assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(
    ("sent", "allowed"),
    [
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", {b"414", b"431"}),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", {b"431", b""}),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 65_600 + b"\r\n\r\n", {b"431"}),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 72_000 + b"\r\n\r\n", {b"431"}),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", {b"431"}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {b"400", b""}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {b"400", b""}),
        (b"GET / HTTP/9.9\r\n\r\n", {b"400", b""}),
        (b"GET\r\n\r\n", {b"400", b""}),
        (b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n", {b"400", b""}),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", {b"400", b""}),
        (b"\0" * 5_000, {b"400", b""}),
    ],
)
def test_what_is_no_request_is_refused_and_the_server_lives_on(
    server: Server, sent: bytes, allowed: set[bytes]
) -> None:
    worker = server.worker()
    try:
        reply = server.exchange(sent)
    except ConnectionError:
        reply = b""
    assert reply[9:12] in allowed, reply[:80]
    assert server.worker() == worker


def test_pipelined_calls_are_all_answered(server: Server) -> None:
    last = GET.replace(b"Host", b"Connection: close\r\nHost")
    assert server.exchange(GET * 50 + last).count(b"HTTP/1.1 200") == 51


def test_failing_app_is_500_as_problem_json_and_the_connection_goes_on(
    server: Server,
) -> None:
    with server.connect(b"GET /raise HTTP/1.1\r\nHost: x\r\n\r\n") as caller:
        reply = read_some(caller, b"}")
        assert reply.startswith(b"HTTP/1.1 500")
        assert b"application/problem+json" in reply
        assert b"on purpose" not in reply
        caller.sendall(GET)
        assert read_some(caller, b"}").startswith(b"HTTP/1.1 200")


def test_callers_that_never_read_a_large_answer_hold_no_thread() -> None:
    request = b"GET /large?30 HTTP/1.1\r\nHost: x\r\n\r\n"
    options = {"threads": 4, "unread_seconds": 2.0}
    with running(options=options) as server, ExitStack() as callers:
        files = Path(f"/proc/{server.worker()}/fd")
        before = len(os.listdir(files))
        for _ in range(8):
            read_some(callers.enter_context(server.connect(request)), b"\r\n\r\n")
        started = time.monotonic()
        assert server.get("/")[0] == 200
        assert time.monotonic() - started < 1.0
        # The kernel gives up on them, and with that the memory is free again.
        eventually(lambda: len(os.listdir(files)) <= before, 20.0)


def test_stream_to_a_caller_that_is_gone_ends(server: Server) -> None:
    with server.connect(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n") as caller:
        read_some(caller, b"beat")
    assert server.get("/")[0] == 200


def test_connections_of_one_address_leave_room_for_those_of_others() -> None:
    with running(options={"connections": 8}) as server, ExitStack() as stack:
        for _ in range(6):
            read_some(stack.enter_context(server.connect(GET)), b"}")
        with server.connect() as refused:
            assert read_all(refused).startswith(b"HTTP/1.1 503 ")
        others = [server.connect(GET, source=f"127.0.0.{n}") for n in (2, 3)]
        for other in others:
            assert b"200 OK" in read_some(stack.enter_context(other), b"}")
        with server.connect(source="127.0.0.4") as refused:
            assert read_all(refused).startswith(b"HTTP/1.1 503 ")
        others[0].close()
        eventually(lambda: answers(server, "127.0.0.4"))


def answers(server: Server, source: str) -> bool:
    with server.connect(GET, source=source) as caller:
        return b"200 OK" in read_some(caller, b"}")


def test_slow_heads_of_one_address_leave_room_for_those_of_others() -> None:
    options = {"heads": 16, "header_seconds": 30.0}
    with running(options=options) as server, ExitStack() as stack:
        slow = [stack.enter_context(server.connect(GET[:9])) for _ in range(5)]
        assert b" 503 " in read_some(slow[4], b"}")
        # A whole head takes no place.
        assert server.get("/")[0] == 200
        other = stack.enter_context(server.connect(GET[:9], source="127.0.0.2"))
        for caller in (other, slow[0]):
            caller.sendall(GET[9:])
            assert b"200 OK" in read_some(caller, b"}")
        again = stack.enter_context(server.connect(GET[:9]))
        again.sendall(GET[9:])
        assert b"200 OK" in read_some(again, b"}")


def test_calls_that_nobody_reads_the_replies_of_are_not_held_in_memory() -> None:
    call = b"GET /large?1 HTTP/1.1\r\nHost: x\r\n\r\n"
    with running(options={"threads": 4}) as server, ExitStack() as stack:
        statm = Path(f"/proc/{server.worker()}/statm")
        before = int(statm.read_text().split()[1])
        for _ in range(4):
            stack.enter_context(server.connect(call * 500))
        for _ in range(20):
            assert server.get("/")[0] == 200
        grown = int(statm.read_text().split()[1]) - before
        assert grown * os.sysconf("SC_PAGE_SIZE") < 64 << 20


def test_head_just_within_the_limit_is_answered(server: Server) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: "
    reply = server.exchange(head + b"a" * 65_000 + b"\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 200")
