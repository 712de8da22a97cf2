"""Checks that a service describes itself, against real servers."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from flask import Flask
from grpc_health.v1 import (  # type: ignore[import-untyped]  # no stubs
    health,
    health_pb2,
    health_pb2_grpc,
)
from werkzeug.serving import make_server

from modularity_client.flask import Module
from modularity_registry import schema
from modularity_registry.health.probes import Outcome, Prober, Target
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.name_lookup import NameLookup
from support.access.tls import Authority
from support.registry import registration
from support.serving import in_thread

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Handler(BaseHTTPRequestHandler):
    """Answers as the path says, and remembers what it was asked."""

    asked: ClassVar[list[tuple[str, str, dict[str, str], bytes]]] = []

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((self.command, self.path, dict(self.headers), body))
        answers: dict[str, tuple[int, object]] = {
            "/ready": (200, {"db": {"up": True, "pools": [{"free": 3}]}}),
            "/down": (503, {"reason": "no disk"}),
            "/moved": (302, {}),
            "/bad": (200, {"status": "down", "reason": "no disk"}),
            "/long": (200, "x" * 70_000),
        }
        status, content = answers.get(self.path, (404, {}))
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_HEAD = do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def http_server(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    Handler.asked.clear()
    with in_thread(server):
        yield server.server_port


@contextmanager
def grpc_server(credentials: grpc.ServerCredentials | None = None) -> Iterator[int]:
    """Serve health: all of it and ``pay.Pay`` are well, ``mail.Mail`` is not."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    for name, status in (("", SERVING), ("pay.Pay", SERVING), ("mail.Mail", 2)):
        servicer.set(name, status)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    place = "127.0.0.1:0"
    if credentials is None:
        port = server.add_insecure_port(place)
    else:
        port = server.add_secure_port(place, credentials)
    server.start()
    yield port
    server.stop(None).wait(5)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> tuple[Path, Path]:
    """Of the name localhost and of 127.0.0.1."""
    return authority.write("server")


def probe(
    location: str,
    check: dict[str, Any],
    trust: ssl.SSLContext | None = None,
    mode: str = "http",
    policy: str = "loopback",
) -> Outcome:
    """Return what a check finds, of a service that registered it at ``location``."""
    body = registration(location=location, mode=mode, checks=[{"name": "x"} | check])
    parsed = schema.parse_registration(schema.encode(body))

    async def run() -> Outcome:
        names = NameLookup(lambda host, port: ["127.0.0.1"])
        prober = Prober(
            AddressPolicy.parse(policy), name_lookup=names, ssl_context=trust
        )
        try:
            target = Target(parsed, timeout=5.0, check=parsed.checks[0])
            return await prober.probe(target)
        finally:
            await prober.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("check", "kind", "message"),
    [
        ({"path": "/ready"}, "ok", "HTTP 200"),
        ({"path": "/ready", "method": "HEAD"}, "ok", "HTTP 200"),
        ({"path": "/down"}, "status", "no disk (HTTP 503)"),
        ({"path": "/bad"}, "status", "no disk (HTTP 200, but its status is 'down')"),
        ({"path": "/moved"}, "status", "HTTP 302: redirects are not followed"),
        ({"path": "/moved", "expect": {"status": ["300-303"]}}, "ok", "HTTP 302"),
        ({"path": "/down", "expect": {"status": [200, 503]}}, "ok", "HTTP 503"),
        (
            {"path": "/ready", "expect": {"status": [204, "300-399"]}},
            "status",
            "HTTP 200, expected 204, 300-399",
        ),
        (
            {"path": "/down", "expect": {"json": {"path": "reason", "value": "x"}}},
            "status",
            "HTTP 503, expected 200-299",
        ),
    ],
)
def test_the_status_of_an_answer(
    check: dict[str, Any], kind: str, message: str
) -> None:
    with http_server() as port:
        outcome = probe(f"http://127.0.0.1:{port}", {"kind": "http"} | check)
    assert (outcome.kind, outcome.message) == (kind, message)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("db.up", True, "HTTP 200"),
        ("db.up", 1, "the field db.up is not 1"),
        ("db.pools.0.free", 3, "HTTP 200"),
        ("db.pools.0.free", 4, "the field db.pools.0.free is not 4"),
        ("db.pools.1.free", 3, "the answer has no field db.pools.1.free"),
        ("db.down", None, "the answer has no field db.down"),
    ],
)
def test_a_field_of_a_json_answer(path: str, value: object, message: str) -> None:
    expect = {"json": {"path": path, "value": value}}
    with http_server() as port:
        outcome = probe(
            f"http://127.0.0.1:{port}",
            {"kind": "http", "path": "/ready", "expect": expect},
        )
    assert (outcome.ok, outcome.message) == (message == "HTTP 200", message)


def test_a_body_that_is_too_long_has_no_field() -> None:
    expect = {"json": {"path": "a", "value": 1}}
    with http_server() as port:
        outcome = probe(
            f"http://127.0.0.1:{port}",
            {"kind": "http", "path": "/long", "expect": expect},
        )
    assert "longer than 65,536 bytes" in outcome.message


def test_headers_and_a_body_are_sent() -> None:
    check = {
        "kind": "http",
        "path": "/ready",
        "method": "POST",
        "headers": {"Authorization": "Bearer s", "Content-Type": "application/json"},
        "body": '{"ping": "ä"}',
    }
    with http_server() as port:
        assert probe(f"http://127.0.0.1:{port}", check).ok
    [(method, _, headers, body)] = Handler.asked
    assert (method, body.decode()) == ("POST", '{"ping": "ä"}')
    assert headers["Authorization"] == "Bearer s"
    assert headers["Content-Type"] == "application/json"


