"""The whole registry with DNS on, as it is started."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest
import requests

from modularity_registry.dns import listen
from support.integrations.dns import HOST, SECONDS, texts
from support.registry import eventually, registration
from support.servers.program import Program
from support.serving import free_port

CLI = "from modularity_registry.cli.main import main; main()"
NAME = "hello-service.service.test.internal"


def free_dns_port() -> int:
    sockets = listen(HOST, 0)
    port = sockets.port
    sockets.close()
    return port


class Running:
    """A registry in processes of its own, with one service."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.port, self.dns_port = free_port(), free_dns_port()
        self.url = f"http://{HOST}:{self.port}"
        target = f"{self.port}.127-0-0-1.addr.test.internal."
        self.answer = [f"1 1 {self.port} {target}"]
        command: list[str | Path] = [sys.executable, "-c", CLI, "serve"]
        settings = {
            "REGISTRY_PORT": str(self.port),
            "REGISTRY_DNS_PORT": str(self.dns_port),
            "REGISTRY_DNS_DOMAIN": "test.internal",
            **environ,
        }
        self.program = Program(command, folder / "registry.log", settings)
        self.program.wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def register(self) -> int:
        """Register a service and return its revision."""
        # It is its own service, since that is there and well.
        body = registration(location=self.url, health={"path": "/health"})
        reply = requests.post(f"{self.url}/api/register", json=body, timeout=5)
        assert reply.status_code == 201, reply.text
        revision: int = reply.json()["revision"]
        return revision

    def workers_at(self, revision: int) -> int:
        """Return how many workers have come to ``revision``, as far as can be seen."""
        # The kernel picks a worker for each connection.
        replies = [requests.get(f"{self.url}/health", timeout=5) for _ in range(30)]
        bodies = [reply.json() for reply in replies]
        return len({each["replica"] for each in bodies if each["revision"] >= revision})

    def find(self, seconds: float = SECONDS) -> list[str]:
        """Return what DNS knows of the service."""
        query = dns.message.make_query(NAME, "SRV")
        for _ in range(2):  # as any resolver does: a datagram may be lost
            with suppress(dns.exception.Timeout):
                return texts(dns.query.udp(query, HOST, seconds, self.dns_port).answer)
        return ["no answer"]


@contextmanager
def running(folder: Path, **environ: str) -> Iterator[Running]:
    registry = Running(folder, **environ)
    try:
        yield registry
    finally:
        registry.program.stop()


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in listed.split()]


def ends(**environ: str) -> str:
    """Start a registry that can't start; return what it says."""
    done = subprocess.run(
        [sys.executable, "-c", CLI, "serve"],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    return line


def test_settings_turn_it_on_and_it_ends_with_the_registry(tmp_path: Path) -> None:
    with running(tmp_path) as registry:
        registry.register()
        assert registry.find() == registry.answer
        registry.program.signal(signal.SIGTERM)
        assert registry.program.process.wait(SECONDS) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, registry.dns_port), SECONDS)
        log = registry.program.log.read_text()
        assert "Traceback" not in log and "test.internal" in log


def test_workers_share_the_port_and_one_may_crash(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'registry.db'}"
    with running(tmp_path, REGISTRY_STORE=store, REGISTRY_WORKERS="3") as registry:
        pid = registry.program.process.pid
        eventually(lambda: len(children(pid)) == 3)
        revision = registry.register()
        # Many answers in a row may all come from one of them.
        eventually(lambda: registry.workers_at(revision) == 3)
        for victim in children(pid)[:2]:
            os.kill(victim, signal.SIGKILL)
            for _ in range(30):
                assert registry.find() == registry.answer
        eventually(lambda: len(children(pid)) == 3)
        registry.program.signal(signal.SIGTERM)
        assert registry.program.process.wait(SECONDS) == 0


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_ends_the_start_with_one_line(
    kind: socket.SocketKind, workers: str, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind((HOST, 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        line = ends(
            REGISTRY_PORT=str(free_port()),
            REGISTRY_DNS_PORT=str(port),
            REGISTRY_WORKERS=workers,
            REGISTRY_STORE=f"sqlite:///{tmp_path / 'registry.db'}",
        )
    assert f"port {port}: something else listens there" in line
    assert "--dns-port" in line


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("REGISTRY_DNS_PORT", "x", "0 to 65535"),
        ("REGISTRY_DNS_PORT", "tcp://10.0.0.1:53", "Kubernetes"),
        ("REGISTRY_DNS_DOMAIN", "a_b", "registry.internal"),
        ("REGISTRY_DNS_TTL", "-1", "0 to 86400"),
        ("REGISTRY_DNS_POTR", "1", "REGISTRY_DNS_PORT"),
    ],
)
def test_bad_settings_end_the_start_with_one_line(
    name: str, value: str, said: str
) -> None:
    line = ends(**{name: value})
    assert name in line and said in line


def test_without_a_port_there_is_no_dns(tmp_path: Path) -> None:
    with running(tmp_path, REGISTRY_DNS_PORT="0") as registry:
        reply = requests.get(f"{registry.url}/health", timeout=5)
        assert json.loads(reply.text)["status"] == "healthy"
        assert registry.find(0.2) == ["no answer"]
