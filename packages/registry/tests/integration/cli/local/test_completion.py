"""Completion: the shells' scripts, and ids and capabilities as words."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from modularity_registry.cli.completion import VARIABLE
from support.cli import Served, environ, run, words
from support.serving import HOST, free_port


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    registry = Served()
    try:
        registry.register("hello-1", capabilities=["greet", "greet/formal"])
        registry.register("hello-2", capabilities=["report"])
        registry.register("other")
        yield registry
    finally:
        registry.kill()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script(shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert f"{VARIABLE}={shell}_complete" in result.stdout
    if shutil.which(shell):
        check = [shell, "-n"] if shell != "fish" else [shell, "--no-execute"]
        subprocess.run(check, input=result.stdout, text=True, check=True, timeout=20)


def test_other_shells_are_refused() -> None:
    assert run("completion", "cmd").exit_code == 2


def test_commands_and_flags_are_completed() -> None:
    nowhere = f"http://{HOST}:{free_port()}"
    assert words(nowhere, "und") == {"undrain"}
    assert "--strategy" in words(nowhere, "find", "--s")
    assert words(nowhere, "config", "") == {"check", "init", "show"}
    assert words(nowhere, "--u") == {"--url"}
    assert "--health-check-fall" in words(nowhere, "config", "check", "--health")


def test_ids_are_completed(served: Served) -> None:
    assert words(served.url, "info", "hel") == {"hello-1", "hello-2"}
    assert words(served.url, "unregister", "hello-1", "h") == {"hello-2"}
    assert words("http://x", "drain", "--url", served.url, "o") == {"other"}
    assert words("http://x", "--url", served.url, "drain", "o") == {"other"}
    assert words(served.url, "watch", "--service", "o") == {"other"}


def test_capabilities_are_completed(served: Served) -> None:
    served.run("drain", "hello-1")
    greetings = {"greet", "greet/formal"}
    assert words(served.url, "explain", "gr") == greetings
    assert words(served.url, "find", "rep") == {"report"}
    assert words(served.url, "discover", "greet", "--optional", "gr") == greetings
    assert words(served.url, "ls", "--capability", "greet/") == {"greet/formal"}


def test_a_registry_that_is_away_costs_a_moment_and_says_nothing() -> None:
    with ExitStack() as stack:
        import socket

        silent = stack.enter_context(socket.create_server((HOST, 0)))
        urls = [
            f"http://{HOST}:{free_port()}",
            f"http://{HOST}:{silent.getsockname()[1]}",
            "not a URL",
        ]
        for url in urls:
            started = time.monotonic()
            assert words(url, "info", "h") == set()
            assert time.monotonic() - started < 10


def test_bash_really_completes(served: Served) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed; Debian has it in the package bash")
    script = run("completion", "bash").stdout
    program = f"""{script}
COMP_WORDS=(modularity-registry info hello-2) COMP_CWORD=2
_modularity_registry_completion modularity-registry
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        [bash, "-c", program],
        env=environ(REGISTRY_URL=served.url) | {"PATH": _path()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("hello-2\n", "")


def _path() -> str:
    import os
    import sys
    from pathlib import Path

    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
