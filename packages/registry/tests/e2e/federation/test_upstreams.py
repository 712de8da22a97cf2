"""Registries in processes of their own that answer for each other."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from modularity_registry import tokens
from modularity_registry.model.rights import Right, TokenRequest
from modularity_registry.tokens import FileTokenBackend
from support.registry import eventually
from support.servers.registry import Registered
from support.servers.stores.redis import RedisServer
from support.serving import free_port


class Registry(Registered):
    """One whose services are never checked: nothing is at their places."""

    def serve(self, service_id: str, place: str, **changes: Any) -> None:
        """Register a service that is healthy until somebody says otherwise."""
        self.register(service_id, place, **{"mode": "standalone", **changes})


Start = Callable[..., Registry]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts registries, and ends them after the test."""
    started: list[Registry] = []

    def run(**settings: Any) -> Registry:
        registry = Registry(**settings)
        started.append(registry)
        return registry

    yield run
    for registry in started:
        registry.stop()


def upstream(name: str, registry: Registry) -> str:
    return f"{name}={registry.url}"


def look_up(registry: Registry, name: str = "greet", **sent: Any) -> requests.Response:
    url = f"{registry.url}/api/capabilities/{name}"
    return requests.get(url, timeout=10, **sent)


def states(registry: Registry) -> dict[str, str]:
    health = requests.get(f"{registry.url}/health", timeout=5).json()
    return {each["name"]: each["state"] for each in health["upstreams"]}


def until_connected(registry: Registry) -> None:
    eventually(lambda: set(states(registry).values()) == {"connected"})


def pair(start: Start, **settings: Any) -> tuple[Registry, Registry]:
    """A registry, and its upstream "west", which it follows."""
    west = start()
    here = start(upstream=[upstream("west", west)], **settings)
    until_connected(here)
    return here, west


def test_the_upstream_s_split_holds_and_its_changes_are_heard(start: Start) -> None:
    here, west = pair(start)
    for service_id, version in (("one", "1.0"), ("two", "2.0")):
        west.serve(service_id, "here", version=version)
    split = f"{west.url}/api/capabilities/greet/split"

    def served() -> set[str]:
        return {look_up(here).json()["id"] for _ in range(10)}

    eventually(lambda: look_up(here).ok)
    assert served() == {"one", "two"}
    assert requests.put(split, json={"v2": 1}, timeout=5).ok
    eventually(lambda: served() == {"two"})
    assert requests.delete(split, timeout=5).ok
    eventually(lambda: served() == {"one", "two"})


def test_what_nobody_here_provides_is_answered_from_elsewhere(start: Start) -> None:
    here, west = pair(start)
    west.serve("a", "127.0.0.1:9001")
    reply = look_up(here)
    assert reply.status_code == 200
    assert reply.headers["X-Registry-Source"] == "west"
    assert reply.content == look_up(west).content
    for path in ("services", "capabilities", "capabilities/greet/services"):
        listed = requests.get(f"{here.url}/api/{path}", timeout=5).json()
        assert listed["count"] == 0, path
    assert look_up(here, "other").status_code == 404


def test_a_healthy_provider_here_wins(start: Start) -> None:
    here, west = pair(start)
    west.serve("far", "127.0.0.1:9001")
    assert look_up(here).json()["id"] == "far"
    here.serve("near", "127.0.0.1:9002")
    reply = look_up(here)
    assert reply.json()["id"] == "near"
    assert "X-Registry-Source" not in reply.headers
    drain = f"{here.url}/api/services/near/drain"
    requests.put(drain, json={}, timeout=5).raise_for_status()
    assert look_up(here).json()["id"] == "far"
    requests.delete(drain, timeout=5).raise_for_status()
    assert look_up(here).json()["id"] == "near"


def test_a_change_there_is_seen_here(start: Start) -> None:
    here, west = pair(start)
    assert look_up(here).status_code == 404
    west.serve("a", "127.0.0.1:9001")
    eventually(lambda: look_up(here).status_code == 200)
    west.serve("b", "127.0.0.1:9002")
    seen = set[str]()

    def both() -> bool:
        seen.add(look_up(here).json()["id"])
        return seen == {"a", "b"}

    eventually(both)
    west.serve("b", "127.0.0.1:9002", capabilities=["other"])
    west.unregister("a")
    eventually(lambda: look_up(here).status_code == 404)
    assert look_up(here, "other").json()["id"] == "b"


