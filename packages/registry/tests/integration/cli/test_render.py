"""The commands render and haproxy against a real registry; proxies are in `e2e`."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli import Served, run
from support.registry import eventually
from support.servers.program import Program

IDS = "{{ services('greet') | map(attribute='id') | join(' ') }}"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    registry = Served(namespace=["team-a"])
    try:
        registry.register("a")
        yield registry
    finally:
        registry.kill()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "t.j2"
    path.write_text(f"{IDS}\n")
    return path


def test_without_a_file_the_text_is_printed(served: Served, template: Path) -> None:
    assert served.run("render", str(template)).stdout == "a\n"
    other = ("--namespace", "team-a", "render", str(template))
    assert served.run(*other).stdout == "\n"
    template.write_text("{{ nobody }}")
    result = served.run("render", str(template))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{template}:1: 'nobody' is undefined" in result.stderr


def test_once_writes_and_reloads_or_says_why_not(
    served: Served, template: Path, tmp_path: Path
) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    line = ["render", *[str(template)] * 2, "--once"]
    for file in files:
        line += ["--output", str(file)]
    reload = f"{sys.executable} -c 'raise SystemExit(4)'"
    result = served.run(*line, "--reload", reload)
    assert [file.read_text() for file in files] == ["a\n", "a\n"]
    assert result.exit_code == 1 and "ended with code 4" in result.stderr
    # There is nothing to write, so there is nothing to reload.
    assert served.run(*line, "--reload", reload).exit_code == 0


def test_files_follow_the_registry_until_sigterm(
    served: Served, template: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out"
    line = [sys.executable, "-m", "modularity_registry", "render", str(template)]
    line += ["--output", str(file), "--debounce", "10"]
    program = Program(line, tmp_path / "log", {"REGISTRY_URL": served.url})
    try:
        eventually(lambda: file.exists() and file.read_text() == "a\n")
        served.register("b")
        eventually(lambda: file.read_text() == "a b\n")
        # What is edited counts from the next change on.
        template.write_text(f"{IDS}{{% if true %}}")
        served.run("unregister", "b")
        program.wait_until(lambda: "t.j2:1: " in program.log.read_text())
        assert file.read_text() == "a b\n"
        template.write_text(f"{IDS}!\n")
        eventually(lambda: file.read_text() == "a!\n")
    finally:
        program.signal(signal.SIGTERM)
        assert program.process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("render", "/no/such"), "does not exist"),
        (("render", __file__, "--output", "a", "--output", "b"), "one file for each"),
        (("render", __file__, "--reload", "true"), "need --output"),
        (("render", __file__, "--check", "'"), "No closing quotation"),
        (("render", __file__, "--check", " "), "must name a program"),
        (("haproxy", "--socket", "/s", "--backend", "x"), "is not BACKEND=CAPABILITY"),
        (
            ("haproxy", "--socket", "/s", "--backend", "x=y", "--near", "a b"),
            "zone 'a b' must be",
        ),
    ],
)
def test_mistakes_in_the_command_are_told(
    arguments: tuple[str, ...], says: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())


def test_what_is_away_is_told(served: Served, template: Path, tmp_path: Path) -> None:
    result = run("render", str(template), REGISTRY_URL="http://127.0.0.1:1")
    assert result.exit_code == 1 and "no registry answers" in result.stderr
    socket = str(tmp_path / "none.sock")
    line = ("haproxy", "--socket", socket, "--backend", "web=greet", "--once")
    result = served.run(*line)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{socket}: No such file or directory" in result.stderr
