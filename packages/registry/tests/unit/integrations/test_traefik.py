"""The configuration that Traefik gets: its parts, and when it changes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from modularity_registry.api.app import create_app
from modularity_registry.errors import InvalidRequest
from modularity_registry.integrations.traefik import Configurations
from modularity_registry.integrations.traefik.query import Query
from modularity_registry.runtime import Registry
from support.lookups import register
from support.registry import LOOP


class Site:
    """A registry, and what Traefik gets of it."""

    def __init__(self, registry: Registry) -> None:
        self.client: FlaskClient = create_app(registry).test_client()
        self.configurations = Configurations(registry.catalog)

    def bytes(self, **arguments: str) -> bytes:
        query = Query.parse(arguments.items())
        return LOOP.call(self.configurations.get(query))

    def get(self, **arguments: str) -> Any:
        return json.loads(self.bytes(**arguments))

    def http(self, **arguments: str) -> Any:
        return self.get(**arguments).get("http", {})


@pytest.fixture
def site(registry: Registry) -> Iterator[Site]:
    yield Site(registry)


def test_nothing_is_an_empty_document(site: Site) -> None:
    assert site.bytes() == b"{}"
    register(site.client, "a", mode="ipc", location="pipe 7")
    register(site.client, "b", metadata={"traefik.enable": False})
    assert site.bytes(path="/{capability}") == b"{}"


def test_bytes_change_only_with_the_configuration(site: Site) -> None:
    for name in ("b", "a"):
        register(site.client, name, location=f"http://10.0.0.5/{name}")
    before = site.bytes()
    assert json.loads(before)["http"]["services"]["greet"]["loadBalancer"] == {
        "servers": [
            {"url": "http://10.0.0.5:80/a", "preservePath": True, "weight": 1},
            {"url": "http://10.0.0.5:80/b", "preservePath": True, "weight": 1},
        ]
    }
    made = site.configurations.made
    assert site.bytes() == before and site.configurations.made == made
    register(site.client, "a", location="http://10.0.0.5/a", name="Other")
    register(site.client, "z", mode="ipc", location="pipe 7")
    assert site.bytes() == before and site.configurations.made == made + 1
    site.client.put("/api/services/a/drain")
    assert site.bytes() != before


def test_only_so_many_configurations_are_kept(site: Site) -> None:
    for number in range(50):
        site.bytes(host=f"h{number}.example.com")
    assert len(site.configurations._kept) == 16


def test_each_mode_has_its_servers(site: Site) -> None:
    register(site.client, "a", location="https://[fd00::5]:8443")
    register(site.client, "b", mode="grpc", location="grpc://10.0.0.5:50051")
    register(site.client, "c", mode="tcp", location="tcp://10.0.0.5:5432")
    found = site.get()
    assert found["http"]["services"]["greet"]["loadBalancer"]["servers"] == [
        {"url": "https://[fd00::5]:8443", "weight": 1},
        {"url": "h2c://10.0.0.5:50051", "weight": 1},
    ]
    assert found["tcp"] == {
        "services": {
            "greet": {"loadBalancer": {"servers": [{"address": "10.0.0.5:5432"}]}}
        }
    }


def test_default_routers_are_what_the_query_asks_for(site: Site) -> None:
    register(site.client, "a", capabilities=["Greet/formal", "x"])
    assert "routers" not in site.http()
    found = site.http(
        host="{label}.example.com",
        path="/v1/{capability}",
        entrypoints="web,websecure",
        middlewares="retry@file",
    )
    assert found["routers"]["Greet/formal"] == {
        "entryPoints": ["web", "websecure"],
        "rule": "Host(`greet-formal.example.com`) &&"
        " (Path(`/v1/Greet/formal`) || PathPrefix(`/v1/Greet/formal/`))",
        "service": "Greet/formal",
        "middlewares": ["retry@file", "Greet/formal"],
    }
    assert found["middlewares"]["x"] == {"stripPrefix": {"prefixes": ["/v1/x"]}}
    assert "middlewares" not in site.http(host="{label}.example.com")
    found = site.http(path="/")
    assert found["routers"]["x"] == {"rule": "PathPrefix(`/`)", "service": "x"}
    assert "middlewares" not in found


def test_labels_of_the_last_one_to_register_make_the_router(
    site: Site, clock: Any
) -> None:
    prefix = "traefik.http.routers.greet."
    labels = {
        f"{prefix}rule": "Path(`/a`)",
        f"{prefix}entryPoints": "web, websecure",
        f"{prefix}priority": 7,
        f"{prefix}tls": True,
        "traefik.http.services.greet.loadbalancer.passhostheader": "false",
    }
    register(site.client, "z", metadata=labels)
    clock.advance(5)
    register(site.client, "a")
    found = site.http(path="/{capability}")
    assert found["routers"] == {
        "greet": {
            "entryPoints": ["web", "websecure"],
            "priority": 7,
            "rule": "Path(`/a`)",
            "tls": {},
            "service": "greet",
        }
    }
    assert found["services"]["greet"]["loadBalancer"]["passHostHeader"] is False
    clock.advance(5)
    register(site.client, "a", metadata={f"{prefix}rule": "Path(`/new`)"})
    assert site.http()["routers"]["greet"]["rule"] == "Path(`/new`)"


@pytest.mark.parametrize(
    "value", [None, [], {}, 1.5, "", "x" * 100, "9" * 40, "-", "٣"]
)
def test_labels_that_make_no_sense_are_as_if_nobody_had_said_them(
    site: Site, value: Any
) -> None:
    prefix = "traefik.http.routers.greet."
    names = ("priority", "tls", "unknown", "rule.more", "")
    labels = {f"{prefix}{name}": value for name in names}
    register(site.client, "a", metadata={**labels, "traefik.": value, "traefik": 1})
    assert site.http(path="/x")["routers"]["greet"] == {
        "rule": "(Path(`/x`) || PathPrefix(`/x/`))",
        "service": "greet",
        "middlewares": ["greet"],
    }


def test_a_split_is_a_weighted_service(site: Site) -> None:
    register(site.client, "a", version="1.0.0")
    register(site.client, "b", version="2.0.0", weight=0)
    site.client.put("/api/capabilities/greet/split", json={"v1": 90, "v2": 10})
    services = site.http()["services"]
    assert services["greet"] == {
        "weighted": {
            "services": [
                {"name": "greet~v1", "weight": 90},
                {"name": "greet~v2", "weight": 10},
            ]
        }
    }
    assert services["greet~v2"]["loadBalancer"]["servers"][0]["weight"] == 1
    site.client.delete("/api/capabilities/greet/split")
    assert list(site.http()["services"]) == ["greet"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("host", "a`) || Host(`b", "must be a host name"),
        ("host", "{capability}.x", "must be a host name"),
        ("host", "a" * 254, "must be a host name"),
        ("path", "x", "must begin with a slash"),
        ("path", "/{other}", "must begin with a slash"),
        ("near", "a b", "must be a zone"),
        ("middlewares", "a,,b", "separated by commas"),
        ("color", "red", "known parameters: host, path"),
    ],
)
def test_bad_queries_are_refused(name: str, value: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{name} ") as error:
        Query.parse([(name, value)])
    assert says in error.value.detail
    with pytest.raises(InvalidRequest, match="more than once"):
        Query.parse([("host", "a"), ("host", "b")])
