"""A registry that has no file descriptors left, or too few for its limits."""

import http.client
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from support import PROGRAMS
from support.access.tls import Authority, serving
from support.cli import environ
from support.registry import eventually
from support.serving import HOST, Server, free_port, read_some, running


@contextmanager
def no_descriptors(pid: int) -> Iterator[None]:
    """Let the process keep what it has open, and open nothing more."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def refused(server: Server) -> bool:
    """Whether a new connection gets no reply."""
    try:
        server.get("/", timeout=1.0)
    except (OSError, http.client.HTTPException):
        return True
    return False


def test_open_connections_are_served_without_any_left() -> None:
    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with running() as server, server.connect(get) as kept:
        assert read_some(kept, b"}").startswith(b"HTTP/1.1 200")
        with no_descriptors(server.process.pid):
            for _ in range(5):
                assert refused(server)
            kept.sendall(get)
            assert read_some(kept, b"}").startswith(b"HTTP/1.1 200")
        eventually(lambda: not refused(server))


def test_health_is_degraded_without_any_left(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.write("server")
    with serving(
        tmp_path, authority.context(), tls_cert=str(cert), tls_key=str(key)
    ) as registry:
        kept = registry.connect()

        def reasons() -> Any:
            kept.request("GET", "/health")
            return json.loads(kept.getresponse().read()).get("reasons", [])

        assert reasons() == []
        with no_descriptors(registry.process.pid):
            eventually(lambda: any("file descriptors" in each for each in reasons()))
        eventually(lambda: reasons() == [])
        kept.close()
    assert registry.said().count("out of file descriptors") == 1
    assert registry.said().count("there are file descriptors again") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_limits_that_leave_no_room_are_refused_with_what_to_do(
    tmp_path: Path, workers: int
) -> None:
    command = [sys.executable, str(PROGRAMS / "cli.py"), "serve"]
    command += ["--port", str(free_port()), "--workers", str(workers)]
    command += ["--store", f"sqlite:///{tmp_path}/registry.db"]
    command += ["--max-connections", "1500"]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -n 2048 && exec "$@"', "_", *command],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    for said in ("(2048)", "ulimit -n", "--max-connections", "--max-watchers"):
        assert said in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_default_limits_are_lowered_to_what_there_is_and_everyone_is_answered(
    tmp_path: Path, workers: int
) -> None:
    port = free_port()
    command = [sys.executable, str(PROGRAMS / "cli.py"), "serve"]
    command += ["--port", str(port), "--workers", str(workers)]
    command += ["--store", f"sqlite:///{tmp_path}/registry.db"]
    limited = ["bash", "-c", 'ulimit -n 1024 && exec "$@"', "_", *command]
    log = tmp_path / "log"
    with log.open("wb") as errors, ExitStack() as stack:
        program = subprocess.Popen(limited, env=environ(), stderr=errors)
        stack.callback(program.wait)
        stack.callback(program.terminate)

        def get(path: str) -> tuple[int, Any]:
            line = http.client.HTTPConnection(HOST, port, timeout=10)
            line.request("GET", path)
            reply = line.getresponse()
            status, body = reply.status, reply.read()
            line.close()
            return status, json.loads(body)

        def is_up() -> bool:
            assert program.poll() is None, log.read_text()
            with suppress(OSError):
                return get("/ready")[0] == 200
            return False

        eventually(is_up)
        # More than the places for watchers: all are told so, and nobody is left alone.
        for _ in range(500):
            stream = stack.enter_context(socket.create_connection((HOST, port), 10))
            stream.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n")
            assert stream.recv(99).startswith(b"HTTP/1.1 ")
        for _ in range(20):
            assert get("/api/stats")[0] == 200
        assert "descriptors" not in str(get("/health")[1].get("reasons"))
    lowered = "--max-watchers is 456 and --max-connections 311"
    assert log.read_text().count(lowered) == 1
    assert program.returncode == 0
