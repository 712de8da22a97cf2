"""The demo: services that call each other, one that flaps, and nothing left behind."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modularity_registry.cli.demo.shop import ENTRANCE, ROLES, is_failing, plan
from support import TESTS
from support.access.tokens import as_, asked, closed
from support.cli import Served, environ, run
from support.registry import eventually
from support.serving import HOST, free_port

FLAPPING = "demo-ranking-2"
CALLED = {
    ("demo-web-1", "demo-catalog-2"),
    ("demo-web-1", FLAPPING),
    ("demo-catalog-1", "demo-prices-1"),
}


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    registry = Served(health_check_interval=1.0)
    try:
        yield registry
    finally:
        registry.kill()


@pytest.fixture
def served(running: Served) -> Iterator[Served]:
    """A registry that is empty again after each test."""
    yield running
    if left := ids(running):
        running.run("unregister", *left)


def ids(registry: Served) -> list[str]:
    return [service["id"] for service in registry.get("/api/services")["services"]]


def called(registry: Served) -> set[tuple[str, str]]:
    return {(edge["from"], edge["to"]) for edge in registry.get("/api/graph")["edges"]}


@contextmanager
def demonstrated(url: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "support.programs.cli", "demo", *arguments],
        env=environ(REGISTRY_URL=url, PYTHONPATH=str(TESTS)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_twelve_services_call_each_other_and_one_flaps(served: Served) -> None:
    served.register("mine", capabilities=["mine"])
    with demonstrated(served.url) as demo:
        eventually(lambda: len(ids(served)) == 13)
        begun = time.monotonic()
        # Unregistered by someone who looks around, it comes back.
        assert served.run("unregister", "demo-mail-1").exit_code == 0
        flapping = f"/api/services/{FLAPPING}"
        assert served.get(flapping)["ttl"] == 6
        eventually(lambda: served.get(flapping)["status"] == "unhealthy")
        explained = served.run("explain", "demo.rank").stdout
        assert "model file missing" in explained
        eventually(lambda: "demo-mail-1" in ids(served))

        eventually(lambda: called(served) >= CALLED)
        edges = served.get("/api/graph")["edges"]
        calls = sum(edge["weight"] for edge in edges)
        assert calls < 60 * (time.monotonic() - begun + 1)
        failing = {edge["to"] for edge in edges if edge["success_rate"] < 1}
        assert failing <= {FLAPPING}

        demo.send_signal(signal.SIGTERM)
        out, errors = demo.communicate(timeout=20)
        assert (demo.returncode, errors) == (0, "")
        assert ids(served) == ["mine"]
        assert f"12 services of a shop are at {served.url}:" in out
        assert f"{served.url}/#/graph" in out
        assert out.endswith("Unregistered 12 services.\n")


def test_a_killed_demo_is_gone_when_its_leases_end(served: Served) -> None:
    with demonstrated(served.url, "--services", "3") as demo:
        eventually(lambda: len(ids(served)) == 3)
        demo.send_signal(signal.SIGKILL)
        demo.wait(20)
        # Another waits for that, rather than take what may still be used.
        another = served.run("demo", "--seconds", "1")
        assert another.exit_code == 1
        assert "stop it, or wait 60 s if it was killed" in another.stderr
        assert len(ids(served)) == 3
        leases = [served.get(f"/api/services/{each}")["ttl"] for each in ids(served)]
        assert leases == [6, 6, 6]


def test_it_ends_by_itself_on_the_ports_that_it_is_told(served: Served) -> None:
    port = free_port()
    done = served.run(
        "demo", "--services", "3", "--seconds", "0.2", "--port-from", str(port)
    )
    assert done.exit_code == 0, done.stderr
    assert f"http://{HOST}:{port + 2}" in done.stdout
    assert "demo-ranking-1 fails for 15 s of every 40 s" in done.stdout
    assert ids(served) == []


def test_what_others_have_registered_is_left_alone(served: Served) -> None:
    served.register("demo-cart-1")
    done = served.run("demo", "--seconds", "0.2")
    assert (done.exit_code, ids(served)) == (1, ["demo-cart-1"])
    assert "registered there already (demo-cart-1 is" in done.stderr
    assert served.get("/api/services/demo-cart-1")["location"] == "worker 7"


def test_a_registry_that_can_not_reach_this_machine_is_told(
    served: Served,
) -> None:
    elsewhere = Served(allowed_networks="private")
    try:
        done = elsewhere.run("demo", "--seconds", "0.2")
        assert (done.exit_code, ids(elsewhere)) == (1, [])
        assert "run modularity-registry demo where the registry runs" in done.stderr
    finally:
        elsewhere.kill()
    nobody = run("demo", REGISTRY_URL=f"http://{HOST}:{free_port()}")
    assert nobody.exit_code == 1
    assert "start it, correct --url" in nobody.stderr
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        done = served.run("demo", "--seconds", "0.2", "--port-from", port)
    assert (done.exit_code, ids(served)) == (1, [])
    assert "can't start the services" in done.stderr and port in done.stderr


def test_a_token_needs_every_right_that_the_shop_uses(tmp_path: Path) -> None:
    with closed(tmp_path) as (registry, boss):

        def demo(token: str) -> Any:
            return as_(registry, token, "demo", "--services", "3", "--seconds", "5")

        nobody = demo("")
        assert nobody.exit_code == 1
        assert "give a token with --token-file" in nobody.stderr
        made = asked(registry, boss, "create", "half", "--right", "register")
        half = demo(made.stdout.strip())
        assert half.exit_code == 1
        assert "give a token with --token-file" in half.stderr
        left = as_(registry, boss, "ls")
        assert left.stdout == "No services registered.\n"


def test_each_role_has_a_service_before_any_has_two() -> None:
    twelve = plan(12)
    assert len({each.id for each in twelve}) == 12
    assert [each.id for each in twelve if each.flaps] == [FLAPPING]
    assert [each.id for each in plan(3) if each.flaps] == ["demo-ranking-1"]
    assert ENTRANCE in {each.role.capability for each in plan(3)}
    provided = {role.capability for role in ROLES}
    assert all(need in provided for role in ROLES for need in role.needs)
    assert all(name.startswith("demo.") for name in provided)


def test_it_fails_for_fifteen_seconds_of_forty() -> None:
    failing = [second for second in range(80) if is_failing(second)]
    assert failing == [*range(10, 25), *range(50, 65)]
