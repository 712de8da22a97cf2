"""What the prober makes of servers: well, unwell, slow, broken and hostile ones."""

import asyncio
import errno
import gzip
import json
import socket
import ssl
import struct
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent import futures
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import grpc
import pytest
from grpc_health.v1 import (  # type: ignore[import-untyped]  # no stubs
    health,
    health_pb2,
    health_pb2_grpc,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from modularity_registry.health.probes import Outcome, Prober, Target, tcp
from modularity_registry.health.probes.address_gate import Gate
from modularity_registry.health.probes.http import HttpChecker
from modularity_registry.health.probes.http_body import BODY_LIMIT
from modularity_registry.health.probes.outcome import explain
from modularity_registry.model.location import InvalidLocation, parse_location
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.name_lookup import NameLookup
from support.registry import check_target

POLICY = AddressPolicy.parse("loopback")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

# For the name localhost, valid from 2020 to 2120, used nowhere but here.
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgdcJXYI8RMdY3v3J0
f6pjg/NOlTewZpVSZ3cUOGSbRLmhRANCAARbK2pD7SKy8izRfq56D73b/n3WVHsS
thk9pVwIoHJKSIW6XjLnzcZYXiRL7KFJtlKFQlo6Um8Y+hNtvvOir5ZV
-----END PRIVATE KEY-----
"""
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBczCCARqgAwIBAgIUX9L0aHdnno13HpaWXj1TQwYikLIwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx
MDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARbK2pD7SKy8izRfq56D73b/n3WVHsSthk9pVwIoHJKSIW6XjLnzcZY
XiRL7KFJtlKFQlo6Um8Y+hNtvvOir5ZVo0gwRjAUBgNVHREEDTALgglsb2NhbGhv
c3QwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQU+x50aKTKpYZ1WckgP+rFwiv6
P2wwCgYIKoZIzj0EAwIDRwAwRAIgWiZCsJBIL9ceYN9RuBW5dGheSFemUL3XG78R
Mm1CbBECIFFZ/LJZTA+yS7SFi5nmoid3PsWNeqHKCF5bb/bHbi76
-----END CERTIFICATE-----
"""


@asynccontextmanager
async def serving(
    handler: Handler, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Yield the port of a server on 127.0.0.1 whose connections ``handler`` gets."""
    tasks: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        # The prober hangs up on some, and the test's end on the rest.
        with suppress(OSError, EOFError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(run, "127.0.0.1", 0, ssl=tls)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


def replying(*parts: bytes, delay: float = 0) -> Handler:
    """Answer every request with these bytes, then close; ``delay`` before each."""

    async def handler(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            await asyncio.sleep(delay)
            writer.write(part)
            await writer.drain()

    return handler


def answer(status: str, body: bytes, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


@asynccontextmanager
async def probing(
    name_lookup: NameLookup | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[Prober]:
    prober = Prober(POLICY, name_lookup=name_lookup, ssl_context=ssl_context)
    try:
        yield prober
    finally:
        await prober.close()


def check(
    handler: Handler,
    *,
    mode: str = "http",
    timeout: float = 5,
    location: str = "http://127.0.0.1:{port}",
    tls: ssl.SSLContext | None = None,
    trust: ssl.SSLContext | None = None,
) -> Outcome:
    """Return the outcome of one check of one server."""

    async def run() -> Outcome:
        async with serving(handler, tls) as port, probing(ssl_context=trust) as prober:
            place = location.replace("{port}", str(port))
            return await prober.probe(check_target(mode, place, timeout=timeout))

    return asyncio.run(run())


def probe_once(target: Target, resolver: Sequence[str] | None = None) -> Outcome:
    async def run() -> Outcome:
        names = None if resolver is None else NameLookup(lambda host, port: resolver)
        async with probing(names) as prober:
            return await prober.probe(target)

    return asyncio.run(run())


@contextmanager
def unused_port() -> Iterator[int]:
    """Yield a port that is taken, so by nobody else, and not listened on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield int(sock.getsockname()[1])


# HTTP: what counts as well


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content", "299 x"])
def test_any_2xx_is_ok(status: str) -> None:
    outcome = check(replying(answer(status, b"")))
    assert (outcome.ok, outcome.kind) == (True, "ok")
    assert outcome.message == f"HTTP {status[:3]}"
    assert 0 < outcome.latency_ms < 20_000


@pytest.mark.parametrize("status", ["101 x", "403 x", "500 x", "503 x", "600 x"])
def test_any_other_status_is_a_failure(status: str) -> None:
    outcome = check(replying(answer(status, b"")))
    assert (outcome.ok, outcome.kind) == (False, "status")
    assert outcome.message == f"HTTP {status[:3]}"


def test_a_404_says_what_to_set() -> None:
    outcome = check(replying(answer("404 Not Found", b"no such page")))
    assert (outcome.ok, outcome.kind) == (False, "status")
    assert outcome.message.startswith(
        "nothing is served at /_module/health; set health.path"
    )


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            "200 OK",
            {"status": "unhealthy", "reason": "model file missing"},
            "model file missing (HTTP 200, but its status is 'unhealthy')",
        ),
        ("503 x", {"reason": "model file missing"}, "model file missing (HTTP 503)"),
        ("503 x", {"status": "DOWN", "output": "no disk"}, "no disk (HTTP 503)"),
        ("500 x", {"reason": " ", "message": "no disk"}, "no disk (HTTP 500)"),
        ("500 x", {"detail": "a\x1b[31m\n\u202eb"}, "a[31m b (HTTP 500)"),
        ("500 x", {"reason": "x" * 201}, "x" * 199 + "… (HTTP 500)"),
        ("500 x", {"reason": ["no", "text"]}, "HTTP 500"),
        ("500 x", {"status": "down"}, "HTTP 500"),
    ],
)
def test_the_services_own_words_lead(
    status: str, body: dict[str, object], message: str
) -> None:
    outcome = check(replying(answer(status, json.dumps(body).encode())))
    assert (outcome.kind, outcome.message) == ("status", message)