def test_the_order_of_the_setting_decides(start: Start) -> None:
    west, east = start(), start()
    both = [upstream("west", west), upstream("east", east)]
    here = start(upstream=both)
    until_connected(here)
    east.serve("e", "127.0.0.1:9001")
    assert look_up(here).headers["X-Registry-Source"] == "east"
    west.serve("w", "127.0.0.1:9002")
    eventually(lambda: look_up(here).headers["X-Registry-Source"] == "west")


def test_strategies_and_filters_hold_for_elsewhere(start: Start) -> None:
    here, west = pair(start)
    for number in range(3):
        west.serve(
            f"s{number}",
            f"127.0.0.1:900{number}",
            version=f"1.{number}.0",
            weight=int(number == 1),
            metadata={"region": "eu" if number == 2 else "us"},
        )

    def picked(query: str) -> set[str]:
        replies = [look_up(here, f"greet{query}") for _ in range(12)]
        return {reply.json().get("id", reply.json().get("code")) for reply in replies}

    assert picked("") == {"s0", "s1", "s2"}
    assert picked("?strategy=weighted") == {"s1"}
    assert picked("?metadata.region=eu") == {"s2"}
    assert picked("?version=<1.1") == {"s0"}
    assert picked("?mode=tcp") == {"capability_not_found"}
    for key in "abcdef":
        query = f"?strategy=hash&key={key}"
        assert picked(query) == {look_up(west, f"greet{query}").json()["id"]}


def test_a_tag_of_elsewhere_is_not_one_of_here(start: Start) -> None:
    here, west = pair(start)
    west.serve("a", "127.0.0.1:9001")
    tag = look_up(here).headers["ETag"]
    cached = look_up(here, headers={"If-None-Match": tag})
    assert cached.status_code == 304
    assert cached.headers["X-Registry-Source"] == "west"
    here.serve("b", "127.0.0.1:9002")
    assert look_up(here, headers={"If-None-Match": tag}).json()["id"] == "b"


def test_a_killed_upstream_leaves_the_error_of_here(start: Start) -> None:
    here, west = pair(start)
    west.serve("a", "127.0.0.1:9001")
    assert look_up(here).status_code == 200
    west.kill()
    began = time.monotonic()
    eventually(lambda: look_up(here).status_code == 404, 3)
    reply = look_up(here)
    assert time.monotonic() - began < 5
    assert reply.json()["code"] == "capability_not_found"
    assert "the upstream west could not be asked" in reply.json()["detail"]
    assert states(here) == {"west": "unreachable"}
    assert requests.get(f"{here.url}/ready", timeout=5).status_code == 200


def test_an_upstream_that_hangs_does_not_hold_up_lookups(start: Start) -> None:
    here, west = pair(start)
    west.serve("a", "127.0.0.1:9001")
    here.serve("b", "127.0.0.1:9002", capabilities=["near"])
    west.process.send_signal(19)  # SIGSTOP
    try:
        began = time.monotonic()
        assert look_up(here).status_code == 404
        assert time.monotonic() - began < 2.5
        eventually(lambda: states(here) == {"west": "unreachable"}, 5)
        began = time.monotonic()
        for _ in range(5):  # each would take a second, were the upstream asked
            assert look_up(here).status_code == 404
            assert look_up(here, "near").status_code == 200
        assert time.monotonic() - began < 2.5
    finally:
        west.process.send_signal(18)  # SIGCONT
    eventually(lambda: look_up(here).status_code == 200)


def test_nobody_else_answers_while_a_store_is_away(
    start: Start, tmp_path: Path
) -> None:
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        store = f"redis://127.0.0.1:{redis.port}/?prefix="
        west = start(store=f"{store}west")
        west.serve("a", "127.0.0.1:9001")
        here = start(upstream=[upstream("west", west)], store=f"{store}here")
        without = start(upstream=[upstream("west", west)])
        until_connected(here)
        until_connected(without)
        for registry in (here, without):
            assert look_up(registry).headers["X-Registry-Source"] == "west"
        redis.kill()
        eventually(lambda: look_up(here).status_code == 404, 10)
        eventually(lambda: look_up(without).status_code == 404, 10)
        assert "no upstream was asked" in look_up(here).json()["detail"]
        assert "west could not be asked" in look_up(without).json()["detail"]
        assert look_up(west).status_code == 200
    finally:
        redis.kill()


