"""What init writes runs, joins, answers, leaves, and passes the linters."""

import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from modularity_client import Registry, Resolver
from modularity_registry.cli.init.module_file import (
    REQUIREMENTS,
    NewModule,
    function_name,
)
from support.cli import Served, environ, run
from support.registry import eventually
from support.serving import HOST, free_port

MOST_LINES = {"fastapi": 10, "flask": 12}


@pytest.mark.parametrize("framework", REQUIREMENTS)
def test_the_module_joins_is_called_by_capability_and_leaves(
    framework: str, served: Served, tmp_path: Path
) -> None:
    target, port, capability = tmp_path / "module.py", free_port(), f"greet/{framework}"
    options = ("--framework", framework, "--id", f"{framework}-greeter")
    written = run(
        "init", str(tmp_path), *options, "--capability", capability, "--port", str(port)
    )
    assert written.exit_code == 0, written.stderr
    assert f"python {target}" in written.stdout
    assert f"'{REQUIREMENTS[framework]}'" in written.stdout

    with ExitStack() as stack:
        registry = stack.enter_context(Registry(served.url))
        process = subprocess.Popen(
            [sys.executable, str(target)],
            env=environ(REGISTRY_URL=served.url),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.callback(process.communicate)
        stack.callback(process.kill)
        eventually(lambda: joined(registry, f"{framework}-greeter"))
        provider = registry.capability(capability)
        assert provider.location == f"http://{HOST}:{port}"
        assert provider.name == f"{framework.capitalize()} greeter"
        resolver = stack.enter_context(Resolver(registry, capability))
        assert resolver.invoke(capability, {"name": "Ada"}) == "Hello, Ada!"

        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=20)[1]
        assert not joined(registry, f"{framework}-greeter")
        page = f"{served.url}/#/services/{framework}-greeter"
        assert f"joined {served.url} as http://{HOST}:{port}; see {page}\n" in said


def joined(registry: Registry, service_id: str) -> bool:
    return any(service.id == service_id for service in registry.services())


def test_what_it_writes_is_short_typed_and_formatted(tmp_path: Path) -> None:
    for framework in REQUIREMENTS:
        target = tmp_path / f"my_{framework}.py"
        assert run("init", str(target), "--framework", framework).exit_code == 0
        lines = [line for line in target.read_text().splitlines() if line.strip()]
        assert len(lines) <= MOST_LINES.get(framework, 50)
    rules = "E,F,W,I,B,UP,SIM,RUF,C4"
    for command in (
        ("mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"),
        ("ruff", "check", "--isolated", f"--select={rules}", "--no-cache"),
        ("black", "--check"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command, *sorted(map(str, tmp_path.glob("*.py")))],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_is_overwritten_only_when_told_to(tmp_path: Path) -> None:
    target = tmp_path / "new" / "greeter.py"
    assert run("init", str(target)).exit_code == 0
    target.write_text("mine\n")
    refused = run("init", str(target))
    assert (refused.exit_code, target.read_text()) == (1, "mine\n")
    assert f"{target} exists" in refused.stderr
    assert "--force" in refused.stderr
    assert run("init", str(target), "--force").exit_code == 0
    assert "Module" in target.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("--id", "a b"), 2, "--id: must be 1-128 of A-Z"),
        (("--capability", "greet//x"), 2, "--capability: must be of A-Z"),
        (("--capability", "g" * 129), 2, "--capability: must have at most 128"),
        (("--port", "65536"), 2, "--port"),
        (("--framework", "django"), 2, "--framework"),
        (("flask.py",), 1, "flask.py would hide the Python package flask"),
        (("taken/below",), 1, "can't write taken/below/module.py: Not a directory"),
        (("taken",), 1, "can't write taken/module.py: File exists"),
    ],
)
def test_what_can_not_be_written_is_told(
    arguments: tuple[str, ...],
    code: int,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    result = run("init", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert why in re.sub(r"\s+", " ", result.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("capability", "name"),
    [
        ("greet", "greet"),
        ("greet/Formal.v2", "greet_formal_v2"),
        ("print", "handle_print"),
        ("class", "handle_class"),
        ("module", "handle_module"),
        ("2fa", "handle_2fa"),
    ],
)
def test_a_function_has_a_name_that_python_takes(capability: str, name: str) -> None:
    assert function_name(capability) == name
    for framework in REQUIREMENTS:
        text = NewModule("price-list", capability, 9001, framework).text()
        compile(text, "module.py", "exec")
        assert f"def {name}(" in text
        assert 'name="Price list"' in text