@pytest.mark.parametrize(
    "body", [b'{"reason": "cut', b"\xff", b"<html>", b'{"reason": "x"}' * 9_000]
)
def test_an_error_whose_body_can_t_be_read_is_still_that_error(body: bytes) -> None:
    assert check(replying(answer("503 x", body))).message == "HTTP 503"


def test_an_error_whose_body_never_comes_is_still_that_error() -> None:
    async def handler(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 x\r\nContent-Length: 10\r\n\r\n{")
        await reader.read()  # until the check gives up

    assert check(handler).message == "HTTP 503"


@pytest.mark.parametrize("word", ["unhealthy", "DOWN", " fail ", "Out-of-Service"])
def test_a_json_body_may_say_that_the_service_is_not_well(word: str) -> None:
    outcome = check(replying(answer("200 OK", f'{{"status": "{word}"}}'.encode())))
    assert (outcome.ok, outcome.kind) == (False, "status")
    assert outcome.message.startswith("HTTP 200, but its status is")


def test_a_json_body_may_warn() -> None:
    said = b'{"status": "Warning", "reason": "disk 91 % full"}'
    outcome = check(replying(answer("200 OK", said)))
    assert (outcome.ok, outcome.warns, outcome.kind) == (True, True, "warning")
    what = "(HTTP 200, but its status is 'warning')"
    assert outcome.message == f"disk 91 % full {what}"
    assert not check(replying(answer("500 Oh", said))).ok


@pytest.mark.parametrize(
    "body",
    [
        *(b'{"status": "healthy"}', b'{"status": "UP"}', b'{"status": "degraded"}'),
        b'{"status": "warn"}',
        *(b'{"status": null}', b'{"status": {"status": "down"}}', b'["down"]', b"down"),
        *(b'"status" down', b'{"x": {"status": "down"}}', b'{"status": "no"}'),
        *(b"<p>", b"\xff\xfe\x00{", b"{}", b"x" * BODY_LIMIT * 2),
    ],
)
def test_any_other_body_does_no_harm(body: bytes) -> None:
    assert check(replying(answer("200 OK", body))).ok


DOWN = '{"status": "down"}'
TYPE = "Content-Type: application/json; charset="
GZIP = ("Content-Encoding: gzip",)
LONG = "longer than 65,536 bytes"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\xef\xbb\xbf" + DOWN.encode(), ()),
        (b" \r\n\t" + DOWN.encode(), ()),
        (b'{"st\\u0061tus": "down"}', ()),
        (b'{"status": "up", "status": "down"}', ()),
        (DOWN.encode("utf-16"), ()),
        (DOWN.encode("utf-32-be"), ()),
        (DOWN.encode("utf-16-le"), (TYPE + "UTF-16LE",)),
        ('{"status": "down", "é": 1}'.encode("latin-1"), (TYPE + "iso-8859-1",)),
        (DOWN.encode(), (TYPE + "nonsense",)),
        (gzip.compress(DOWN.encode(), mtime=0), GZIP),
        (zlib.compress(DOWN.encode()), ("Content-Encoding: deflate",)),
        (zlib.compress(DOWN.encode(), wbits=-15), ("Content-Encoding: Deflate",)),
    ],
)  # fmt: skip
def test_a_status_is_read_as_http_and_json_write_it(
    body: bytes, headers: tuple[str, ...]
) -> None:
    outcome = check(replying(answer("200 OK", body, *headers)))
    assert outcome.message == "HTTP 200, but its status is 'down'"


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (b'{"status": "up"', (), "not valid JSON"),
        (b'{"status": "up", "load": NaN}', (), "not valid JSON"),
        (b'{"status":' + b"[" * 60_000, (), "not valid JSON"),
        (b'{"status": "\xff"}', (), "not valid utf-8"),
        (b'{"status": "up"}' + b" " * BODY_LIMIT, (), LONG),
        (gzip.compress(b'{"a":1}' + b" " * 10**7, mtime=0), GZIP, LONG),
        (gzip.compress(DOWN.encode(), mtime=0)[:-9], GZIP, "was cut off"),
        (b"{}", GZIP, "not valid gzip"),
        (b"{}", ("Content-Encoding: br",), "compressed in a way"),
    ],
)  # fmt: skip
def test_an_object_that_cant_be_read_is_a_failure_that_says_so(
    body: bytes, headers: tuple[str, ...], message: str
) -> None:
    outcome = check(replying(answer("200 OK", body, *headers)))
    assert not outcome.ok
    assert message in outcome.message


