"""The hello-world example, run as its reader runs it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from support import REPOSITORY
from support.registry import eventually
from support.serving import free_port

ROOT = REPOSITORY
REGISTRY = ROOT / "packages" / "registry" / "registry_service.py"
EXAMPLE = ROOT / "examples" / "01-hello-world"
GREET = {"capability": "greet", "params": {"name": "Ada"}}


@dataclass(frozen=True)
class World:
    """A registry's and a module's address, and what starts them there."""

    registry: str
    module: str
    start: Callable[[str], subprocess.Popen[bytes]]
    call: Callable[..., subprocess.CompletedProcess[str]]

    def start_registry(self) -> subprocess.Popen[bytes]:
        process = self.start(str(REGISTRY))
        eventually(lambda: answers(f"{self.registry}/ready"))
        return process

    def start_module(self) -> subprocess.Popen[bytes]:
        return self.start(str(EXAMPLE / "hello_service.py"))

    def service(self) -> Any:
        """The module as the registry has it; None if it hasn't."""
        reply = requests.get(f"{self.registry}/api/services/hello-service", timeout=5)
        return reply.json() if reply.ok else None

    def registered(self) -> bool:
        return self.service() is not None

    def checked(self) -> bool:
        service = self.service()
        return bool(service) and service["evidence"]["outcome"] == "ok"


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.fixture
def world() -> Iterator[World]:
    registry, module = free_port(), free_port()
    environ = os.environ | {
        "REGISTRY_PORT": str(registry),
        "REGISTRY_URL": f"http://127.0.0.1:{registry}",
        "HELLO_PORT": str(module),
    }

    with ExitStack() as stack:

        def start(script: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [sys.executable, script],
                env=environ,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 10)
            stack.callback(process.kill)
            return process

        def call(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, str(EXAMPLE / "call.py"), *arguments],
                env=environ,
                capture_output=True,
                text=True,
                timeout=20,
            )

        yield World(
            registry=f"http://127.0.0.1:{registry}",
            module=f"http://127.0.0.1:{module}",
            start=start,
            call=call,
        )


def test_the_module_waits_for_the_registry_then_greets_and_leaves(
    world: World,
) -> None:
    module = world.start_module()
    eventually(lambda: answers(f"{world.module}/_module/health"))
    nobody = world.call("Ada")
    assert nobody.returncode == 1
    assert nobody.stderr.strip() == (
        f"no registry answers at {world.registry}; start it first"
    )

    world.start_registry()
    eventually(world.checked)
    service = world.service()
    assert service["location"] == world.module
    assert service["capabilities"] == ["greet"]
    assert service["status"] == "healthy"

    answer = world.call("Ada")
    assert (answer.returncode, answer.stdout) == (0, "Hello, Ada!\n"), answer.stderr
    assert world.call().stdout == "Hello, world!\n"

    module.send_signal(signal.SIGTERM)
    assert module.wait(10) == 0
    assert not world.registered()
    gone = world.call("Ada")
    assert gone.returncode == 1
    assert "no service offers the capability 'greet' any more" in gone.stderr


def test_a_killed_module_becomes_unhealthy_and_is_not_returned(world: World) -> None:
    world.start_registry()
    module = world.start_module()
    eventually(lambda: world.registered() and world.checked())

    module.kill()
    # Within ten seconds by the default settings, and twice that for a busy machine.
    eventually(lambda: world.service()["status"] == "unhealthy", 20)
    refused = world.call("Ada")
    assert refused.returncode == 1
    assert "has no healthy provider" in refused.stderr

    # The same module, started again, is healthy at once.
    world.start_module()
    eventually(lambda: world.service()["status"] == "healthy")
    assert world.call("Ada").stdout == "Hello, Ada!\n"


def test_a_registry_that_forgot_the_module_is_told_again(world: World) -> None:
    registry = world.start_registry()
    world.start_module()
    eventually(world.registered)
    registry.terminate()
    assert registry.wait(10) == 0

    world.start_registry()
    # Its next heartbeat finds out, within 3 s.
    eventually(world.registered, 15)


def test_ctrl_c_unregisters_as_well(world: World) -> None:
    world.start_registry()
    module = world.start_module()
    eventually(world.registered)
    module.send_signal(signal.SIGINT)
    assert module.wait(10) == 0
    assert not world.registered()


def test_the_module_answers_its_three_calls(world: World) -> None:
    world.start_module()
    eventually(lambda: answers(f"{world.module}/_module/health"))

    def get(path: str) -> Any:
        return requests.get(f"{world.module}{path}", timeout=5).json()

    def invoke(**body: Any) -> tuple[int, Any]:
        reply = requests.post(f"{world.module}/_module/invoke", timeout=5, **body)
        return reply.status_code, reply.json()

    assert get("/_module/health") == {"status": "healthy"}
    assert get("/_module/capabilities") == {
        "id": "hello-service",
        "capabilities": ["greet"],
    }
    assert invoke(json=GREET) == (
        200,
        {"capability": "greet", "result": {"message": "Hello, Ada!"}},
    )
    assert invoke(json={"capability": "sing"})[0] == 404
    assert invoke(data="{")[0] == 400
    wrong: list[Any] = [[], {}, {"capability": "greet", "params": 1}]
    assert [invoke(json=body)[0] for body in wrong] == [400] * len(wrong)
