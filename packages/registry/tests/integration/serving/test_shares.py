"""Nobody's share of bodies, connections and streams is taken by other callers."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from integration.serving.test_authorization_served import Closed, closed
from support.access.authorization import bearer
from support.registry import eventually, registration
from support.serving import HOST, read_all, read_some

MOST = 64
"""Bodies in pieces that one client may have under way."""


def slow(port: int, headers: str, route: str = "POST /api/register") -> socket.socket:
    """Begin a body of 900 bytes that never ends."""
    caller = socket.create_connection((HOST, port), 10)
    head = f"{route} HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n{headers}\r\n"
    caller.sendall(head.encode() + b'{"id":')
    return caller


def statuses(callers: list[socket.socket]) -> set[bytes]:
    return {read_some(caller, b"}")[9:12] for caller in callers}


def registers(port: int, headers: str) -> bool:
    """Register by a body in two pieces."""
    body = json.dumps(registration("other", mode="embedded")).encode()
    head = (
        "POST /api/register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{headers}\r\n"
    )
    with socket.create_connection((HOST, port), 10) as caller:
        caller.sendall(head.encode() + body[:9])
        try:
            caller.settimeout(0.2)
            early = caller.recv(9999)  # where there is no place, it is said by now
        except TimeoutError:
            caller.settimeout(10.0)
            caller.sendall(body[9:])
            early = read_some(caller, b"}")
    return early[9:12] in (b"200", b"201")


@contextmanager
def asking(tmp_path: Path, *flags: str) -> Iterator[tuple[Closed, str]]:
    with closed(tmp_path, *flags) as registry:
        [token] = registry.tokens
        yield registry, f"Authorization: {bearer(token)['Authorization']}\r\n"


@pytest.mark.parametrize("kind", ["none", "bad", "page", "route", "rate"])
def test_bodies_of_refused_calls_keep_nobody_from_registering(
    tmp_path: Path, kind: str
) -> None:
    with asking(tmp_path, "--write-rate", "5/hour") as (registry, authorized):
        [admin] = registry.tokens
        writer = registry.create(admin, "writer", "register")
        own = f"Authorization: Bearer {writer}\r\n"
        if kind == "rate":
            while registers(registry.port, own):
                pass
        route = "POST /api/other" if kind == "route" else "POST /api/register"
        headers, status = {
            "none": ("", b"401"),
            "bad": ("Authorization: Bearer mreg_no\r\n", b"401"),
            "page": (authorized + "Origin: http://other.example\r\n", b"403"),
            "route": (authorized, b"404"),
            "rate": (own, b"429"),
        }[kind]
        with ExitStack() as stack:
            callers = []
            for _ in range(200):
                callers.append(slow(registry.port, headers, route))
                stack.enter_context(callers[-1])
            # Long before their time for a body is over.
            assert statuses(callers) <= {status, b"429"}
            assert registers(registry.port, authorized)
            for caller in callers[:3]:
                read_all(caller)  # the registry has closed it
        taken = 'registry_places_refused_total{kind="bodies",reason="share"} 0.0'
        assert taken in registry.ask("/metrics", admin).text


def test_bodies_behind_a_proxy_are_those_of_the_client_that_it_names(
    tmp_path: Path,
) -> None:
    with (
        asking(tmp_path, "--anonymous", "register", "--trusted-proxies", HOST) as (
            registry,
            _,
        ),
        ExitStack() as stack,
    ):
        for _ in range(MOST):
            stack.enter_context(slow(registry.port, "Forwarded: for=10.0.0.1\r\n"))
        over = stack.enter_context(slow(registry.port, "Forwarded: for=10.0.0.1\r\n"))
        assert statuses([over]) == {b"503"}
        assert registers(registry.port, "Forwarded: for=10.0.0.2\r\n")
        assert registers(registry.port, "Forwarded: for=10.0.0.3\r\n")


def test_streams_and_rates_behind_a_proxy_are_those_of_the_client_that_it_names(
    tmp_path: Path,
) -> None:
    flags = ("--anonymous", "read", "--trusted-proxies", HOST, "--read-rate", "9/hour")
    with asking(tmp_path, *flags, "--max-watchers-per-client", "1") as (registry, _):
        first, other = ({"Forwarded": f"for=10.0.0.{n}"} for n in (1, 2))
        events, services = registry.url + "/api/events", registry.url + "/api/services"
        with ExitStack() as stack:

            def stream(headers: dict[str, str]) -> int:
                reply = requests.get(events, headers=headers, stream=True, timeout=5)
                return stack.enter_context(reply).status_code

            assert [stream(first), stream(first), stream(other)] == [200, 429, 200]
            seen = [
                requests.get(services, headers=first, timeout=5).status_code
                for _ in range(10)
            ]
            assert seen[0] == 200
            assert seen[-1] == 429
            assert requests.get(services, headers=other, timeout=5).status_code == 200


def test_full_connections_show_in_health_metrics_and_one_line_of_the_log(
    tmp_path: Path,
) -> None:
    limits = ("--max-connections", "3", "--max-watchers", "1", "--trusted-proxies")
    with asking(tmp_path, *limits, HOST) as (registry, authorized):
        [admin] = registry.tokens
        with requests.Session() as kept, ExitStack() as stack:
            kept.headers.update(bearer(admin))
            url = registry.url
            assert kept.get(f"{url}/health", timeout=5).json()["status"] == "healthy"
            for _ in range(3):
                stack.enter_context(slow(registry.port, authorized))
            for _ in range(5):
                # What it has sent is not read, and all the same it sees why.
                refused = stack.enter_context(slow(registry.port, authorized))
                assert b"too_many_connections" in read_all(refused)
            health = kept.get(f"{url}/health", timeout=5).json()
            assert health["status"] == "degraded"
            assert "all 4 places for connections are taken" in health["reasons"][0]
            shown = kept.get(f"{url}/metrics", timeout=5).text
        for line in (
            'registry_places_taken{kind="connections"} 4.0',
            'registry_places_limit{kind="connections"} 4.0',
            'registry_places_refused_total{kind="connections",reason="full"} 5.0',
        ):
            assert line in shown
        eventually(lambda: "a moment ago" in str(registry.ask("/health", admin).json()))
    assert registry.log.count("all 4 places for connections are taken") == 1