def test_the_path_follows_that_of_the_location_but_not_at_another_port() -> None:
    with http_server() as port:
        probe(f"http://127.0.0.1:{port}/api", {"kind": "http", "path": "/ready"})
        check = {"kind": "http", "path": "/ready", "port": port}
        probe("http://127.0.0.1:1/api", check)
        probe("tcp://127.0.0.1:1", check, mode="tcp")
    assert [path for _, path, _, _ in Handler.asked] == [
        "/api/ready",
        "/ready",
        "/ready",
    ]


def test_tcp_at_another_port() -> None:
    with http_server() as port:
        check = {"kind": "tcp", "port": port}
        assert probe("grpc://127.0.0.1:1", check, mode="grpc").message == "connected"
    assert probe("http://127.0.0.1:1", check).kind == "refused"


@pytest.mark.parametrize("kind", ["http", "https", "tcp", "grpc"])
def test_the_address_policy_holds_for_every_kind(kind: str) -> None:
    with http_server() as port:
        for host in ("127.0.0.1", "service"):
            check = {"kind": kind, "port": port}
            outcome = probe(f"http://{host}:80", check, policy="10.0.0.0/8")
            assert outcome.kind == "policy"
    assert Handler.asked == []


def test_https_verifies_unless_told_not_to(
    authority: Authority, certificate: tuple[Path, Path]
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    trust = authority.context()
    check = {"kind": "https", "path": "/ready"}
    with http_server(context) as port:
        location = f"http://service:{port}"
        assert probe(location, check).kind == "tls"
        assert probe(location, check, trust).kind == "tls", "for another name"
        named = check | {"tls": {"server_name": "localhost"}}
        assert probe(location, named, trust).ok
        assert probe(location, named).kind == "tls"
        assert probe(location, check | {"tls": {"verify": False}}).ok


def test_grpc_of_one_service() -> None:
    with grpc_server() as port:
        location = f"grpc://127.0.0.1:{port}"
        messages = [
            probe(location, {"kind": "grpc", "service": name}, mode="grpc").message
            for name in ("", "pay.Pay", "mail.Mail", "none.None")
        ]
    assert messages == [
        "SERVING",
        "SERVING",
        "the server says NOT_SERVING",
        "the server does not know this gRPC service",
    ]


def test_grpc_over_tls(authority: Authority, certificate: tuple[Path, Path]) -> None:
    chain, key = certificate
    pair = (key.read_bytes(), chain.read_bytes())
    trust = authority.context()
    check: dict[str, Any] = {"kind": "grpc", "service": "pay.Pay"}
    with grpc_server(grpc.ssl_server_credentials([pair])) as port:

        def ask(tls: object, trusted: ssl.SSLContext | None = trust) -> str:
            location = f"grpc://service:{port}"
            return probe(location, check | {"tls": tls}, trusted, "grpc").kind

        assert ask({"server_name": "localhost"}) == "ok"
        assert ask({}) == "tls", "for another name"
        assert ask({"server_name": "localhost"}, None) == "tls", "not trusted"
        assert ask(None) in ("closed", "unreachable"), "without TLS"


@contextmanager
def module(module_id: str, *capabilities: str) -> Iterator[int]:
    """Serve a module, made with the client, that greets."""

    def greet(name: str = "world") -> dict[str, str]:
        return {"message": f"Hello, {name}!"}

    app = Flask("module")
    Module(
        app,
        id=module_id,
        name="Hello",
        location="http://127.0.0.1:1",
        capabilities=dict.fromkeys(capabilities, greet),
    )
    server = make_server("127.0.0.1", 0, app)
    with in_thread(server):
        yield server.server_port


INVOKE: dict[str, Any] = {
    "capability": "greet",
    "params": {"name": "Ada"},
    "expect": {"path": "result.message", "value": "Hello, Ada!"},
}


@pytest.mark.parametrize(
    ("capabilities", "invoke", "kind", "message"),
    [
        (["greet"], None, "ok", "provides all 1 registered capabilities"),
        (
            ["greet", "more"],
            INVOKE,
            "ok",
            "provides all 1 registered capabilities, and" " greet answers",
        ),
        (["more"], None, "mismatch", "registered, but not provided: greet"),
        (
            ["greet"],
            INVOKE | {"params": {}},
            "status",
            'the field result.message is not "Hello, Ada!"',
        ),
        (
            ["greet"],
            INVOKE | {"capability": "none"},
            "status",
            "this module provides only greet (/_module/invoke answers HTTP 404)",
        ),
    ],
)
def test_a_module_is_what_it_registered(
    capabilities: list[str], invoke: object, kind: str, message: str
) -> None:
    check = {"kind": "module"} | ({"invoke": invoke} if invoke else {})
    with module("hello-service", *capabilities) as port:
        outcome = probe(f"http://127.0.0.1:{port}", check)
    assert (outcome.kind, outcome.message) == (kind, message)


def test_another_module_at_that_address_is_a_mismatch() -> None:
    with module("another", "greet") as port:
        outcome = probe(f"http://127.0.0.1:{port}", {"kind": "module"})
    assert outcome.kind == "mismatch"


def test_a_server_that_is_no_module_is_not_one() -> None:
    with http_server() as port:
        outcome = probe(f"http://127.0.0.1:{port}", {"kind": "module"})
    assert outcome.message == "/_module/capabilities answers HTTP 404"