@pytest.mark.parametrize("pieces", [1, 2, 50])
@pytest.mark.parametrize("size", [BODY_LIMIT, BODY_LIMIT + 1])
def test_the_limit_holds_for_a_body_and_not_for_its_pieces(
    size: int, pieces: int
) -> None:
    body = b'{"status": "up"}'.ljust(size)
    part = -(-size // pieces)
    sent = [body[start : start + part] for start in range(0, size, part)]
    whole = [f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode(), *sent]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in sent]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for reply in ([b"".join(whole)], whole, [head, *chunks, b"0\r\n\r\n"]):
        assert check(replying(*reply)).ok is (size == BODY_LIMIT)


def test_the_request_is_plain() -> None:
    requests: list[bytes] = []

    async def handler(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer("200 OK", b"", "Set-Cookie: a=b", "Refresh: 0; url=/x"))

    async def run() -> None:
        async with serving(handler) as port, probing() as prober:
            for _ in range(3):
                location = f"http://127.0.0.1:{port}/base%20/"
                assert (
                    await prober.probe(check_target("http", location, "/h?a=%41"))
                ).ok
            assert f"host: 127.0.0.1:{port}\r\n".encode() in requests[2].lower()

    asyncio.run(run())
    assert len(requests) == 3
    for request in requests:
        assert request.startswith(b"GET /base%20/h?a=%41 HTTP/1.1\r\n")
        assert b"\r\nUser-Agent: modularity-registry/" in request
        assert b"\r\nAccept-Encoding: identity\r\n" in request
        assert b"cookie" not in request.lower()


# HTTP: bounds


def test_a_server_that_says_nothing_is_late() -> None:
    outcome = check(replying(b"", delay=30), timeout=0.2)
    assert (outcome.kind, outcome.message) == ("timeout", "no answer within 0.2 s")
    assert 200 <= outcome.latency_ms < 20_000


