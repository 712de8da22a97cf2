"""The packages as they are released: built, checked, installed alone, and run."""

import os
import re
import shutil
import subprocess
import sys
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest
import requests

from modularity_registry import __version__
from support import REPOSITORY
from support.registry import eventually
from support.serving import free_port

HOME = "https://code.example/modularity/registry"
ENVIRON = os.environ | {
    "MODULARITY_HOME": HOME,
    "MODULARITY_CONTACT": "maintainers@code.example",
}
NAMES = ("modularity_registry", "modularity_client")
VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def run(*command: str | Path, **environ: str) -> str:
    """Run a command that must succeed, and return all that it prints."""
    result = subprocess.run(
        command,
        env=ENVIRON | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def uv() -> str:
    found = shutil.which("uv")
    if found is None:
        pytest.skip("uv is not installed; PyPI has it in the package uv")
    return found


def interpreters() -> dict[str, str]:
    """Return the Pythons of this machine by version; the one that runs is there."""
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": sys.executable}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for version in VERSIONS:
        named = shutil.which(f"python{version}")
        candidates = [Path(named)] if named else []
        candidates += sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
        for python in candidates:
            # A version manager may put a program there that starts none.
            if subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
                found.setdefault(version, str(python))
    return found


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of both packages."""
    folder = tmp_path_factory.mktemp("dist")
    build = (uv(), "build", "--all-packages", "--out-dir", folder)
    run(*build, "--directory", REPOSITORY)
    return folder


def wheel(dist: Path, name: str) -> Path:
    return dist / f"{name}-{__version__}-py3-none-any.whl"


def metadata(dist: Path, name: str) -> Message:
    with ZipFile(wheel(dist, name)) as archive:
        path = f"{name}-{__version__}.dist-info/METADATA"
        return message_from_bytes(archive.read(path))


def install(venv: Path, python: str, *what: str | Path) -> Path:
    """Install packages into a new environment, and return its folder of programs."""
    run(uv(), "venv", "--no-project", "--python", python, venv)
    programs = venv / "bin"
    to = ("--python", programs / "python")
    run(uv(), "pip", "install", *to, "--no-config", *what)
    return programs


def answers(command: list[str | Path]) -> None:
    """Start a registry with this command, and ask it how it is."""
    port = free_port()
    process = subprocess.Popen(
        [*command, "serve", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"

        def is_healthy() -> bool:
            try:
                health = requests.get(f"{url}/health", timeout=5).json()
            except requests.ConnectionError:
                return False
            assert health["version"] == __version__
            return bool(health["status"] == "healthy")

        eventually(is_healthy, 30)
        assert "</html>" in requests.get(f"{url}/", timeout=5).text
        assert requests.get(f"{url}/docs", timeout=5).status_code == 200
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_both_are_built_in_the_same_way() -> None:
    # Each has its own copy, since its sdist is built alone.
    hooks = {
        (REPOSITORY / "packages" / name / "hatch_build.py").read_text()
        for name in ("registry", "client")
    }
    assert len(hooks) == 1


def test_an_index_takes_them(dist: Path) -> None:
    files = [*dist.glob("*.whl"), *dist.glob("*.tar.gz")]
    assert len(files) == 4
    run(sys.executable, "-m", "twine", "check", "--strict", *files)


@pytest.mark.parametrize("name", NAMES)
def test_pyroma_rates_them_nine_or_more(dist: Path, name: str) -> None:
    sdist = dist / f"{name}-{__version__}.tar.gz"
    run(Path(sys.executable).with_name("pyroma"), "--min", "9", sdist)


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_leads_somewhere_wherever_it_is_read(dist: Path, name: str) -> None:
    fields = metadata(dist, name)
    readme = str(fields.get_payload())
    targets = re.findall(r"\]\(([^)]*)\)", readme)
    assert targets and all(target.startswith(("https://", "#")) for target in targets)
    files = [target for target in targets if target.startswith(f"{HOME}/blob/main/")]
    assert files
    for target in files:
        path = target.removeprefix(f"{HOME}/blob/main/").partition("#")[0]
        assert (REPOSITORY / path).exists(), target
    urls = dict(url.split(", ") for url in fields.get_all("Project-URL") or [])
    assert urls["Homepage"] == HOME


def test_without_a_home_the_readme_has_no_dead_links(tmp_path: Path) -> None:
    build = (uv(), "build", "--package", "modularity-client", "--wheel")
    run(*build, "--out-dir", tmp_path, "--directory", REPOSITORY, MODULARITY_HOME="")
    fields = metadata(tmp_path, "modularity_client")
    assert re.findall(r"\]\((?!https?:|#)", str(fields.get_payload())) == []
    assert fields.get_all("Project-URL") is None


@pytest.mark.parametrize("version", interpreters())
def test_the_wheels_work_alone(dist: Path, tmp_path: Path, version: str) -> None:
    python = interpreters()[version]
    wheels = [wheel(dist, name) for name in NAMES]
    programs = install(tmp_path / "registry", python, *wheels)
    program = programs / "modularity-registry"
    for command in ([program], [programs / "python", "-m", "modularity_registry"]):
        assert run(*command, "--version").strip().endswith(__version__)
    answers([program])
    programs = install(tmp_path / "client", python, wheel(dist, "modularity_client"))
    lines = "import modularity_client as m; m.Registry('http://127.0.0.1:1').close()"
    run(programs / "python", "-W", "error", "-c", lines)


def test_the_sdists_work_alone(dist: Path, tmp_path: Path) -> None:
    sdists = [dist / f"{name}-{__version__}.tar.gz" for name in NAMES]
    programs = install(tmp_path / "venv", sys.executable, *sdists)
    answers([programs / "python", "-m", "modularity_registry"])


def test_it_is_a_tool_of_uv(dist: Path, tmp_path: Path) -> None:
    folders = {"UV_TOOL_DIR": tmp_path / "tools", "UV_TOOL_BIN_DIR": tmp_path / "bin"}
    environ = {name: str(path) for name, path in folders.items()}
    add = ("tool", "install", "--no-config", "--with", wheel(dist, "modularity_client"))
    run(uv(), *add, wheel(dist, "modularity_registry"), **environ)
    assert __version__ in run(tmp_path / "bin" / "modularity-registry", "--version")
