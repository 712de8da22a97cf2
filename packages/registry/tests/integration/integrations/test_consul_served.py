"""Consul's API in a real process: waits, tokens, namespaces, and who else is there."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from modularity_registry import tokens
from modularity_registry.clock import SystemClock
from modularity_registry.model.rights import Right, TokenRequest
from support.registry import eventually, registration
from support.servers.registry import RegistryProcess

WEB = "/v1/health/service/web?passing"
INDEX = "X-Consul-Index"


class Consul(RegistryProcess):
    """A registry that answers as Consul does."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(integrations=("consul",), **settings)
        self._threads = ThreadPoolExecutor(64)
        self._session = requests.Session()

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(self.url + path, headers=headers, timeout=30)

    def put(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        data = body if isinstance(body, str | None) else json.dumps(body)
        return self._session.put(self.url + path, data, headers=headers, timeout=30)

    def register(self, name: str = "web", **fields: Any) -> None:
        body = {"Name": name, "Address": "10.0.0.5", "Port": 80, **fields}
        reply = self.put("/v1/agent/service/register", body)
        assert reply.status_code == 200, reply.text

    def deregister(self, service_id: str) -> None:
        reply = self.put(f"/v1/agent/service/deregister/{service_id}")
        assert reply.status_code == 200, reply.text

    def stop(self) -> None:
        self._session.close()
        super().stop()

    def ask(self, path: str, index: str, api: str = "/api") -> Future[Any]:
        """Return what will be the reply; the call waits by now."""
        before = self.waiting(api)
        more = "&" if "?" in path else "?"
        asked = f"{path}{more}index={index}&wait=30s"
        coming = self._threads.submit(self.get, asked)
        eventually(lambda: coming.done() or self.waiting(api) > before)
        return coming

    def waiting(self, api: str = "/api") -> int:
        stats = requests.get(f"{self.url}{api}/stats", timeout=5).json()
        return int(stats["watchers"])


@pytest.fixture(scope="module")
def consul() -> Iterator[Consul]:
    registry = Consul(namespace=("team-a",))
    yield registry
    registry.stop()


@pytest.fixture(autouse=True)
def empty(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "consul" in request.fixturenames:
        registry: Consul = request.getfixturevalue("consul")
        for service_id in registry.get("/v1/agent/services").json():
            registry.deregister(service_id)


def ids(reply: requests.Response) -> list[str]:
    return [one["Service"]["ID"] for one in reply.json()]


def test_a_query_waits_for_its_service_alone(consul: Consul) -> None:
    consul.register()
    first = consul.get(WEB)
    waiting = consul.ask(WEB, first.headers[INDEX])
    consul.register("other")
    consul.register("other", Port=81)
    consul.deregister("other")
    assert not waiting.done()
    consul.register(ID="web-2")

    reply = waiting.result(10)
    assert ids(reply) == ["web", "web-2"]
    assert int(reply.headers[INDEX]) > int(first.headers[INDEX])
    assert consul.get(WEB).headers[INDEX] == reply.headers[INDEX]
    assert consul.waiting() == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.put("/v1/agent/check/pass/service:web"),
        lambda it: it.put("/v1/agent/service/maintenance/web?enable=true"),
        lambda it: it.deregister("web"),
        lambda it: requests.delete(f"{it.url}/api/services/web", timeout=5),
        lambda it: requests.put(f"{it.url}/api/services/web/drain", timeout=5),
    ],
)
@pytest.mark.parametrize(
    "path", [WEB, "/v1/health/state/any", "/v1/health/checks/web", "/v1/health/node/"]
)
def test_every_change_of_a_service_ends_a_wait(
    consul: Consul, change: Callable[[Consul], Any], path: str
) -> None:
    if path.endswith("/node/"):
        path += "modularity-registry"
    consul.register(Check={"TTL": "60s"})
    waiting = consul.ask(path, consul.get(path).headers[INDEX])
    change(consul)
    assert waiting.result(10).status_code == 200


