"""gRPC's own resolver for ``xds:///`` finds providers without a proxy."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.envoy.mesh import Mesh
from support import PROGRAMS
from support.registry import eventually
from support.servers.envoy import GRPC, documented
from support.servers.program import Program


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    mesh = Mesh(tmp_path)
    yield mesh
    mesh.stop()


class Caller(Program):
    """A program that calls a target again and again, by gRPC's own means."""

    def __init__(self, folder: Path, target: str, bootstrap: object) -> None:
        super().__init__(
            [sys.executable, PROGRAMS / "grpc_caller.py", target],
            folder / "caller.log",
            {**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)},
        )

    def wait_for(self, *names: str) -> None:
        """Return when all of these answer the next calls, and nobody else."""

        def answers() -> bool:
            before = len(self.lines())
            eventually(lambda: len(self.lines()) >= before + 12)
            return set(self.lines()[before : before + 12]) == set(names)

        eventually(answers)

    def lines(self) -> list[str]:
        """Return what it has printed."""
        return self.log.read_text().splitlines()


def test_no_call_fails_while_providers_come_and_die(mesh: Mesh, tmp_path: Path) -> None:
    capability = "team/echo"
    mesh.start("a", "grpc", capabilities=[capability])
    bootstrap = documented(GRPC)
    bootstrap["xds_servers"][0]["server_uri"] = f"127.0.0.1:{mesh.xds_port}"
    caller = Caller(tmp_path, f"xds:///{capability}", bootstrap)
    try:
        caller.wait_for("a")
        mesh.start("b", "grpc", capabilities=[capability], version="2.0.0")
        caller.wait_for("a", "b")
        split = {"v2": 1, "v1": 0}
        mesh.call("PUT", f"capabilities/{capability}/split", split)
        caller.wait_for("b")
        mesh.call("DELETE", f"capabilities/{capability}/split")
        caller.wait_for("a", "b")
        mesh.providers["a"].kill()
        caller.wait_for("b")
        assert mesh.nodes().keys() == {"orders-1"}
    finally:
        caller.kill()
    assert not [line for line in caller.lines() if line not in ("a", "b")]
