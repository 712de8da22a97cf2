"""Namespaces in real processes: checks, leases, streams, workers, replicas."""

import http.client
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from support.registry import eventually, registration
from support.servers.streams import Running, running

NAMES = ["team-a", "team-b"]
A, B = "/api/ns/team-a", "/api/ns/team-b"


@contextmanager
def answering() -> Iterator[tuple[str, threading.Event]]:
    """A service; it answers its checks while the event is set."""
    well = threading.Event()
    well.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if well.is_set() else 500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", well
        server.shutdown()


def register(registry: Running, api: str, service_id: str, **changes: Any) -> int:
    body = registration(service_id, **{"mode": "standalone", **changes})
    reply = requests.post(f"{registry.url}{api}/register", json=body, timeout=10)
    return reply.status_code


def get(registry: Running, path: str) -> Any:
    with requests.Session() as session:  # of a connection of its own
        return session.get(registry.url + path, timeout=10).json()


def status(registry: Running, path: str) -> Any:
    return get(registry, path).get("status")


def test_services_are_checked_in_each_namespace() -> None:
    with answering() as (location, well):
        settings = {"health_check_interval": 0.2, "health_check_fall": 1}
        with running(namespace=NAMES, **settings) as registry:
            for api in (A, B):
                register(registry, api, "web", mode="http", location=location)
            for api in (A, B):
                eventually(
                    lambda api=api: (  # type: ignore[misc]
                        get(registry, f"{api}/stats")["checks"]["succeeded"] > 0
                    )
                )
            assert get(registry, "/api/stats")["checks"]["succeeded"] == 0
            requests.delete(f"{registry.url}{B}/services/web", timeout=10)
            well.clear()
            eventually(lambda: status(registry, f"{A}/services/web") == "unhealthy")
            well.set()
            eventually(lambda: status(registry, f"{A}/services/web") == "healthy")
            history = get(registry, f"{A}/services/web/history")["history"]
            assert [change["status"] for change in history][-2:] == [
                "unhealthy",
                "healthy",
            ]


def test_a_lease_ends_in_its_namespace_alone() -> None:
    with running(namespace=NAMES) as registry:
        register(registry, A, "web", ttl=1)
        register(registry, B, "web")
        eventually(lambda: status(registry, f"{A}/services/web") == 404)
        assert status(registry, f"{B}/services/web") == "healthy"


def test_what_is_registered_outlives_a_restart(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/registry.db"
    with running(store=store, namespace=NAMES) as registry:
        register(registry, "/api", "web", name="default")
        register(registry, A, "web", name="of a")
    with running(store=store) as registry:  # without them, nothing is in the way
        assert get(registry, "/api/services")["count"] == 1
        assert get(registry, f"{A}/services")["code"] == "unknown_namespace"
    with running(store=store, namespace=["team-a"]) as registry:
        assert get(registry, f"{A}/services/web")["name"] == "of a"
        assert get(registry, "/api/services/web")["name"] == "default"


def test_workers_serve_all_namespaces(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/registry.db"
    with running(store=store, namespace=NAMES, workers=2) as registry:
        for number in range(10):
            register(registry, A, f"s{number}")

        def counts(api: str) -> set[int]:
            def ask(_: int) -> int:
                count: int = get(registry, f"{api}/services")["count"]
                return count

            with ThreadPoolExecutor(8) as pool:
                return set(pool.map(ask, range(24)))

        eventually(lambda: counts(A) == {10})
        assert counts(B) == counts("/api") == {0}


def test_replicas_over_one_store_have_the_same_namespaces(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/registry.db"
    settings: dict[str, Any] = {"store": store, "namespace": NAMES}
    with running(**settings) as one, running(**settings) as two:
        register(one, A, "web")
        eventually(lambda: status(two, f"{A}/services/web") == "healthy")
        url = f"{two.url}{A}/services/web"
        assert requests.put(f"{url}/drain", timeout=10).status_code == 200
        eventually(lambda: status(one, f"{A}/services/web") == "draining")
        assert get(one, f"{B}/services")["count"] == 0


def test_a_stream_and_a_wait_hear_of_their_namespace() -> None:
    with running(namespace=NAMES) as registry:
        connection = http.client.HTTPConnection("127.0.0.1", registry.port, timeout=10)
        with closing(connection):
            connection.request("GET", f"{A}/events")
            stream = connection.getresponse()
            assert stream.status == 200

            def lines_until(text: bytes) -> bytes:
                lines = b""
                while text not in lines:
                    line = stream.readline()
                    assert line
                    lines += line
                return lines

            lines_until(b"event: connected")
            revision = get(registry, f"{A}/services")["revision"]
            path = f"{A}/services?wait=20&revision={revision}"
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(get, registry, path)
                eventually(lambda: get(registry, f"{A}/stats")["watchers"] == 2)
                register(registry, "/api", "default")
                register(registry, B, "of-b")
                assert get(registry, "/api/stats")["watchers"] == 0
                register(registry, A, "of-a")
                assert waiting.result(20)["count"] == 1
            heard = lines_until(b'"id":"of-a"')
            assert b"of-b" not in heard and b"default" not in heard


def test_bodies_in_pieces_and_too_large_are_as_in_the_default() -> None:
    with running(namespace=NAMES) as registry:
        replies = []
        for api in ("/api", A):
            with socket.create_connection(("127.0.0.1", registry.port), 10) as caller:
                head = (
                    f"POST {api}/register HTTP/1.1\r\nHost: x\r\n"
                    "Content-Type: application/json\r\nX-Request-ID: mine\r\n"
                )
                caller.sendall(f"{head}Content-Length: 2000000\r\n\r\n".encode())
                replies.append(_all(caller))
        assert replies[0] == replies[1]
        assert b" 413 " in replies[0]
        replies = []
        for api in ("/api", A):
            with socket.create_connection(("127.0.0.1", registry.port), 10) as caller:
                caller.sendall(
                    f"POST {api}/register HTTP/1.1\r\nHost: x\r\n"
                    "Content-Type: application/json\r\nX-Request-ID: mine\r\n"
                    "Connection: close\r\nExpect: 100-continue\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n".encode()
                )
                assert caller.recv(100).startswith(b"HTTP/1.1 100 ")
                caller.sendall(b"2\r\n{}\r\n0\r\n\r\n")
                replies.append(_all(caller))
        assert replies[0] == replies[1]
        assert b" 400 " in replies[0]


def _all(caller: socket.socket) -> bytes:
    data = b""
    while piece := caller.recv(65_536):
        data += piece
    # It differs by the second.
    return b"\r\n".join(
        line for line in data.split(b"\r\n") if not line.lower().startswith(b"date:")
    )
