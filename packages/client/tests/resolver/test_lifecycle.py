"""How a resolver ends: closed, forked, or with its process."""

import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from client_support import SUPPORT
from client_support.harness import RegistryProcess, eventually
from client_support.proxy import Proxy
from client_support.services import register, service
from modularity_client import Registry
from modularity_client.events.session import Session
from modularity_client.resolver.call_reports import QUEUE
from modularity_client.resolver.errors import UnknownProviders
from modularity_client.resolver.resolver import Resolver
from support.serving import free_port

CHILD = SUPPORT / "child.py"
Own = Callable[[], RegistryProcess]
Make = Callable[..., Resolver]


@pytest.fixture
def name() -> str:
    """A capability of this test alone."""
    return f"c-{uuid.uuid4().hex[:8]}"


def test_closed_is_closed(shared: RegistryProcess, resolving: Make, name: str) -> None:
    register(shared, name, name)
    resolver = resolving(shared.url)
    resolver.resolve(name)
    resolver.close()
    resolver.close()
    assert resolver.state == "closed"
    with pytest.raises(RuntimeError, match="closed"):
        resolver.resolve(name)
    assert "modularity-resolver" not in {t.name for t in threading.enumerate()}


def test_reports_are_dropped_rather_than_piled_up(resolving: Make) -> None:
    resolver = resolving(f"http://127.0.0.1:{free_port()}", consumer_id="me")
    resolver.start()
    reporter = resolver._lifecycle.follower().reporter
    for _ in range(QUEUE * 2):
        resolver.track(service("a"), "greet", True, 1.0)
    assert reporter.dropped >= QUEUE - 1
    # There is nobody to tell of the others either.
    eventually(lambda: reporter.dropped == QUEUE * 2)


def test_what_ends_after_it_was_closed_harms_nobody(resolving: Make) -> None:
    resolver = resolving(f"http://127.0.0.1:{free_port()}", consumer_id="me")
    resolver.close()
    resolver.report_failure(service("a"))


def test_who_waits_is_let_go_when_it_closes(resolving: Make, name: str) -> None:
    resolver = resolving(f"http://127.0.0.1:{free_port()}")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(resolver.resolve, name, timeout=60)
        eventually(lambda: resolver.state == "away")
        resolver.close()
        with pytest.raises(RuntimeError, match="closed"):
            waiting.result(20)


def test_to_start_without_a_capability_asks_for_nothing(
    shared: RegistryProcess, resolving: Make, name: str
) -> None:
    proxy = Proxy(shared.port)
    resolver = resolving(proxy.url)
    resolver.start()
    register(shared, name, name)
    assert resolver.resolve(name).id == name
    assert b"GET /api/events HTTP" not in proxy.seen
    proxy.close()


def test_a_fault_of_its_own_is_told_and_does_not_make_it_spin(
    resolving: Make,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("a fault")

    monkeypatch.setattr(Session, "request", fail)
    resolver = resolving(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnknownProviders, match="a fault"):
        resolver.resolve(name, timeout=1.5)
    # With pauses that grow there are a few; without any, thousands.
    assert 1 <= len(caplog.records) < 30


# From 3.12 on Python warns of a fork beside threads, which is what is tried here.
FORKS = "ignore:This process:DeprecationWarning"


def child(act: str, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", FORKS, str(CHILD), act, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_fork_begins_anew_and_leaves_its_parent_alone(
    shared: RegistryProcess,
) -> None:
    register(shared, "first", "forked")
    out, errors = child("fork", shared.url).communicate(timeout=60)
    output = json.loads(out)
    assert errors == ""
    assert output["child"] == {
        "state": "idle",
        "ids": ["first", "second"],
        "after": "live",
    }
    assert output["parent"]["state"] == "live"
    with Registry(shared.url) as client:
        client.unregister("second")


def test_a_fork_that_cannot_reach_the_registry_serves_its_parents_view(
    own: Own,
) -> None:
    registry = own()
    registry.start()
    register(registry, "first", "forked")
    process = child("fork_away", registry.url)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    registry.kill()
    out, errors = process.communicate("\n", timeout=60)
    assert errors == ""
    output = json.loads(out)
    assert (output["id"], output["state"]) == ("first", "away")
    assert 0 < output["age"] < 60


def test_an_open_resolver_does_not_keep_a_process(shared: RegistryProcess) -> None:
    register(shared, "first", "forked")
    process = child("leave", shared.url)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (0, "{}\n", "")
