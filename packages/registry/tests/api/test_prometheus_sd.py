"""Prometheus finds out from the registry whom to scrape."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from modularity_registry.catalog import documents
from modularity_registry.runtime import Registry
from support.registry import eventually, put_record, registration
from support.servers.prometheus import running, scraped
from support.servers.registry import Registered

ROUTE = "/api/sd/prometheus"
META = "__meta_modularity_"


def register(client: FlaskClient, service_id: str, **changes: Any) -> None:
    body = registration(service_id, **changes)
    response = client.post("/api/register", json=body)
    assert response.status_code == 201, response.json


def groups(client: FlaskClient, query: str = "") -> list[dict[str, Any]]:
    response = client.get(ROUTE + query)
    assert response.status_code == 200, response.json
    found: list[dict[str, Any]] = json.loads(response.data)
    return found


def ids(client: FlaskClient, query: str = "") -> list[str]:
    return [each["labels"][f"{META}id"] for each in groups(client, query)]


def test_a_service_is_told_whole(client: FlaskClient) -> None:
    register(client, "a", capabilities=["greet", "greet/formal"])
    assert groups(client) == [
        {
            "targets": ["127.0.0.1:9001"],
            "labels": {
                "__scheme__": "http",
                f"{META}id": "a",
                f"{META}name": "Hello",
                f"{META}version": "1.2.0",
                f"{META}status": "healthy",
                f"{META}mode": "http",
                f"{META}location": "http://127.0.0.1:9001",
                f"{META}capabilities": ",greet,greet/formal,",
                f"{META}metadata_runtime": "python",
                f"{META}metadata_region": "eu",
            },
        }
    ]


def test_with_nobody_to_scrape_the_list_is_empty(client: FlaskClient) -> None:
    response = client.get(ROUTE)
    assert (response.status_code, response.data) == (200, b"[]")
    assert response.content_type == "application/json"


@pytest.mark.parametrize(
    ("location", "target", "scheme"),
    [
        ("http://127.0.0.1", "127.0.0.1:80", "http"),
        ("https://127.0.0.1/api/", "127.0.0.1:443", "https"),
        ("http://[::1]:9001/x", "[::1]:9001", "http"),
        ("https://LOCALHOST:9001", "localhost:9001", "https"),
    ],
)
def test_a_location_becomes_host_and_port(
    client: FlaskClient, location: str, target: str, scheme: str
) -> None:
    register(client, "a", location=location)
    (group,) = groups(client)
    assert group["targets"] == [target]
    assert group["labels"]["__scheme__"] == scheme
    assert group["labels"][f"{META}location"] == location
    assert "__metrics_path__" not in group["labels"]


TCP = {"mode": "tcp", "location": "tcp://127.0.0.1:9002"}
GRPC = {"mode": "grpc", "location": "grpc://127.0.0.1:9003"}


def test_modes_other_than_http_are_told_when_asked_for(client: FlaskClient) -> None:
    register(client, "grpc", **GRPC)
    register(client, "http")
    register(client, "tcp", **TCP)
    for mode in ("embedded", "ipc", "standalone"):
        register(client, mode, mode=mode, location="127.0.0.1:9004")
    assert ids(client) == ["http"]
    assert ids(client, "?mode=tcp") == ["tcp"]
    assert ids(client, "?mode=tcp&mode=grpc&mode=http") == ["grpc", "http", "tcp"]
    # Nobody has judged where these are, so nobody is sent there.
    assert ids(client, "?mode=embedded&mode=ipc&mode=standalone") == []


@pytest.mark.parametrize(
    ("metrics", "listed"),
    [
        (True, ["grpc", "http"]),
        ("true", ["grpc", "http"]),
        (False, []),
        ("false", []),
        (None, ["http"]),
        ("maybe", ["http"]),
        ({"a": 1}, ["http"]),
    ],
)
def test_metadata_decides_who_is_told(
    client: FlaskClient, metrics: Any, listed: list[str]
) -> None:
    register(client, "grpc", metadata={"metrics": metrics}, **GRPC)
    register(client, "http", metadata={"metrics": metrics})
    register(client, "ipc", metadata={"metrics": metrics}, mode="ipc")
    assert ids(client) == listed


@pytest.mark.parametrize(
    ("metadata", "target", "path"),
    [
        ({"metrics_path": "/stats"}, "127.0.0.1:9001", "/stats"),
        ({"metrics_path": "stats"}, "127.0.0.1:9001", None),
        ({"metrics_path": "/a\nb"}, "127.0.0.1:9001", None),
        ({"metrics_path": 7}, "127.0.0.1:9001", None),
        ({"metrics_port": 9100}, "127.0.0.1:9100", None),
        ({"metrics_port": "9100"}, "127.0.0.1:9100", None),
        ({"metrics_port": 65536}, "127.0.0.1:9001", None),
        ({"metrics_port": 0}, "127.0.0.1:9001", None),
        ({"metrics_port": "10.0.0.9:80"}, "127.0.0.1:9001", None),
        ({"metrics_port": True}, "127.0.0.1:9001", None),
        ({"metrics_port": 9100.0}, "127.0.0.1:9100", None),
        ({"metrics_port": 9100.5}, "127.0.0.1:9001", None),
        ({"metrics_path": "/a%20b"}, "127.0.0.1:9001", "/a b"),
        ({"metrics_path": "/a%2Fb"}, "127.0.0.1:9001", None),
        ({"metrics_path": "/a%zz"}, "127.0.0.1:9001", None),
        ({"metrics_path": "/a%ff"}, "127.0.0.1:9001", None),
        ({"metrics_path": "/a?match[]=x"}, "127.0.0.1:9001", None),
        ({"metrics_path": "/a?b=1&b=2"}, "127.0.0.1:9001", None),
        ({"metrics_path": "/a?b"}, "127.0.0.1:9001", None),
        ({"metrics_path": "/a#b"}, "127.0.0.1:9001", None),
    ],
)
def test_metadata_says_where_the_metrics_are(
    client: FlaskClient, metadata: dict[str, Any], target: str, path: str | None
) -> None:
    register(client, "a", metadata=metadata)
    (group,) = groups(client)
    assert group["targets"] == [target]
    assert group["labels"].get("__metrics_path__") == path


def test_the_query_of_a_path_becomes_parameters(client: FlaskClient) -> None:
    register(client, "a", metadata={"metrics_path": "/m?module=http_2xx&t=%C3%BC+x"})
    (group,) = groups(client)
    assert group["labels"]["__metrics_path__"] == "/m"
    assert group["labels"]["__param_module"] == "http_2xx"
    assert group["labels"]["__param_t"] == "ü x"


def test_labels_are_names_and_texts_that_prometheus_reads(client: FlaskClient) -> None:
    metadata = {
        "a-b": "second", "a_b": "first", "ünï": "x", "": 0, "gpu": True,
        "none": None, "deep": {"a": [1, "é"]}, "1st": 1.5,
    }  # fmt: skip
    register(client, "a", metadata=metadata)
    (group,) = groups(client)
    prefix = f"{META}metadata_"
    found = {
        name.removeprefix(prefix): value
        for name, value in group["labels"].items()
        if name.startswith(prefix)
    }
    assert found == {
        "a_b": "first", "_n_": "x", "": "0", "gpu": "true",
        "none": "null", "deep": '{"a":[1,"é"]}', "1st": "1.5",
    }  # fmt: skip


def test_what_a_service_says_can_not_pass_for_another_label(
    client: FlaskClient,
) -> None:
    metadata = {"__address__": "10.9.9.9:1", "__scheme__": "gopher", "id": "other"}
    register(client, "a", metadata=metadata)
    (group,) = groups(client)
    assert group["labels"]["__scheme__"] == "http"
    assert group["labels"][f"{META}id"] == "a"
    assert "__address__" not in group["labels"]


@pytest.mark.parametrize(
    "query",
    [
        "?capability=report", "?name=Other", "?version=>=2", "?metadata.region=us",
        "?status=draining", "?status=inactive", "?mode=http&capability=report",
    ],
)  # fmt: skip
def test_the_filters_of_the_lists_hold(client: FlaskClient, query: str) -> None:
    register(client, "a")
    register(
        client, "b",
        name="Other", version="2.0", capabilities=["report"], metadata={"region": "us"},
    )  # fmt: skip
    client.put("/api/services/b/drain")
    assert ids(client) == ["a", "b"]
    assert ids(client, query) == ["b"]
    assert groups(client, query)[0]["labels"][f"{META}status"] == "draining"


@pytest.mark.parametrize("query", ["?limit=5", "?wait=1&revision=1", "?state=up"])
def test_what_it_does_not_know_it_refuses(client: FlaskClient, query: str) -> None:
    response = client.get(ROUTE + query)
    assert response.status_code == 400
    assert "is not a known parameter" in (response.json or {})["detail"]


def test_it_is_a_read_like_others(client: FlaskClient) -> None:
    register(client, "a")
    first = client.get(ROUTE)
    assert first.headers["X-Registry-Revision"] == "1"
    tag = {"If-None-Match": first.headers["ETag"]}
    assert client.get(ROUTE, headers=tag).status_code == 304
    register(client, "b")
    assert client.get(ROUTE, headers=tag).status_code == 200


def test_a_location_of_another_version_costs_nobody_else(
    client: FlaskClient, registry: Registry
) -> None:
    register(client, "a")
    register(client, "b")
    entry = registry.catalog.service("a")
    assert entry is not None
    replace = msgspec.structs.replace
    said = replace(entry.service.registration, location="http://me@127.0.0.1:9001")
    odd = replace(entry.service, registration=said)
    put_record(registry.store, documents.key_of("a"), documents.encode(odd))
    shown = client.get("/api/services/a").json or {}
    assert shown["location"] == said.location
    assert ids(client) == ["b"]


CONFIG = """
global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
  - job_name: services
    http_sd_configs:
      - url: {url}/api/sd/prometheus
        refresh_interval: 1s
    relabel_configs:
      - source_labels: [__meta_modularity_id]
        target_label: service
      - source_labels: [__meta_modularity_capabilities]
        regex: .*,greet,.*
        target_label: greets
        replacement: "yes"
      - regex: __meta_modularity_metadata_(.+)
        action: labelmap