def test_the_list_of_services_moves_with_names_and_tags_alone(consul: Consul) -> None:
    consul.register(Tags=["a"], Check={"TTL": "60s"})
    path = "/v1/catalog/services"
    index = consul.get(path).headers[INDEX]
    waiting = consul.ask(path, index)
    consul.put("/v1/agent/check/pass/service:web")
    consul.put("/v1/agent/service/maintenance/web?enable=true")
    assert not waiting.done()
    assert consul.get(path).headers[INDEX] == index
    consul.register(Tags=["a", "b"])
    assert waiting.result(10).json()["web"] == ["a", "b"]


def test_registering_the_same_again_wakes_nobody(consul: Consul) -> None:
    consul.register(Tags=["a"], Check={"TTL": "60s"})
    index = consul.get(WEB).headers[INDEX]
    consul.register(Tags=["a"], Check={"TTL": "60s"})
    assert consul.get(WEB).headers[INDEX] == index


def test_a_wait_that_sees_no_change_ends_with_the_same_index(consul: Consul) -> None:
    for path in (WEB, "/v1/catalog/service/none", "/v1/catalog/nodes"):
        index = consul.get(path).headers[INDEX]
        began = time.monotonic()
        reply = consul.get(
            f"{path}{'&' if '?' in path else '?'}index={index}&wait=300ms"
        )
        assert 0.29 < time.monotonic() - began < 8
        assert reply.headers[INDEX] == index
        assert int(index) > 0


def test_an_index_of_another_history_is_answered_at_once(consul: Consul) -> None:
    consul.register()
    now = int(consul.get(WEB).headers[INDEX])
    for index in (1, now - 1, now + 1_000_000, 2**63):
        reply = consul.get(f"{WEB}&index={index}&wait=20s")
        assert reply.headers[INDEX] == str(now)


def test_a_report_of_ill_health_counts_as_a_write() -> None:
    registry = Consul(write_rate="3/minute")
    try:
        registry.register(Check={"TTL": "60s"})
        paths = ("warn", "pass", "fail", "pass", "warn", "pass")
        codes = [
            registry.put(f"/v1/agent/check/{path}/service:web").status_code
            for path in paths
        ]
        body = {"Status": "critical"}
        updated = registry.put("/v1/agent/check/update/service:web", body)
    finally:
        registry.stop()
    assert codes == [200, 200, 200, 200, 429, 200]
    assert updated.status_code == 429


def test_waits_have_places_and_callers_have_their_share() -> None:
    registry = Consul(max_watchers_per_client=2)
    try:
        index = registry.get(WEB).headers[INDEX]
        for _ in range(2):
            registry.ask(WEB, index)
        refused = registry.get(f"{WEB}&index={index}")
        assert refused.status_code == 429
        assert refused.headers["Content-Type"].startswith("text/plain")
        assert registry.get(WEB).status_code == 200
    finally:
        registry.stop()


def test_a_service_hash_waits_as_an_index_does(consul: Consul) -> None:
    consul.register()
    first = consul.get("/v1/agent/service/web")
    assert INDEX not in first.headers
    content_hash = first.json()["ContentHash"]
    assert first.headers["X-Consul-ContentHash"] == content_hash
    threading.Timer(0.3, consul.register, kwargs={"Port": 81}).start()
    reply = consul.get(f"/v1/agent/service/web?hash={content_hash}&wait=20s")
    assert reply.json()["Port"] == 81


def test_services_of_the_registrys_own_api_are_there(consul: Consul) -> None:
    body = registration(
        "own",
        capabilities=["greet", "greet/batch"],
        location="tcp://10.0.0.9:9001",
        mode="tcp",
        metadata={"tags": ["a"], "team": "x", "size": 3},
        checks=[{"name": "beat", "kind": "ttl", "ttl": 60}],
        health={"enabled": False},
    )
    requests.post(f"{consul.url}/api/register", json=body, timeout=5)

    assert consul.get("/v1/catalog/services").json() == {
        "greet": ["a"],
        "greet/batch": ["a"],
    }
    one = consul.get("/v1/health/service/greet/batch").json()[0]
    assert one["Service"]["Service"] == "greet/batch"
    assert one["Service"]["Meta"] == {"team": "x", "size": "3"}
    assert (one["Service"]["Address"], one["Service"]["Port"]) == ("10.0.0.9", 9001)
    assert [check["CheckID"] for check in one["Checks"]] == [
        "serfHealth",
        "service:own:beat",
    ]
    consul.put("/v1/agent/check/fail/service:own:beat?note=down")
    shown = requests.get(f"{consul.url}/api/services/own", timeout=5).json()
    assert shown["status"] == "unhealthy"


