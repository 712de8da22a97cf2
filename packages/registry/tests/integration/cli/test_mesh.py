"""The group mesh against a registry that has no mesh, or has no such intention."""

from collections.abc import Iterator

import pytest

from modularity_registry.cli.mesh.command import NO_MESH
from support.cli import Served
from support.serving import free_port


@pytest.fixture(scope="module")
def without_mesh() -> Iterator[Served]:
    registry = Served()
    yield registry
    registry.kill()


@pytest.mark.parametrize(
    "command",
    [
        ("intention", "set", "web", "billing", "allow"),
        ("intention", "rm", "web", "billing"),
        ("intention", "check", "web", "billing"),
        ("intention", "ls"),
        ("rotate-authority",),
        ("status",),
    ],
)
def test_a_registry_without_a_mesh_is_called_so(
    without_mesh: Served, command: tuple[str, ...]
) -> None:
    result = without_mesh.run("mesh", *command)
    assert result.exit_code == 1
    assert result.stderr.endswith(f"{NO_MESH}\n")


def test_an_intention_that_is_not_there_is_called_so() -> None:
    settings = {"integrations": ["envoy", "mesh"], "xds_port": free_port()}
    registry = Served(**settings)
    try:
        result = registry.run("mesh", "intention", "rm", "web", "billing")
    finally:
        registry.kill()
    assert result.exit_code == 1
    assert "no intention" in result.stderr and NO_MESH not in result.stderr