"""


@pytest.fixture
def live() -> Iterator[Registered]:
    registry = Registered()
    yield registry
    registry.stop()


def test_a_real_prometheus_scrapes_who_comes_until_they_go(
    live: Registered, tmp_path: Path
) -> None:
    def labels() -> dict[str, dict[str, str]]:
        shown = [each["labels"] for each in prometheus.targets()]
        return {each["service"]: each for each in shown}

    def is_up(service_id: str, up: float = 1.0) -> bool:
        return prometheus.value(f'up{{service="{service_id}"}}') == up

    with (
        running(tmp_path, CONFIG.format(url=live.url)) as prometheus,
        scraped() as plain,
        scraped("/own/stats") as own,
        scraped("/a%20b/%C3%BC?module=http_2xx&target=x%2Fy") as query,
    ):
        assert labels() == {}
        live.register("plain", plain.place, metadata={"region": "eu", "a-b": [1, "é"]})
        eventually(lambda: is_up("plain"))
        odd = {"metrics_path": "/own/stats", "\x01": "\x01", "": "é" * 1000}
        live.register("own", own.place, capabilities=["report"], metadata=odd)
        live.register("query", query.place, metadata={"metrics_path": query.path})
        eventually(lambda: is_up("query"))
        live.unregister("query")
        eventually(lambda: "query" not in labels())
        live.register("out", own.place, metadata={"metrics": False})
        eventually(lambda: is_up("own"))
        shown = labels()
        assert shown.keys() == {"plain", "own"}
        assert shown["plain"]["instance"] == plain.place
        assert (shown["plain"]["region"], shown["plain"]["a_b"]) == ("eu", '[1,"é"]')
        assert shown["plain"]["greets"] == "yes" and "greets" not in shown["own"]
        done = 'sum(things_done_total{service=~"plain|own"})'
        assert prometheus.value(done) == 14
        live.unregister("own")
        eventually(lambda: labels().keys() == {"plain"})
        # Two that share an address are two targets.
        live.register("twin", plain.place)
        eventually(lambda: is_up("twin"))
        assert prometheus.value("prometheus_sd_http_failures_total") in (None, 0.0)


def test_when_the_registry_is_away_prometheus_goes_on(
    live: Registered, tmp_path: Path
) -> None:
    with (
        running(tmp_path, CONFIG.format(url=live.url)) as prometheus,
        scraped() as service,
    ):
        live.register("a", service.place)
        eventually(lambda: prometheus.value('up{service="a"}') == 1.0)
        live.kill()
        log = prometheus.program.log
        eventually(lambda: "refused" in log.read_text())
        before = prometheus.targets()[0]["lastScrape"]
        eventually(lambda: prometheus.targets()[0]["lastScrape"] > before)
        assert prometheus.value('up{service="a"}') == 1.0
