"""Unmodified Envoys follow what is registered, by each way that there is."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.envoy.mesh import Mesh, calling, status, until
from support.registry import eventually
from support.servers import envoy as program
from support.servers.envoy import ADS, REST, Envoy

WAYS = ("whole", "delta", "rest")
ZONE = {"locality": {"region": "eu", "zone": "z1"}}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    program.find()
    mesh = Mesh(tmp_path_factory.mktemp("mesh"))
    yield mesh
    mesh.stop()


@pytest.fixture(scope="module")
def running(mesh: Mesh) -> Iterator[list[Envoy]]:
    folder, xds = mesh.folder, mesh.xds_port
    envoys = [
        Envoy(folder, ADS, xds, "whole", node=ZONE, api_type="GRPC"),
        Envoy(folder, ADS, xds, "delta", node=ZONE),
        Envoy(folder, REST, mesh.registry.port, "rest", node=ZONE),
    ]
    try:
        for envoy in envoys:
            envoy.wait_until(envoy.is_live)
        yield envoys
    finally:
        for envoy in envoys:
            envoy.kill()


@pytest.fixture
def envoys(mesh: Mesh, running: list[Envoy]) -> Iterator[list[Envoy]]:
    yield running
    mesh.clear()


@pytest.mark.parametrize("mark", [ADS, REST])
def test_the_documented_configurations_are_valid(mark: str, tmp_path: Path) -> None:
    config = tmp_path / "envoy.json"
    config.write_text(json.dumps(program.documented(mark)))
    command = [str(program.find()), "--mode", "validate", "-c", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stdout


def test_no_call_fails_while_providers_come_drain_and_die(
    mesh: Mesh, envoys: list[Envoy]
) -> None:
    mesh.start("a")
    with calling(envoys) as callers:
        mesh.start("b")
        callers.wait_for("a", "b")
        mesh.call("PUT", "services/a/drain", {"reason": "a new version"})
        callers.wait_for("b")
        mesh.call("DELETE", "services/a/drain")
        callers.wait_for("a", "b")
        mesh.providers["b"].kill()
        eventually(lambda: mesh.call("GET", "services/b")["status"] == "unhealthy")
        callers.wait_for("a")
        mesh.start("c")
        callers.wait_for("a", "c")
        mesh.registry.unregister("a")
        callers.wait_for("c")


def test_a_capability_with_slashes_is_named_in_a_header(
    mesh: Mesh, envoys: list[Envoy]
) -> None:
    mesh.start("a", capabilities=["team/greet"])
    with calling(envoys, "team/greet", "X-Capability") as callers:
        callers.wait_for("a")


def test_calls_stay_in_the_zone_while_it_has_providers(
    mesh: Mesh, envoys: list[Envoy]
) -> None:
    mesh.start("near", zone="z1", region="eu")
    with calling(envoys) as callers:
        mesh.start("far", zone="z2", region="us")
        mesh.start("next", zone="z3", region="eu")
        until(envoys, lambda envoy: envoy.hosts("greet") == 3)
        callers.wait_for("near")
        mesh.providers["near"].kill()
        callers.wait_for("next")
        mesh.registry.unregister("next")
        callers.wait_for("far")


def test_calls_follow_a_split_and_its_end(mesh: Mesh, envoys: list[Envoy]) -> None:
    mesh.start("old", version="1.0.0")
    with calling(envoys) as callers:
        mesh.call("PUT", "capabilities/greet/split", {"v1": 1, "v2": 0})
        mesh.start("new", version="2.0.0")
        callers.wait_for("old")
        mesh.call("PUT", "capabilities/greet/split", {"v1": 1, "v2": 3})
        # One that polls may hear of the new provider before it hears of the split.
        callers.wait_for_shares("new", 0.5, 0.95)
        mesh.call("PUT", "capabilities/greet/split", {"v1": 0, "v2": 1})
        callers.wait_for("new")
        mesh.call("DELETE", "capabilities/greet/split")
        callers.wait_for("old", "new")


def test_host_names_are_looked_up(mesh: Mesh, envoys: list[Envoy]) -> None:
    port = mesh.start("a", capabilities=["elsewhere"])
    location = f"http://localhost:{port}"
    mesh.register("a", {"location": location, "mode": "http"})
    with calling(envoys) as callers:
        callers.wait_for("a")


def test_with_nobody_healthy_a_call_fails_at_once(
    mesh: Mesh, envoys: list[Envoy]
) -> None:
    mesh.start("a")
    with calling(envoys):
        pass
    mesh.call("PUT", "services/a/drain", {"reason": "gone"})
    until(envoys, lambda envoy: status(envoy, {"Host": "greet"}) == 503)


def test_calls_go_on_while_the_registry_restarts_and_changes_follow(
    mesh: Mesh, envoys: list[Envoy]
) -> None:
    mesh.start("a")
    with calling(envoys) as callers:
        mesh.restart()
        mesh.start("b")
        callers.wait_for("a", "b")
    eventually(lambda: mesh.nodes().keys() == set(WAYS))


def test_what_each_node_accepted_is_shown(mesh: Mesh, envoys: list[Envoy]) -> None:
    mesh.start("a")
    with calling(envoys):
        pass

    def accepted() -> bool:
        nodes = mesh.nodes()
        return all(
            nodes[way]["up_to_date"]
            and nodes[way]["types"]["clusters"]["accepted"]
            == nodes[way]["types"]["clusters"]["sent"]
            for way in ("whole", "delta")
        )

    eventually(accepted)
    assert mesh.nodes()["rest"]["by"] == "rest"


@pytest.mark.parametrize("api_type", ["GRPC", "DELTA_GRPC"])
def test_what_a_node_refuses_is_shown_in_its_own_words(
    mesh: Mesh, api_type: str
) -> None:
    name = f"refuses-{api_type.lower()}"
    node = {"metadata": {"egress": "nowhere:15001"}}
    envoy = Envoy(mesh.folder, ADS, mesh.xds_port, name, node=node, api_type=api_type)
    try:
        eventually(lambda: bool(mesh.nodes().get(name, {}).get("rejected")))
        row = mesh.nodes()[name]
        assert row["rejected"]["type"] == "listeners"
        assert "nowhere" in row["rejected"]["message"]
        assert not row["up_to_date"]
    finally:
        envoy.kill()
    eventually(lambda: name not in mesh.nodes())
