"""The options for a registry: before a command, and after it, which wins."""

from collections.abc import Iterator

import pytest

from modularity_registry.cli.options.connection import CONNECTION
from support.cli import Stub, run
from support.serving import HOST, free_port

NOWHERE = f"http://{HOST}:{free_port()}"
SERVICES = {"services": [], "count": 0, "revision": 1}


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub({"/api/services": SERVICES, "/api/tokens": {"tokens": []}})
    try:
        yield stub
    finally:
        stub.close()


@pytest.mark.parametrize("command", [("ls",), ("token", "list")])
def test_the_url_and_the_token_work_before_and_after(
    command: tuple[str, ...], stub: Stub
) -> None:
    given = ("--url", stub.url, "--token", "t-1")
    for line in ((*given, *command), (*command, *given)):
        assert run(*line).exit_code == 0, line
    assert [headers["Authorization"] for headers in stub.headers] == ["Bearer t-1"] * 2


def test_after_the_command_wins_and_before_it_wins_over_the_environment(
    stub: Stub,
) -> None:
    line = ("--url", NOWHERE, "--token", "t-1", "ls", "--url", stub.url)
    assert run(*line, "--token", "t-2").exit_code == 0
    environ = {"REGISTRY_URL": NOWHERE, "REGISTRY_TOKEN": "t-4"}
    assert run("--url", stub.url, "--token", "t-3", "ls", **environ).exit_code == 0
    assert [headers["Authorization"] for headers in stub.headers] == [
        "Bearer t-2",
        "Bearer t-3",
    ]
    assert NOWHERE in run("--url", stub.url, "ls", "--url", NOWHERE).stderr


@pytest.mark.parametrize("flag", ["--ca-file", "--client-cert"])
def test_the_files_for_tls_work_before_and_after(flag: str) -> None:
    before, after = (
        run(*line)
        for line in ((flag, "first", "ls"), (flag, "first", "ls", flag, "second"))
    )
    assert before.exit_code == after.exit_code == 2
    assert "first can't be used" in before.stderr.replace("first and its key", "first")
    assert "second" in after.stderr and "first" not in after.stderr


def test_the_token_file_works_before(tmp_path_factory: pytest.TempPathFactory) -> None:
    missing = tmp_path_factory.mktemp("none") / "missing"
    assert f"{missing} can't be read" in run("--token-file", str(missing), "ls").stderr


@pytest.mark.parametrize("flag", CONNECTION)
@pytest.mark.parametrize("command", ["serve", "config check", "store new-epoch"])
def test_a_command_that_calls_no_registry_refuses_them(flag: str, command: str) -> None:
    result = run(flag, "x", *command.split())
    assert result.exit_code == 2
    assert f"{command.split()[0]} does not take {flag}." in result.stderr


def test_a_store_and_a_registry_before_the_command_are_refused() -> None:
    result = run("--url", NOWHERE, "token", "list", "--store", "sqlite:///r.db")
    assert result.exit_code == 2
    assert "--store and --url can't be used together" in result.stderr