def test_services_of_consuls_api_are_found_by_the_registrys_own(consul: Consul) -> None:
    consul.register(Tags=["a"], Meta={"team": "x", "version": "2.1"})
    shown = requests.get(f"{consul.url}/api/capabilities/web", timeout=5).json()

    assert shown["location"] == "tcp://10.0.0.5:80"
    assert shown["version"] == "2.1"
    assert shown["metadata"]["tags"] == ["a"]
    assert shown["health"] is None


def test_a_remote_caller_without_an_address_means_its_own(consul: Consul) -> None:
    """Behind a proxy it is not local: it gets the address that it came from."""
    body = {"Name": "far", "Port": 80}
    reply = consul.put("/v1/agent/service/register", body, **{"Via": "1.1 proxy"})
    # Its address is on loopback, which only local callers may register.
    assert reply.status_code == 400
    assert "the registry's own machine" in reply.text


def test_namespaces_are_apart(consul: Consul) -> None:
    there = {"X-Consul-Namespace": "team-a"}
    body = {"Name": "web", "Address": "10.0.0.5", "Port": 80}
    consul.put("/v1/agent/service/register?ns=team-a", body)

    assert consul.get("/v1/catalog/services").json() == {}
    assert consul.get("/v1/catalog/services?ns=team-a").json() == {"web": []}
    assert ids(consul.get(WEB, **there)) == ["web"]
    assert consul.get("/v1/catalog/services?ns=none").status_code == 404
    index = consul.get(WEB, **there).headers[INDEX]
    waiting = consul.ask(f"{WEB}&ns=team-a", index, "/api/ns/team-a")
    consul.register()
    assert not waiting.done()
    consul.put("/v1/agent/service/deregister/web?ns=team-a")
    assert ids(waiting.result(10)) == []


def test_tokens_come_in_three_ways(tmp_path: Path) -> None:
    path, now = str(tmp_path / "tokens.json"), SystemClock().now()
    backend = tokens.FileTokenBackend(path)

    def issue(name: str, *rights: Right, **more: Any) -> str:
        asked = TokenRequest(name, frozenset(rights), **more)
        return tokens.create(backend, asked, now).text

    reader = issue("reader", Right.READ)
    writer = issue("writer", Right.READ, Right.REGISTER, ids=("web*",))
    other = issue("other", Right.READ, Right.REGISTER)
    registry = Consul(auth=True, tokens_file=path)
    try:
        for headers, query in (
            ({"X-Consul-Token": reader}, ""),
            ({"Authorization": f"Bearer {reader}"}, ""),
            ({}, f"&token={reader}"),
        ):
            for _ in range(2):  # the second one is planned
                assert registry.get(WEB + query, **headers).status_code == 200
        for headers in ({}, {"X-Consul-Token": "wrong"}):
            refused = registry.get(WEB, **headers)
            assert refused.status_code == 403
            assert refused.text.startswith("Permission denied")
        assert registry.get("/v1/status/leader").status_code == 200
        write = "/v1/agent/service/register"
        body = {"Name": "web", "Address": "10.0.0.5", "Check": {"TTL": "60s"}}
        mine = {"X-Consul-Token": writer}
        assert (
            registry.put(write, body, **{"X-Consul-Token": reader}).status_code == 403
        )
        assert registry.put(write, body | {"ID": "db"}, **mine).status_code == 403
        assert registry.put(write, body, **mine).status_code == 200
        theirs = {"X-Consul-Token": other}
        for call in (
            "service/deregister/web",
            "service/maintenance/web?enable=true",
            "check/pass/service:web",
            "check/deregister/service:web",
        ):
            refused = registry.put(f"/v1/agent/{call}", **theirs)
            assert refused.status_code == 403, call
        # Who loses its token while it waits learns nothing more.
        shown = {"X-Consul-Token": reader}
        index = registry.get(WEB, **shown).headers[INDEX]
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(
                registry.get, f"{WEB}&index={index}&wait=30s", **shown
            )
            time.sleep(0.3)
            tokens.revoke(backend, "reader", last_admin=True)
            assert waiting.result(20).status_code == 403
    finally:
        registry.stop()


