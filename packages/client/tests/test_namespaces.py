"""All that a client does is in its namespace, and nothing of it in another."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask

from client_support.harness import (
    Answer,
    Asker,
    RegistryProcess,
    ScriptedServer,
    eventually,
    problem,
)
from modularity_client import AsyncRegistry, Membership, Registry, Resolver, calls
from modularity_client.errors import UnknownNamespace
from modularity_client.flask import Module
from modularity_client.namespaces import find_namespace, path_in
from support.serving import free_port

Asking = Callable[..., Asker]

GREETER: dict[str, Any] = {
    "name": "A",
    "capabilities": ["greet"],
    "location": "here",
    "mode": "standalone",
}


@pytest.fixture(scope="module")
def process() -> Iterator[RegistryProcess]:
    process = RegistryProcess("--namespace", "team-a,team-b")
    try:
        process.start()
        yield process
    finally:
        process.kill()


@pytest.fixture
def registry(process: RegistryProcess) -> Iterator[RegistryProcess]:
    """One with two more namespaces, all empty."""
    yield process
    for namespace in ("default", "team-a", "team-b"):
        with Registry(process.url, namespace=namespace) as client:
            for service in client.iter_services():
                client.unregister(service.id)


def ids(registry: RegistryProcess, namespace: str) -> list[str]:
    with Registry(registry.url, namespace=namespace) as client:
        return [each.id for each in client.iter_services()]


def test_the_namespace_is_that_of_the_environment_unless_one_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REGISTRY_NAMESPACE", raising=False)
    assert find_namespace(None) == ""
    monkeypatch.setenv("REGISTRY_NAMESPACE", "team-a")
    assert find_namespace(None) == "team-a"
    assert find_namespace("b") == "b"
    assert find_namespace("") == find_namespace("default") == ""
    assert AsyncRegistry("http://a:1").settings.namespace == "team-a"
    assert repr(Registry("http://a:1")) == "Registry(http://a:1, namespace='team-a')"


@pytest.mark.parametrize("name", ["Team", "a/b", "-a", "a b", "a" * 64, "a\n", ".."])
def test_what_is_no_name_is_refused_before_a_call(name: str) -> None:
    for kind in (Registry, AsyncRegistry):
        with pytest.raises(ValueError, match=r"lower-case letters.*namespace="):
            kind("http://127.0.0.1:1", namespace=name)


@pytest.mark.parametrize(
    ("path", "within"),
    [
        ("/api/services", "/api/ns/team-a/services"),
        ("/api/capabilities/a/b", "/api/ns/team-a/capabilities/a/b"),
        ("/api/namespaces", "/api/namespaces"),
        ("/health", "/health"),
        ("/ready", "/ready"),
    ],
)
def test_only_what_is_in_a_namespace_has_it_in_the_path(path: str, within: str) -> None:
    assert path_in("team-a", path) == within
    assert path_in("", path) == path


def test_services_and_lookups_are_in_the_namespace(
    registry: RegistryProcess, asking: Asking
) -> None:
    ask = asking(registry.url, namespace="team-a")
    ask("register", id="mine", **GREETER)
    assert ask("capability", "greet").id == "mine"
    assert [each.id for each in ask("iter_services")] == ["mine"]
    assert [each.service.id for each in ask("discover", "greet")] == ["mine"]
    assert ask("stats").total_services == 1
    assert [each.id for each in ask("graph").nodes] == ["mine"]
    assert ask("ask", calls.service("mine")).value.id == "mine"
    assert ids(registry, "team-b") == ids(registry, "default") == []
    ask("unregister", "mine")
    assert ids(registry, "team-a") == []


def test_namespaces_are_listed_from_any(
    registry: RegistryProcess, asking: Asking
) -> None:
    with Registry(registry.url, namespace="team-b") as client:
        client.put(id="one", **GREETER)
        listed = [
            (each.name, each.services) for each in asking(registry.url)("namespaces")
        ]
        assert listed == [("default", 0), ("team-a", 0), ("team-b", 1)]
        assert [each.name for each in client.namespaces()] == [
            name for name, _ in listed
        ]


def test_a_namespace_that_is_not_there_is_an_error_of_its_own(
    registry: RegistryProcess, asking: Asking
) -> None:
    ask = asking(registry.url, namespace="team-c")
    with pytest.raises(UnknownNamespace, match="team-c") as caught:
        ask("services")
    assert (caught.value.status, caught.value.code) == (404, "unknown_namespace")
    # Not the same as gone: a lost reply and then this is no success.
    with pytest.raises(UnknownNamespace):
        ask("unregister", "x")
    with pytest.raises(UnknownNamespace):
        next(iter(Registry(registry.url, namespace="team-c").events()))


def test_a_member_joins_stays_and_leaves_in_its_namespace(
    registry: RegistryProcess, asking: Asking, caplog: pytest.LogCaptureFixture
) -> None:
    ask = asking(registry.url, namespace="team-a")
    with caplog.at_level(logging.INFO, "modularity_client"), ExitStack() as stack:
        membership: Membership = ask.registry.join(id="member", ttl=1.5, **GREETER)
        ask.enter(stack, membership)
        assert membership.registered
        first = ask("service", "member").last_seen
        # A heartbeat elsewhere would not be seen, and the lease would end.
        eventually(lambda: bool(ask("service", "member").last_seen > first))
        # A member that is forgotten comes back to the same place.
        ask("unregister", "member")
        eventually(lambda: "member" in ids(registry, "team-a"))
        assert ids(registry, "default") == []
    assert ids(registry, "team-a") == []
    joined = next(text for text in caplog.messages if "joined" in text)
    assert "in namespace team-a as here" in joined
    assert joined.endswith(f"{registry.url}/?namespace=team-a#/services/member")


def test_a_member_in_a_namespace_that_is_not_there_says_why(
    registry: RegistryProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        Registry(registry.url, namespace="team-c") as client,
        client.join(id="member", **GREETER) as membership,
    ):
        assert isinstance(membership.error, UnknownNamespace)
    assert "the registry refuses the service: there is no namespace" in caplog.text


def test_a_module_is_in_the_namespace_of_its_registry(
    registry: RegistryProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_URL", registry.url)
    monkeypatch.setenv("REGISTRY_NAMESPACE", "team-b")
    module = Module(Flask("m"), id="module", name="M", location="http://127.0.0.1:9")
    membership = module.start()
    try:
        assert membership.wait(60)
        assert ids(registry, "team-b") == ["module"]
    finally:
        membership.leave()
    assert ids(registry, "team-b") == []


def test_a_resolver_follows_its_namespace_and_reports_there(
    registry: RegistryProcess,
) -> None:
    with ExitStack() as stack:
        apart = {
            name: stack.enter_context(Registry(registry.url, namespace=name))
            for name in ("default", "team-a")
        }
        for name, client in apart.items():
            client.put(id=f"in-{name}", **GREETER)
        resolver = stack.enter_context(
            Resolver(apart["team-a"], "greet", consumer_id="caller")
        )
        assert {resolver.resolve("greet").id for _ in range(4)} == {"in-team-a"}
        apart["default"].put(id="later", **GREETER)
        apart["team-a"].put(id="other", **GREETER)
        eventually(lambda: len(resolver.providers("greet")) == 2)
        assert {each.id for each in resolver.providers("greet")} == {
            "in-team-a",
            "other",
        }
        resolver.track(resolver.resolve("greet"), "greet", True)
        eventually(lambda: bool(apart["team-a"].graph().edges))
        assert apart["default"].graph().edges == ()


def test_a_stream_has_the_events_of_its_namespace(registry: RegistryProcess) -> None:
    with ExitStack() as stack:
        outside = stack.enter_context(Registry(registry.url))
        inside = stack.enter_context(Registry(registry.url, namespace="team-a"))
        stream = stack.enter_context(inside.events())
        assert "namespace='team-a'" in repr(stream)
        assert next(stream).type == "connected"
        outside.put(id="outside", **GREETER)
        inside.put(id="inside", **GREETER)
        event = next(stream)
        assert event.service is not None and event.service.id == "inside"


def test_a_wait_is_for_a_change_in_the_namespace(
    registry: RegistryProcess, asking: Asking
) -> None:
    ask = asking(registry.url, namespace="team-a")
    ask("put", id="waited", **GREETER)
    before = ask("providers", "greet")
    after = ask("providers", "greet", wait=0.2, revision=before.revision)
    assert [each.id for each in after] == ["waited"]


def test_the_next_url_is_called_in_the_same_namespace(
    registry: RegistryProcess, asking: Asking
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    ask = asking([dead, registry.url], namespace="team-a")
    ask("put", id="moved", **GREETER)
    assert ids(registry, "team-a") == ["moved"]


def test_after_a_lost_reply_a_missing_namespace_is_not_success(
    scripted: Callable[..., ScriptedServer], asking: Asking
) -> None:
    first, second = Answer(drop=True), problem(404, "unknown_namespace")
    server = scripted(first, second)
    with pytest.raises(UnknownNamespace):
        asking(server.url, namespace="team-a")("unregister", "x")
    targets = {request.target for request in server.requests}
    assert targets == {"/api/ns/team-a/services/x"}
