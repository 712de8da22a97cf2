"""The template for Kubernetes makes what Kubernetes takes."""

from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # has no stubs
import yaml

from e2e.docs.reader import ROOT
from modularity_registry.cli.proxies.template import Template
from support.proxies.snapshots import service, snapshot

TEMPLATE = ROOT / "deploy" / "templates" / "kubernetes-endpointslices.yaml.j2"
CONDITIONS = ("ready", "serving", "terminating")
KUBERNETES = kubernetes_validate.latest_version()


def documents(*services: Any) -> list[Any]:
    """Return what comes of some services, each document valid."""
    text = Template(TEMPLATE).render(snapshot(*services))
    found = [each for each in yaml.safe_load_all(text) if each is not None]
    for each in found:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    return found


def slices(*services: Any) -> list[Any]:
    """Return the slices that come of some services."""
    return [each for each in documents(*services) if each["kind"] == "EndpointSlice"]


def test_each_status_address_and_port_has_its_place() -> None:
    hostile = {"name": 'x"\n- }', "metadata": {"a": "{{ b }}"}}
    services = (
        service("a", zone="eu-1a", **hostile),
        service("b", status="draining", location="http://10.0.0.6:8080"),
        service("c", status="unhealthy", location="http://10.0.0.7:8080"),
        service("d", status="warning", location="http://10.0.0.8:8080"),
        service("e", location="http://[fd00::5]:81"),
        service("f", mode="tcp", location="tcp://db.internal:5432"),
        service("g", location="http://10.0.0.9:9090"),
        service("h", mode="ipc", location="pipe 7"),
    )
    places = {
        each["metadata"]["name"]: (each["addressType"], each["ports"][0]["port"])
        for each in slices(*services)
    }
    assert places == {
        "greet-fqdn-5432-1": ("FQDN", 5432),
        "greet-ipv4-8080-1": ("IPv4", 8080),
        "greet-ipv4-9090-1": ("IPv4", 9090),
        "greet-ipv6-81-1": ("IPv6", 81),
    }
    [first, *others] = slices(*services)[1]["endpoints"]
    assert first["zone"] == "eu-1a"
    assert first["hints"] == {"forZones": [{"name": "eu-1a"}]}
    assert [
        (one["addresses"][0], *map(one["conditions"].get, CONDITIONS))
        for one in (first, *others)
    ] == [
        ("10.0.0.5", True, True, False),
        ("10.0.0.6", False, True, True),
        ("10.0.0.7", False, False, False),
        ("10.0.0.8", True, True, False),
    ]


def test_services_have_no_selector_and_are_there_without_a_place() -> None:
    found = documents(service("a", mode="ipc", capabilities=["greet/Formal", "9x"]))
    assert [(each["kind"], each["metadata"]["name"]) for each in found] == [
        *(("Service", "x-9x"), ("Service", "greet-formal"))
    ]
    assert not any("selector" in each["spec"] for each in found)
    assert documents() == []


def test_a_slice_has_at_most_a_thousand_endpoints() -> None:
    many = [
        service(f"s{number:04}", location=f"http://10.1.{number // 250}.{number % 250}")
        for number in range(1001)
    ]
    assert [len(each["endpoints"]) for each in slices(*many)] == [1000, 1]
    assert len({each["metadata"]["name"] for each in slices(*many[:3])}) == 1
