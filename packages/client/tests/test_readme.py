"""The README's programs run, and its tables are right."""

import re
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask
from werkzeug.serving import make_server

from client_support import REPOSITORY
from client_support.harness import RegistryProcess
from modularity_client import AsyncRegistry, Registry, RegistryError, errors

README = (REPOSITORY / "packages" / "client" / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def program(part: str) -> str:
    (found,) = [each for each in PROGRAMS if part in each]
    return str(found)


@pytest.fixture
def registry(
    shared: RegistryProcess, monkeypatch: pytest.MonkeyPatch
) -> RegistryProcess:
    monkeypatch.setenv("REGISTRY_URL", shared.url)
    return shared


def test_three_lines_make_a_member(registry: RegistryProcess) -> None:
    seen: list[str | None] = []
    lines = program("serve()")
    assert len(re.findall(r"^.+$", lines, re.MULTILINE)) == 3
    exec(lines, {"serve": lambda: seen.append(registry.status("hello"))})
    assert seen == ["healthy"]
    assert registry.status("hello") is None


def test_others_are_found(
    registry: RegistryProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    place: dict[str, Any] = {"mode": "ipc", "metadata": {"region": "eu"}}
    with Registry() as client:
        client.register(
            id="b", name="B", capabilities=["greet"], location="over there", **place
        )
        exec(program("iter_services"), {})
        assert capsys.readouterr().out == "over there\nb 1.0.0\n"
        client.drain("b")
        exec(program("iter_services"), {})
        assert (
            "the capability 'greet' has no healthy provider" in capsys.readouterr().out
        )
        client.unregister("b")


def test_a_module_is_called_by_a_resolver(
    registry: RegistryProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, Any] = {"__name__": "hello"}
    exec(program("import Flask"), namespace)
    server = _served(namespace["module"].app)
    try:
        module = namespace["module"]
        # As the server's hook does it.
        sys.modules["hello"] = ModuleType("hello")
        sys.modules["hello"].module = module  # type: ignore[attr-defined]  # made up
        module._fields["location"] = server.url
        hook: dict[str, Any] = {}
        exec(program("when_ready"), hook)
        hook["when_ready"](SimpleNamespace())
        assert module.membership.wait(60)
        exec(program("Resolver"), {})
        said = capsys.readouterr().out
        assert said == f"{server.url}\n{{'message': 'Hello, Ada!'}}\n"
    finally:
        del sys.modules["hello"]
        module.membership.leave()
        server.close()


def test_the_module_for_fastapi_is_one() -> None:
    namespace: dict[str, Any] = {}
    exec(program("import FastAPI"), namespace)
    assert isinstance(namespace["app"], FastAPI)
    assert namespace["module"].contract.names == ("greet",)


def test_every_error_is_in_the_table_with_its_codes() -> None:
    rows = re.findall(r"^\| (`[A-Z].*?) \| (.*?) \|$", README, re.MULTILINE)
    shown: dict[str, set[str]] = {}
    for names, codes in rows:
        kinds, said = re.findall("`([A-Z][A-Za-z]+)`", names), codes.split(":")[0]
        listed = re.findall("`([a-z_]+)`", said)
        if ", a" in names:  # the second is what the first is one of
            assert getattr(errors, kinds[1]) in getattr(errors, kinds[0]).__mro__
            kinds = kinds[:1]
        each = len(listed) // len(kinds) if len(kinds) > 1 else len(listed)
        for number, kind in enumerate(kinds):
            shown[kind] = set(listed[number * each : (number + 1) * each])
    for name, codes in shown.items():
        real = set(getattr(errors, name).codes)
        assert codes == (
            real if name not in ("BadReply", "RegistryUnreachable") else set()
        )
    bases = {"RegistryError", "NotFound", "Unavailable"}
    real_names = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, RegistryError)
    }
    assert shown.keys() == real_names - bases


def test_every_method_is_named() -> None:
    listed = README.partition("HTTP API](../../docs/api.md): ")[2].partition(". What")[
        0
    ]
    named = set(re.findall(r"`(\w+)`", listed))
    apart = {"join", "close", "ask"}
    for kind in (Registry, AsyncRegistry):
        methods = {name for name in vars(kind) if not name.startswith("_")}
        assert methods - apart == named


def test_namespaces_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process = RegistryProcess("--namespace", "team-a")
    try:
        process.start()
        monkeypatch.setenv("REGISTRY_URL", process.url)
        exec(program("registry.namespaces()"), {})
    finally:
        process.kill()
    assert capsys.readouterr().out == "default 0 0\nteam-a 0 0\n"


def _served(app: Flask) -> Any:
    """The application on a port of its own, in a thread."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def close() -> None:
        server.shutdown()
        thread.join(10)
        server.server_close()

    return SimpleNamespace(url=f"http://127.0.0.1:{server.port}", close=close)