def test_a_wait_ends_when_the_registry_stops() -> None:
    registry = Consul()
    index = registry.get(WEB).headers[INDEX]
    waiting = registry.ask(WEB, index)
    registry.stop()
    assert waiting.result(5).headers[INDEX] == index


def test_long_lists_are_whole(consul: Consul) -> None:
    for number in range(150):
        consul.register(ID=f"web-{number:03}", Tags=[f"t{number % 3}"])
    index = consul.get(WEB).headers[INDEX]
    waiting = consul.ask(WEB, index)
    assert len(consul.get(WEB).json()) == 150
    assert len(consul.get(f"{WEB}&tag=t1").json()) == 50
    assert len(consul.get("/v1/health/state/any").json()) == 1
    assert consul.get("/v1/catalog/services").json() == {"web": ["t0", "t1", "t2"]}
    filtered = "/v1/health/service/web?filter=Service.Tags+contains+t2"
    assert len(consul.get(filtered).json()) == 50
    consul.deregister("web-000")
    assert len(waiting.result(10).json()) == 149


def test_catalog_registrations_have_the_status_that_they_are_given(
    consul: Consul,
) -> None:
    body = {
        "Node": "far",
        "Address": "10.0.0.7",
        "Service": {"Service": "db", "ID": "db1", "Port": 5432},
        "Check": {"CheckID": "c1", "Name": "n", "Status": "passing"},
    }
    assert consul.put("/v1/catalog/register", body).text == "true"
    one = consul.get("/v1/health/service/db?passing").json()[0]
    assert one["Service"]["Address"] == "10.0.0.7"
    body["Check"] = {"CheckID": "c1", "Status": "critical", "Output": "down"}
    consul.put("/v1/catalog/register", body)
    checks = consul.get("/v1/health/checks/db").json()
    assert [(c["CheckID"], c["Status"], c["Output"]) for c in checks] == [
        ("c1", "critical", "down")
    ]
    gone = {"Node": "far", "ServiceID": "db1"}
    assert consul.put("/v1/catalog/deregister", gone).text == "true"
    assert consul.get("/v1/catalog/service/db").json() == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/v1/kv/a", 405),
        ("PUT", "/v1/session/create", 404),
        ("PUT", "/v1/agent/maintenance?enable=true", 501),
        ("GET", "/v1/query", 404),
    ],
)
def test_what_is_left_out_says_so(
    consul: Consul, method: str, path: str, status: int
) -> None:
    reply = requests.request(method, consul.url + path, timeout=5)
    assert reply.status_code == status
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert len(reply.text) > 20


@pytest.mark.parametrize(
    "check",
    [
        {"Args": ["true"], "Interval": "1s"},
        {"Script": "true", "Interval": "1s"},
        {"DockerContainerID": "x", "Shell": "sh", "Interval": "1s"},
        {"AliasService": "web"},
        {"UDP": "10.0.0.5:1", "Interval": "1s"},
        {"HTTP": "http://10.0.0.6/", "Interval": "1s"},
        {"HTTP": "ftp://10.0.0.5/", "Interval": "1s"},
        {"HTTP": "http://user@10.0.0.5/", "Interval": "1s"},
        {"HTTP": "http://10.0.0.5/", "Interval": "1s", "Header": {"Host": ["x"]}},
        {"HTTP": "http://10.0.0.5/", "Interval": "1s", "Method": "DELETE"},
        {"TCP": "10.0.0.5", "Interval": "1s"},
        {"TCP": "10.0.0.5:99999", "Interval": "1s"},
        {"TTL": "9999h"},
    ],
)
def test_checks_that_are_not_possible_are_refused(
    consul: Consul, check: dict[str, Any]
) -> None:
    body = {"Name": "bad", "Address": "10.0.0.5", "Port": 80, "Check": check}
    reply = consul.put("/v1/agent/service/register", body)
    assert reply.status_code == 400, reply.text
    assert consul.get("/v1/catalog/service/bad").json() == []