def test_an_upstream_may_start_later(start: Start) -> None:
    port = free_port()
    here = start(upstream=[f"west=http://127.0.0.1:{port}"])
    assert look_up(here).status_code == 404
    assert "could not be asked" in look_up(here).json()["detail"]
    start(port=port).serve("a", "127.0.0.1:9001")
    eventually(lambda: look_up(here).status_code == 200)


def test_two_registries_may_be_upstreams_of_each_other(start: Start) -> None:
    ports = [free_port(), free_port()]
    one, two = (
        start(port=port, upstream=[f"other=http://127.0.0.1:{other}"])
        for port, other in (ports, reversed(ports))
    )
    until_connected(one)
    until_connected(two)
    for registry in (one, two):
        assert look_up(registry).status_code == 404
    one.serve("a", "127.0.0.1:9001")
    eventually(lambda: look_up(two).status_code == 200)
    assert look_up(two).headers["X-Registry-Source"] == "other"
    one.unregister("a")
    eventually(lambda: look_up(two).status_code != 200)
    assert look_up(one).status_code == 503


def test_a_registry_may_be_its_own_upstream(start: Start) -> None:
    port = free_port()
    here = start(port=port, upstream=[f"self=http://127.0.0.1:{port}"])
    until_connected(here)
    assert look_up(here).status_code == 404
    here.serve("a", "127.0.0.1:9001")
    assert "X-Registry-Source" not in look_up(here).headers


def test_an_upstream_of_an_upstream_is_not_asked(start: Start) -> None:
    far = start()
    far.serve("a", "127.0.0.1:9001")
    middle = start(upstream=[upstream("far", far)])
    here = start(upstream=[upstream("middle", middle)])
    until_connected(middle)
    until_connected(here)
    assert look_up(middle).status_code == 200
    assert look_up(here).status_code == 404
    only = {"X-Registry-Local-Only": "1"}
    assert look_up(middle, headers=only).status_code == 404


def test_an_upstream_may_want_a_token(start: Start, tmp_path: Path) -> None:
    tokens_file = tmp_path / "tokens.json"
    request = TokenRequest("here", frozenset({Right.READ}), ("*",), ("*",), None)
    backend = FileTokenBackend(str(tokens_file))
    text = tokens.create(backend, request, datetime.now(UTC)).text
    west = start(auth=True, tokens_file=str(tokens_file))
    file = tmp_path / "west.token"
    file.write_text(text)
    named = {"upstream": [upstream("west", west)]}
    here = start(**named, upstream_token_file=[f"west={file}"])
    until_connected(here)
    without = start(**named)
    eventually(lambda: "token" in look_up(without).json()["detail"])
    assert text not in requests.get(f"{here.url}/health", timeout=5).text
    assert look_up(here).json()["detail"].startswith("no service offers")


def test_figures_and_explanations_name_the_upstream(start: Start) -> None:
    here, west = pair(start)
    west.serve("a", "127.0.0.1:9001")
    look_up(here)
    look_up(here, "other")
    stats = requests.get(f"{here.url}/api/stats", timeout=5).json()
    (shown,) = stats["upstreams"]
    assert shown["url"] == west.url
    assert shown["kept_lists"] == 2
    assert stats["total_services"] == stats["total_capabilities"] == 0
    metrics = here.metrics()
    for result in ("hit", "miss"):
        labels = f'{{result="{result}",upstream="west"}}'
        assert f"registry_upstream_lookups_total{labels} 1.0" in metrics
    assert 'registry_upstream_connected{upstream="west"} 1.0' in metrics
    detail = look_up(here, "greet/explain").json()["detail"]
    assert "the upstream west has 1 provider" in detail
    here.serve("b", "127.0.0.1:9002")
    explained = look_up(here, "greet/explain").json()
    assert explained["upstreams"] == ["the upstream west has 1 provider"]
    assert "upstreams" not in requests.get(f"{west.url}/health", timeout=5).json()
