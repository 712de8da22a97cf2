"""Another registry's API on the registry's port: the frame, in a real process."""

import http.client
import json
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from modularity_registry import tokens
from modularity_registry.clock import SystemClock
from modularity_registry.model.rights import Right, TokenRequest
from modularity_registry.serving.protocol import MAX_BODY
from support import PROGRAMS
from support.registry import eventually
from support.servers.program import Program
from support.serving import HOST, free_port, read_all, read_some


class Sampled:
    """A registry with the sample integration."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.port = free_port()
        given = json.dumps({"port": self.port, **settings})
        command: list[str | Path] = [
            sys.executable,
            PROGRAMS / "sample_integration.py",
            given,
        ]
        self.program = Program(command, folder / "registry.log")
        self.program.wait_until(lambda: self.is_up())

    def is_up(self) -> bool:
        try:
            return self.call("GET", "/ready")[0] == 200
        except OSError:
            return False

    def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request(method, path, body, named)
            reply = connection.getresponse()
            text = reply.read()
        finally:
            connection.close()
        shown = {name.lower(): value for name, value in reply.getheaders()}
        return reply.status, shown, json.loads(text) if text else None

    def has_left(self, count: int) -> bool:
        return bool(self.call("GET", "/sample/left")[2] == count)

    def connect(self, sent: bytes) -> socket.socket:
        connection = socket.create_connection((HOST, self.port), 10)
        connection.sendall(sent)
        return connection


@contextmanager
def sampled(folder: Path, **settings: Any) -> Iterator[Sampled]:
    registry = Sampled(folder, **settings)
    try:
        yield registry
    finally:
        registry.program.stop()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sampled]:
    folder = tmp_path_factory.mktemp("sample")
    with sampled(folder, namespace=("team-a",)) as running:
        yield running


def get(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode()


def test_a_plain_call_is_answered(registry: Sampled) -> None:
    status, headers, body = registry.call("GET", "/sample/plain", X_Request_ID="mine")

    assert (status, body) == (200, [None, None])
    assert headers["x-request-id"] == "mine"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"] == "application/json"


def test_a_call_is_for_the_namespace_that_the_application_names(
    registry: Sampled,
) -> None:
    assert registry.call("GET", "/sample/plain?ns=team-a")[2] == ["team-a", None]
    assert registry.call("GET", "/sample/plain?ns=none")[0] == 404


def test_other_paths_are_the_registrys_own(registry: Sampled) -> None:
    assert registry.call("GET", "/sample")[0] == 404
    assert registry.call("GET", "/api/services")[0] == 200
    assert registry.call("GET", "/sample/none")[2]["code"] == "not_found"
    assert registry.call("PUT", "/sample/plain")[1]["allow"]


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_a_connection_that_ends_with_its_reply(registry: Sampled, version: str) -> None:
    request = f"GET /sample/plain {version}\r\nHost: x\r\nConnection: close\r\n\r\n"
    with registry.connect(request.encode()) as connection:
        head, _, body = read_all(connection).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body == b"[null, null]"
    assert b"x-request-id: " in head


@pytest.mark.parametrize("close", [False, True])
def test_head_has_the_headers_alone(registry: Sampled, close: bool) -> None:
    more = "Connection: close\r\n" if close else ""
    request = get("/sample/plain", more).replace(b"GET", b"HEAD")
    follow = b"" if close else get("/sample/left", "Connection: close\r\n")
    with registry.connect(request + follow) as connection:
        head, _, rest = read_all(connection).partition(b"\r\n\r\n")

    assert b"content-length: 12" in head
    assert rest == b"" if close else rest.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("size", [0, 1, 70_000, MAX_BODY])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_comes_whole(registry: Sampled, size: int, chunked: bool) -> None:
    parts = [bytes(min(50_000, size - n)) for n in range(0, size, 50_000)]
    body = iter(parts) if chunked else b"".join(parts)
    assert registry.call("POST", "/sample/body", body)[2] == size


def test_a_body_that_is_too_large_is_refused_unread(registry: Sampled) -> None:
    head = f"POST /sample/body HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY + 1}"
    with registry.connect(f"{head}\r\n\r\n".encode()) as connection:
        assert read_all(connection).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/sample/none", "/sample/plain"])
def test_a_body_that_nobody_wants_is_not_waited_for(
    registry: Sampled, path: str
) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\npart"
    with registry.connect(head.encode()) as connection:
        assert read_all(connection).startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 405 "))


def test_pipelined_calls_are_answered_in_their_order(registry: Sampled) -> None:
    paths = ("/sample/plain", "/sample/wait", "/sample/left", "/api/namespaces")
    with registry.connect(b"".join(map(get, paths))) as connection:
        first = read_some(connection, b"[null, null]")
        assert first.endswith(b"[null, null]")
        eventually(lambda: registry.call("POST", "/sample/wake")[2] == 1)
        rest = read_some(connection, b'"namespaces"')

    assert rest.count(b"HTTP/1.1 200 OK") == 3
    assert rest.index(b'"woken"') < rest.index(b"\r\n\r\n0")
    assert rest.index(b"\r\n\r\n0") < rest.index(b'"namespaces"')


def test_a_foreign_page_may_not_write(registry: Sampled) -> None:
    status, _, body = registry.call(
        "POST", "/sample/body", b"x", Origin="http://evil.example"
    )
    assert (status, body["code"]) == (403, "origin_refused")
    assert registry.call("GET", "/sample/plain", Origin="http://evil.example")[0] == 200


@pytest.mark.parametrize("path", ["/sample/fails", "/sample/fails-later"])
def test_an_unexpected_error_tells_nothing(registry: Sampled, path: str) -> None:
    status, _, body = registry.call("GET", path)

    assert (status, body["code"]) == (500, "internal_error")
    assert "secret" not in json.dumps(body)
    # The log has a thread of its own.
    eventually(lambda: "a secret" in registry.program.log.read_text())


def test_no_text_of_a_caller_ends_a_header(registry: Sampled) -> None:
    path = "/sample/header?text=a%0D%0AX-Evil:%20yes%0D%0A%E2%82%AC"
    status, headers, _ = registry.call("GET", path)

    assert status == 200
    assert "x-evil" not in headers
    assert headers["x-said"].startswith("a??X-Evil: yes??")


def test_each_call_has_a_line_in_the_log(tmp_path: Path) -> None:
    with sampled(tmp_path, log_level="debug") as registry:
        for path in ("/sample/plain", "/sample/planned"):
            registry.call("GET", path, X_Request_ID="look-for-me")
        log = registry.program.log

        def lines() -> list[str]:
            written = log.read_text().splitlines()
            return [line for line in written if "look-for-me" in line]

        eventually(lambda: len(lines()) == 2)
        assert "path=/sample/plain status=200" in lines()[0]
        assert "path=/sample/planned status=200" in lines()[1]


def test_statistics_show_what_an_integration_counts(registry: Sampled) -> None:
    shown = registry.call("GET", "/api/stats")[2]["integrations"]
    assert "handled" in shown["sample"]


def test_a_wait_ends_when_its_caller_goes_away(tmp_path: Path) -> None:
    with sampled(tmp_path) as registry:
        for path in ("/sample/wait", "/sample/pending"):
            left = registry.call("GET", "/sample/left")[2] + 2
            # Twice: the second call with a head is answered by what was planned.
            for _ in range(2):
                connection = registry.connect(get(path))
                registry.call("GET", "/sample/plain")
                connection.close()
            eventually(partial(registry.has_left, left))
        # What is not a wait is carried out, even if nobody waits for the reply.
        connection = registry.connect(get("/sample/slow").replace(b"GET", b"POST"))
        connection.close()
        eventually(partial(registry.has_left, left + 100))


def test_what_is_planned_is_answered_without_the_handler(tmp_path: Path) -> None:
    with sampled(tmp_path) as registry:
        assert registry.call("GET", "/sample/planned")[2] == "planned"
        assert registry.call("GET", "/sample/planned?x=1")[2] == "handled"
        shown = registry.call("GET", "/api/stats")[2]["integrations"]
        assert shown == {"sample": {"handled": 1}}
        with registry.connect(get("/sample/pending")) as connection:
            eventually(lambda: registry.call("POST", "/sample/wake")[2] == 1)
            assert read_some(connection, b'"woken"').endswith(b'"woken"')
            connection.sendall(get("/sample/pending"))
            eventually(lambda: registry.call("POST", "/sample/wake")[2] == 1)
            assert read_some(connection, b'"woken"').endswith(b'"woken"')
        with urlopen(f"http://{HOST}:{registry.port}/metrics", timeout=10) as reply:
            metrics = reply.read().decode()

    for path in ("/sample/planned", "/sample/pending"):
        assert f'route="{path}"' in metrics or f'"{path}"' in metrics


def test_waiting_calls_are_answered_when_the_registry_stops(tmp_path: Path) -> None:
    with sampled(tmp_path) as registry:
        with registry.connect(get("/sample/wait")) as connection:
            registry.call("GET", "/sample/plain")
            registry.program.signal(signal.SIGTERM)
            assert b'"stopped"' in read_all(connection)
        assert registry.program.process.wait(20) == 0


def test_tokens_and_rights_hold(tmp_path: Path) -> None:
    path = str(tmp_path / "tokens.json")
    backend = tokens.FileTokenBackend(path)
    now = SystemClock().now()
    issued = tokens.create(backend, TokenRequest("r", frozenset({Right.READ})), now)
    bearer = f"Bearer {issued.text}"
    with sampled(tmp_path, auth=True, tokens_file=path) as registry:
        assert registry.call("GET", "/sample/open")[0] == 200
        for call in ("/sample/plain", "/sample/planned"):
            assert registry.call("GET", call)[0] == 401
            assert registry.call("GET", call, Authorization="Bearer no")[0] == 401
            for _ in range(2):
                assert registry.call("GET", call, Authorization=bearer)[0] == 200
        headers = registry.call("GET", "/sample/plain")[1]
        assert "Bearer" in headers["www-authenticate"]
        refused = registry.call("POST", "/sample/body", b"x", Authorization=bearer)
        assert refused[0] == 403
        # Without the right, the body of a call is not even read.
        head = b"POST /sample/body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        with registry.connect(head) as connection:
            assert read_all(connection).startswith(b"HTTP/1.1 401 ")


def test_rates_hold(tmp_path: Path) -> None:
    rates = {"read_rate": "2/minute", "write_rate": "2/minute"}
    with sampled(tmp_path, **rates) as registry:
        listed = [registry.call("GET", "/sample/list")[0] for _ in range(4)]
        written = [registry.call("POST", "/sample/body", b"x")[0] for _ in range(4)]
        looked_up = [registry.call("GET", "/sample/plain")[0] for _ in range(4)]

    assert listed[0] == written[0] == 200
    assert listed[-1] == written[-1] == 429
    assert looked_up == [200] * 4