def test_a_slow_answer_in_time_is_ok() -> None:
    outcome = check(replying(OK[:20], OK[20:], delay=0.1), timeout=5)
    assert outcome.ok
    assert outcome.latency_ms >= 200


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["status", "header", "body", "body-until-close"],
)
def test_a_dripping_answer_is_cut_off_by_the_time_limit(start: bytes) -> None:
    handler = replying(start, *[b"x"] * 1000, delay=0.02)
    assert check(handler, timeout=0.3).kind in {"timeout", "protocol"}


def test_interim_answers_do_not_extend_the_time_limit() -> None:
    handler = replying(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000, delay=0.02)
    assert check(handler, timeout=0.3).kind == "timeout"


def test_a_huge_body_is_read_up_to_the_limit_and_is_ok() -> None:
    sent = 0

    async def handler(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    outcome = check(handler)
    assert outcome.ok
    # The rest is what two kernels and two event loops keep in their buffers.
    assert sent < BODY_LIMIT + 20_000_000


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"<html>hello</html>\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["ssh", "binary", "html", "status", "length"],
)
def test_garbage_is_not_http(reply: bytes) -> None:
    outcome = check(replying(reply))
    assert (outcome.kind, outcome.message) == (
        "protocol",
        "the answer is not valid HTTP",
    )


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"OK\r\nX: " + b"x" * 32_700, None),
        (b"OK\r\n" + b"X: y\r\n" * 498 + b"X: y", None),
        (b"OK\r\nX: " + b"x" * 100_000, "longer than 32,768 bytes"),
        (b"OK\r\n" + b"X: y\r\n" * 600, "more than 500 headers"),
        (b"O" * 100_000, "longer than 32,768 bytes"),
    ],
    ids=["a long header", "many headers", "too long", "too many", "a long reason"],
)
def test_the_head_of_an_answer_is_limited(head: bytes, message: str | None) -> None:
    outcome = check(
        replying(b"HTTP/1.1 200 " + head + b"\r\nContent-Length: 0\r\n\r\n")
    )
    assert outcome.ok is (message is None)
    assert message is None or message in outcome.message


def test_a_connection_closed_without_an_answer_says_so() -> None:
    outcome = check(replying())
    assert outcome.kind == "closed"
    assert "without an answer" in outcome.message


