"""A module in a framework: its three calls, and that it is a member while served."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import fastapi as fastapi_package
import flask as flask_package
import pytest
import requests

from client_support import SUPPORT
from client_support.harness import HOST, RegistryProcess, eventually
from modularity_client import Registry, fastapi, flask
from modularity_client.module import Contract, HealthWarning, InvocationError
from support.serving import free_port

MODULE = SUPPORT / "module.py"
NAMES = ["greet", "fail", "refuse", "strange", "fall-ill"]


@dataclass(frozen=True)
class Module:
    """A module's process and address, and the registry that it joins."""

    kind: str
    url: str
    registry: RegistryProcess
    process: subprocess.Popen[str]

    def get(self, path: str) -> tuple[int, Any]:
        reply = requests.get(f"{self.url}{path}", timeout=10)
        return reply.status_code, reply.json()

    def invoke(self, **body: Any) -> tuple[int, Any]:
        reply = requests.post(f"{self.url}/_module/invoke", timeout=10, **body)
        if reply.status_code != 200:
            assert reply.headers["content-type"] == "application/problem+json"
        return reply.status_code, reply.json()


@contextmanager
def serving(kind: str) -> Iterator[Module]:
    with ExitStack() as stack:
        registry, port = RegistryProcess(), free_port()
        stack.callback(registry.kill)
        registry.start()
        process = subprocess.Popen(
            [sys.executable, str(MODULE), kind, str(port)],
            env=os.environ | {"REGISTRY_URL": registry.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        stack.callback(process.communicate)
        stack.callback(process.kill)
        module = Module(kind, f"http://{HOST}:{port}", registry, process)
        eventually(lambda: registry.status("hello-service") is not None)
        yield module


@pytest.fixture(scope="module", params=["flask", "fastapi"])
def module(request: pytest.FixtureRequest) -> Iterator[Module]:
    """A module that goes on as it is."""
    with serving(request.param) as module:
        yield module


@pytest.fixture(params=["flask", "fastapi"])
def spare(request: pytest.FixtureRequest) -> Iterator[Module]:
    """A module that may end."""
    with serving(request.param) as module:
        yield module


def test_it_is_found_by_what_it_can_do_and_well_at_the_first_look(
    module: Module,
) -> None:
    def checked() -> bool:
        service = module.registry.get("/api/services/hello-service")
        return service["evidence"]["outcome"] is not None

    eventually(checked)
    service = module.registry.get("/api/capabilities/greet")
    assert (service["id"], service["location"]) == ("hello-service", module.url)
    assert (service["status"], service["failed_checks"]) == ("healthy", 0)
    assert service["capabilities"][: len(NAMES)] == NAMES
    assert (service["metadata"], service["ttl"]) == ({"runtime": "python"}, 15.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_unregisters_when_it_ends(spare: Module, number: signal.Signals) -> None:
    spare.process.send_signal(number)
    out, _ = spare.process.communicate(timeout=30)
    assert spare.registry.status("hello-service") is None
    if spare.kind == "fastapi":
        assert "the application's own lifespan has ended\n" in out


def test_its_three_calls_are_those_of_a_module(module: Module) -> None:
    assert module.get("/_module/health") == (200, {"status": "healthy"})
    status, answer = module.get("/_module/capabilities")
    assert (status, answer["id"]) == (200, "hello-service")
    assert answer["capabilities"][: len(NAMES)] == NAMES
    greeting = {"capability": "greet", "result": {"message": "Hello, Ada!"}}
    call = {"capability": "greet", "params": {"name": "Ada"}}
    assert module.invoke(json=call) == (200, greeting)
    plain = module.invoke(json={"capability": "greet"})[1]
    assert plain["result"]["message"] == "Hello, world!"
    if module.kind == "fastapi":
        later = {"capability": "later", "params": {"name": "Ada"}}
        assert module.invoke(json=later)[1]["result"] == "Ada"


def test_a_call_that_can_not_be_made_is_refused_with_the_reason(
    module: Module,
) -> None:
    status, unknown = module.invoke(json={"capability": "sing"})
    assert (status, unknown["code"]) == (404, "capability_not_found")
    assert unknown["error"] == unknown["detail"]
    assert "greet" in unknown["detail"]
    wrong: list[Any] = [[], {}, {"capability": "greet", "params": 1}, {"capability": 1}]
    for body in wrong:
        assert module.invoke(json=body)[0] == 400
    json = {"Content-Type": "application/json"}
    assert module.invoke(data=b"{", headers=json)[0] == 400
    assert module.invoke(data=b'{"capability": "greet"}')[0] == 400
    params = {"surname": "Lovelace"}
    status, answer = module.invoke(json={"capability": "greet", "params": params})
    assert (status, "surname" in answer["detail"]) == (400, True)


def test_what_a_handler_raises_reaches_the_caller_or_the_log(module: Module) -> None:
    why = {"capability": "refuse", "params": {"why": "I am busy"}}
    status, answer = module.invoke(json=why)
    assert (status, answer["code"], answer["detail"]) == (409, "busy", "I am busy")
    for name in ("fail", "strange"):
        status, answer = module.invoke(json={"capability": name})
        assert (status, answer["code"]) == (500, "internal_error")
        assert "nobody's business" not in str(answer)


def test_what_it_says_of_its_health_is_what_the_registry_is_told(spare: Module) -> None:
    ill = {"capability": "fall-ill", "params": {"reason": "the disk is full"}}
    assert spare.invoke(json=ill)[0] == 200
    assert spare.get("/_module/health") == (
        503,
        {"status": "unhealthy", "reason": "the disk is full"},
    )


def test_with_fastapi_it_joins_only_once_it_can_be_reached(
    own: Callable[[], RegistryProcess],
) -> None:
    registry, app, port = own(), fastapi_package.FastAPI(), free_port()
    registry.start()
    fields: dict[str, Any] = {"id": "m", "name": "M", "capabilities": {"x": print}}
    location = f"http://{HOST}:{port}"
    module = fastapi.Module(app, Registry(registry.url), location=location, **fields)

    async def main() -> None:
        async with app.router.lifespan_context(app):
            assert module.membership is not None
            assert not await asyncio.to_thread(module.membership.wait, 0.5)
            with socket.create_server((HOST, port)):
                assert await asyncio.to_thread(module.membership.wait, 60)

    asyncio.run(main())
    assert registry.status("m") is None


def test_nothing_happens_before_it_is_served() -> None:
    before = threading.active_count()
    fields: dict[str, Any] = {"id": "m", "name": "M", "capabilities": {"x": print}}
    modules = (
        flask.Module(flask_package.Flask("m"), **fields),
        fastapi.Module(fastapi_package.FastAPI(), **fields),
    )
    for module in modules:
        assert module.membership is None
        assert module.contract.names == ("x",)
        with pytest.raises(RuntimeError, match="MODULE_LOCATION"):
            module.start()
        with pytest.raises(ValueError, match="already"):
            module.capability("x")(print)
    assert threading.active_count() == before


def test_a_module_joins_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODULE_LOCATION", f"http://{HOST}:{free_port()}")
    monkeypatch.setenv("REGISTRY_URL", f"http://{HOST}:{free_port()}")
    module = flask.Module(flask_package.Flask("m"), id="m", name="M")
    membership = module.start()
    assert module.start() is membership
    membership.leave()


def test_a_server_on_all_addresses_has_to_be_told_its_own() -> None:
    module = flask.Module(flask_package.Flask("m"), id="m", name="M")
    with pytest.raises(RuntimeError, match="is not set"):
        module.run("0.0.0.0")
    later = fastapi.Module(fastapi_package.FastAPI(), id="m", name="M")
    with pytest.raises(SystemExit):
        later.run("0.0.0.0")


def test_a_health_check_that_fails_is_a_reason() -> None:
    contract = Contract("m")
    contract.watch_health(lambda: str(1 // 0))
    answer = contract.health()
    assert (answer.status, b"ZeroDivisionError" in answer.body) == (503, True)


def test_a_health_check_may_warn() -> None:
    contract = Contract("m")
    contract.watch_health(lambda: HealthWarning("queue is long"))
    answer = contract.health()
    assert answer.status == 200
    said = {"status": "warning", "reason": "queue is long"}
    assert json.loads(answer.body) == said


def test_a_page_can_not_invoke_without_asking() -> None:
    contract = Contract("m")
    contract.add("x", print)
    for content_type in ("", "text/plain", "application/x-www-form-urlencoded"):
        with pytest.raises(InvocationError):
            contract.read(b'{"capability": "x"}', content_type)
    assert contract.read(b'{"capability": "x"}', "application/json; charset=utf-8")


@pytest.mark.parametrize(
    ("metadata", "declared"),
    [
        (None, ["pay"]),
        ({"region": "eu"}, ["pay"]),
        ({"not_repeatable": ["book"]}, ["book", "pay"]),
        ({"not_repeatable": True}, True),
    ],
)
def test_what_must_not_be_repeated_is_in_the_metadata(
    metadata: dict[str, Any] | None, declared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: dict[str, Any] = {}

    class Joined:
        owner = os.getpid()

        def start(self) -> "Joined":
            return self

    def join(registry: Registry, **fields: Any) -> Joined:
        joined.update(fields)
        return Joined()

    monkeypatch.setattr(Registry, "join", join)
    fields: Any = {"id": "m", "name": "M", "location": "http://a:1"}
    if metadata is not None:
        fields["metadata"] = metadata
    module = flask.Module(flask_package.Flask("x"), **fields)
    module.capability("pay", repeatable=False)(lambda: None)
    module.capability("greet")(lambda: None)
    module.start()
    assert joined["metadata"]["not_repeatable"] == declared
    assert set(metadata or ()) <= joined["metadata"].keys()