def test_a_cut_off_body_says_so() -> None:
    outcome = check(replying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"))
    assert (outcome.kind, outcome.message) == ("closed", "the answer was cut off")


def test_a_reset_connection_says_so() -> None:
    async def handler(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        linger = struct.pack("ii", 1, 0)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    assert check(handler).kind == "closed"


@pytest.mark.parametrize("mode", ["http", "tcp", "grpc"])
def test_a_refused_connection_says_so(mode: str) -> None:
    with unused_port() as port:
        outcome = probe_once(check_target(mode, f"{mode}://127.0.0.1:{port}"))
    assert (outcome.kind, outcome.message) == ("refused", "connection refused")


# Loopback


@pytest.mark.parametrize("mode", ["http", "tcp", "grpc"])
def test_a_name_that_moves_to_loopback_is_connected_to_only_for_callers_there(
    mode: str,
) -> None:
    connections = 0

    async def handler(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)

    async def run(loopback: bool) -> Outcome:
        names = NameLookup(lambda host, port: ["127.0.0.1"])
        async with serving(handler) as port, probing(names) as prober:
            target = check_target(mode, f"{mode}://moved.example:{port}", timeout=1)
            return await prober.probe(replace(target, loopback=loopback))

    outcome = asyncio.run(run(loopback=False))
    assert (outcome.kind, connections) == ("policy", 0)
    assert "the registry's own machine" in outcome.message
    assert asyncio.run(run(loopback=True)).kind != "policy"


def test_a_kept_connection_serves_no_one_who_may_not_use_loopback() -> None:
    async def run() -> list[str]:
        names = NameLookup(lambda host, port: ["127.0.0.1"])
        async with serving(replying(OK)) as port, probing(names) as prober:
            target = check_target("http", f"http://moved.example:{port}")
            outcomes = [
                await prober.probe(replace(target, loopback=loopback))
                for loopback in (True, True, False)
            ]
            return [outcome.kind for outcome in outcomes]

    assert asyncio.run(run()) == ["ok", "ok", "policy"]


# HTTP: connections


def test_connections_are_kept_only_where_checks_follow_each_other() -> None:
    connections, requests = 0, []

    async def handler(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal connections
        connections += 1
        while True:
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(OK)

    async def run() -> None:
        async with serving(handler) as port, probing() as prober:
            for _ in range(5):
                target = check_target("http", f"http://127.0.0.1:{port}")
                assert (await prober.probe(target)).ok

    asyncio.run(run())
    assert b"Connection: close" in requests[0]
    assert b"Connection: close" not in requests[1]
    assert connections == 2


def test_a_kept_connection_that_the_server_closed_is_no_failure() -> None:
    async def handler(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")

    async def run() -> None:
        async with serving(handler) as port, probing() as prober:
            for _ in range(5):
                target = check_target("http", f"http://127.0.0.1:{port}")
                assert (await prober.probe(target)).ok

    asyncio.run(run())


def test_a_cancelled_check_is_cancelled_and_the_next_one_works() -> None:
    async def run() -> None:
        reached = asyncio.Event()

        async def handler(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await reader.readuntil(b"\r\n\r\n")
            if not reached.is_set():
                reached.set()
                await asyncio.sleep(30)
            writer.write(OK)

        async with serving(handler) as port, probing() as prober:
            target = check_target("http", f"http://127.0.0.1:{port}")
            task = asyncio.create_task(prober.probe(target))
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await prober.probe(target)).ok

    asyncio.run(run())


def test_a_closed_prober_checks_nothing() -> None:
    async def run() -> Outcome:
        async with serving(replying(OK)) as port:
            prober = Prober(POLICY)
            target = check_target("http", f"http://127.0.0.1:{port}")
            assert (await prober.probe(target)).ok
            await prober.close()
            await prober.close()
            return await prober.probe(target)

    outcome = asyncio.run(run())
    assert (outcome.ok, outcome.kind) == (False, "local")


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_text(KEY + CERTIFICATE)
    return path


@pytest.fixture(scope="module")
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(scope="module")
def trust(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


def test_a_trusted_certificate_is_ok(
    tls: ssl.SSLContext, trust: ssl.SSLContext
) -> None:
    location = "https://localhost:{port}"
    assert check(replying(OK), location=location, tls=tls, trust=trust).ok


def test_an_unknown_authority_is_not_trusted(tls: ssl.SSLContext) -> None:
    outcome = check(replying(OK), location="https://localhost:{port}", tls=tls)
    assert (outcome.ok, outcome.kind) == (False, "tls")
    assert "self-signed certificate" in outcome.message


def test_a_certificate_for_another_name_is_not_trusted(
    tls: ssl.SSLContext, trust: ssl.SSLContext
) -> None:
    location = "https://127.0.0.1:{port}"
    outcome = check(replying(OK), location=location, tls=tls, trust=trust)
    assert outcome.kind == "tls"
    assert "127.0.0.1" in outcome.message


def test_a_server_without_tls_fails_the_handshake() -> None:
    async def handler(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    outcome = check(handler, location="https://localhost:{port}")
    assert (outcome.kind, outcome.message) == (
        "tls",
        "the TLS handshake failed: is it an https port?",
    )


def test_a_handshake_that_hangs_is_late() -> None:
    async def handler(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await asyncio.sleep(30)

    outcome = check(handler, location="https://localhost:{port}", timeout=0.2)
    assert outcome.kind == "timeout"


# Names


@pytest.mark.parametrize("mode", ["http", "tcp", "grpc"])
def test_a_name_that_has_no_address_says_so(mode: str) -> None:
    def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def run() -> Outcome:
        async with probing(NameLookup(unknown)) as prober:
            return await prober.probe(check_target(mode, f"{mode}://no-such:80"))

    outcome = asyncio.run(run())
    assert outcome.kind == "dns"
    assert outcome.message == "no-such can't be looked up: Name or service not known"


@pytest.mark.parametrize("mode", ["http", "tcp", "grpc"])
def test_a_name_server_that_hangs_is_told_from_a_service_that_hangs(mode: str) -> None:
    async def run() -> Outcome:
        revived = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hang(host: str, port: int) -> Sequence[str]:
            asyncio.run_coroutine_threadsafe(revived.wait(), loop).result(30)
            return []

        async with probing(NameLookup(hang)) as prober:
            target = check_target(mode, f"{mode}://service:80", timeout=0.2)
            outcome = await prober.probe(target)
            revived.set()
            return outcome

    outcome = asyncio.run(run())
    assert outcome.kind == "dns"
    assert outcome.message == "the host name lookup took over 0.2 s"


@pytest.mark.parametrize("mode", ["http", "tcp", "grpc"])
def test_the_next_address_of_a_name_is_tried(mode: str) -> None:
    async def run() -> Outcome:
        names = NameLookup(lambda host, port: ["::1", "127.0.0.1"])
        with grpc_server(health_pb2.HealthCheckResponse.SERVING) as grpc_port:
            async with serving(replying(OK)) as tcp_port, probing(names) as prober:
                port = grpc_port if mode == "grpc" else tcp_port
                return await prober.probe(
                    check_target(mode, f"{mode}://service:{port}")
                )

    assert asyncio.run(run()).ok


# TCP


def test_a_tcp_service_that_takes_connections_is_ok() -> None:
    outcome = check(replying(), mode="tcp", location="tcp://127.0.0.1:{port}")
    assert (outcome.ok, outcome.message) == (True, "connected")


def test_a_socket_that_connects_to_itself_is_no_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with unused_port() as port:
        pass

    class Bound(socket.socket):
        def __init__(self, family: int, kind: int) -> None:
            super().__init__(family, kind)
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind(("127.0.0.1", port))

    patched = SimpleNamespace(**vars(socket) | {"socket": Bound})
    monkeypatch.setattr(tcp, "socket", patched)
    outcome = probe_once(check_target("tcp", f"tcp://127.0.0.1:{port}"))
    assert (outcome.kind, outcome.message) == ("refused", "connection refused")


# gRPC


@contextmanager
def grpc_server(status: int | None, port: int = 0) -> Iterator[int]:
    """Yield the port of a server with this health, or without the health service."""
    options = (("grpc.so_reuseport", 0),)
    server = grpc.server(futures.ThreadPoolExecutor(2), options=options)
    if status is not None:
        servicer = health.HealthServicer()
        servicer.set("", status)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    yield port
    server.stop(None).wait(5)


def test_a_serving_grpc_server_is_ok() -> None:
    with grpc_server(health_pb2.HealthCheckResponse.SERVING) as port:
        outcome = probe_once(check_target("grpc", f"grpc://127.0.0.1:{port}"))
        by_name = probe_once(
            check_target("grpc", f"grpc://service:{port}"), ["127.0.0.1"]
        )
    assert (outcome.ok, outcome.message) == (True, "SERVING")
    assert by_name.ok


@pytest.mark.parametrize("name", ["NOT_SERVING", "UNKNOWN", "SERVICE_UNKNOWN"])
def test_any_other_grpc_health_is_a_failure(name: str) -> None:
    with grpc_server(health_pb2.HealthCheckResponse.ServingStatus.Value(name)) as port:
        outcome = probe_once(check_target("grpc", f"grpc://127.0.0.1:{port}"))
    assert (outcome.kind, outcome.message) == ("status", f"the server says {name}")


def test_a_grpc_server_without_the_health_service_is_told_to_add_it() -> None:
    with grpc_server(None) as port:
        outcome = probe_once(check_target("grpc", f"grpc://127.0.0.1:{port}"))
    assert outcome.kind == "protocol"
    assert "does not offer grpc.health.v1" in outcome.message


def test_a_grpc_server_that_says_nothing_is_late() -> None:
    async def silent(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await asyncio.sleep(30)

    location = "grpc://127.0.0.1:{port}"
    outcome = check(silent, mode="grpc", location=location, timeout=0.5)
    assert outcome.kind == "timeout"
    assert outcome.latency_ms < 20_000


def test_an_http_server_is_no_grpc_server() -> None:
    outcome = check(replying(OK), mode="grpc", location="grpc://127.0.0.1:{port}")
    assert not outcome.ok
    assert outcome.kind in {"closed", "unreachable", "timeout"}


def test_a_grpc_server_that_comes_back_is_seen_at_once() -> None:
    async def run() -> list[str]:
        with unused_port() as port:
            pass
        target = check_target("grpc", f"grpc://127.0.0.1:{port}")
        async with probing() as prober:
            before = await prober.probe(target)
            with grpc_server(health_pb2.HealthCheckResponse.SERVING, port):
                after = await prober.probe(target)
        return [before.kind, after.kind]

    assert asyncio.run(run()) == ["refused", "ok"]


def test_grpc_is_imported_with_the_first_grpc_check() -> None:
    code = (
        "import sys, modularity_registry.health.probes; sys.exit('grpc' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Whatever happens


@pytest.mark.parametrize("mode", ["embedded", "standalone", "ipc", "", "HTTP"])
def test_a_mode_that_is_not_checked_is_not_connected_to(mode: str) -> None:
    assert probe_once(check_target(mode, "http://127.0.0.1:1")).kind == "policy"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ECONNREFUSED, "refused"),
        (errno.EHOSTUNREACH, "unreachable"),
        (errno.ENETUNREACH, "unreachable"),
        (errno.ECONNRESET, "closed"),
        (errno.ETIMEDOUT, "timeout"),
        (errno.EMFILE, "local"),
        (errno.EADDRNOTAVAIL, "local"),
        (errno.EIO, "unreachable"),
    ],
)
def test_a_system_error_is_explained(number: int, kind: str) -> None:
    error = OSError(number, "what the system calls it")
    key = aiohttp.client_reqrep.ConnectionKey("h", 1, False, True, None, None, None)
    for wrapped in (error, aiohttp.ClientConnectorError(key, error)):
        found, message = explain(wrapped)
        assert found == kind
        assert message


def test_an_unforeseen_error_is_the_registrys_own_trouble(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*args: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(HttpChecker, "check", broken)
    outcome = probe_once(check_target("http", "http://127.0.0.1:1"))
    assert (outcome.ok, outcome.kind) == (False, "local")
    assert "ZeroDivisionError" in outcome.message + caplog.text


class Recorder(HttpChecker):
    """Notes where it would connect to, and doesn't."""

    def __init__(self, gate: Gate) -> None:
        self.connects: list[tuple[str, int]] = []
        super().__init__(gate, None)

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        self.connects.append((str(info[4][0]), int(info[4][1])))
        raise OSError(errno.ECONNREFUSED, "recorded")


HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda ip: f"[{ip.exploded.upper()}]"),
    st.from_regex(r"[A-Za-z0-9_]{1,10}([.-][a-z0-9_]{1,5}){0,3}", fullmatch=True),
    st.lists(st.sampled_from("0x7f.1-a_A"), max_size=12).map("".join),
)
PORTS = st.one_of(st.just(""), st.integers(0, 70_000).map(":{}".format))
PATHS = st.from_regex(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]{0,5}){0,4}", fullmatch=True)


@settings(deadline=None)
@given(st.sampled_from(["http", "https"]), HOSTS, PORTS, PATHS)
def test_what_is_accepted_is_connected_to_exactly_as_parsed(
    scheme: str, host: str, port: str, path: str
) -> None:
    try:
        location = parse_location(f"{scheme}://{host}{port}{path}", "http")
    except InvalidLocation:
        return
    asked: list[tuple[str, int]] = []

    def resolver(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return ["127.0.0.77"]

    async def run() -> list[tuple[str, int]]:
        recorder = Recorder(Gate(POLICY, NameLookup(resolver)))
        with pytest.raises(aiohttp.ClientConnectorError):
            await recorder.check(location, "/health")
        await recorder.close()
        return recorder.connects

    named = location.address is None
    found = asyncio.run(run())
    assert asked == ([(location.host, location.port)] if named else [])
    assert found == [("127.0.0.77" if named else location.host, location.port)]
