"""Eureka's API over HTTP, call by call, as its clients depend on it."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
import requests

from support.integrations.eureka import JSON, Eureka, instance, running
from support.registry import eventually


@pytest.fixture(scope="module")
def shared() -> Iterator[Eureka]:
    with running() as registry:
        yield registry


@pytest.fixture
def eureka(shared: Eureka) -> Iterator[Eureka]:
    """The registry, without services."""
    yield shared
    services = requests.get(f"{shared.url}/api/services", timeout=5).json()["services"]
    for service in services:
        shared.unregister(service["id"])


def test_a_registered_instance_is_a_service(eureka: Eureka) -> None:
    eureka.register_instance(vipAddress="web,Web.Example:80")

    service = eureka.service("web1")

    assert service is not None
    assert service["name"] == "WEB"
    assert service["capabilities"] == ["web", "web.example:80"]
    assert service["location"] == "http://127.0.0.1:24000"
    assert (service["mode"], service["health"], service["ttl"]) == ("http", None, 6)
    assert service["status"] == "healthy"
    assert service["metadata"]["a"] == "b"
    assert "zone" not in service


@pytest.mark.parametrize("base", ["apps", "apps/", "v2/apps", "v2/apps/"])
def test_all_base_paths_answer(eureka: Eureka, base: str) -> None:
    eureka.register_instance()

    assert eureka.json(base)["applications"]["apps__hashcode"] == "UP_1_"


def test_what_a_client_sends_comes_back(eureka: Eureka) -> None:
    sent = instance(asgName="group", appGroupName="GROUP", sid="na")
    sent["metadata"]["eureka"] = "a client's own"
    assert eureka.call("POST", "apps/web", json={"instance": sent}).status_code == 204

    got = eureka.json("apps/WEB/web1")["instance"]

    volatile = {"leaseInfo", "lastUpdatedTimestamp", "overriddenstatus"}
    assert {key: got.get(key) for key in sent.keys() - volatile} == {
        key: sent[key] for key in sent.keys() - volatile
    }
    assert got["overriddenStatus"] == "UNKNOWN"
    assert got["leaseInfo"]["renewalIntervalInSecs"] == 2
    assert got["leaseInfo"]["durationInSecs"] == 6
    assert isinstance(got["lastUpdatedTimestamp"], str)


def test_xml_has_the_attributes_and_numbers_that_clients_need(eureka: Eureka) -> None:
    eureka.register_instance(metadata={"a_b": "<&>", "no name": "x", "$": "y"})

    reply = eureka.call("GET", "apps")

    assert reply.headers["Content-Type"] == "application/xml"
    root = ElementTree.fromstring(reply.content)
    assert root.findtext("apps__hashcode") == "UP_1_"
    assert int(root.findtext("versions__delta") or "") > 0
    one = root.find("application/instance")
    assert one is not None
    port = one.find("port")
    assert port is not None
    assert (port.text, port.attrib) == ("24000", {"enabled": "true"})
    center = one.find("dataCenterInfo")
    assert center is not None and center.attrib["class"].endswith("DataCenterInfo")
    assert one.findtext("overriddenstatus") == "UNKNOWN"
    assert int(one.findtext("lastDirtyTimestamp") or "") == 1795888239976
    metadata = one.find("metadata")
    assert metadata is not None
    assert {part.tag: part.text for part in metadata} == {
        "a_b": "<&>",
        "no_.0020name": "x",
        "_-": "y",
    }


def test_an_instance_may_be_registered_as_xml(eureka: Eureka) -> None:
    body = """<instance><instanceId>x1</instanceId><hostName>127.0.0.1</hostName>
      <app>WEB</app><ipAddr>127.0.0.1</ipAddr><port enabled="true">81</port>
      <vipAddress>web</vipAddress><status>UP</status>
      <dataCenterInfo class="com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo">
      <name>MyOwn</name></dataCenterInfo>
      <leaseInfo><durationInSecs>7</durationInSecs></leaseInfo>
      <metadata><a__b>c</a__b></metadata></instance>"""
    headers = {"Content-Type": "application/xml"}
    reply = eureka.call("POST", "apps/WEB", data=body, headers=headers)

    assert reply.status_code == 204, reply.text
    service = eureka.service("x1")
    assert service is not None
    assert (service["location"], service["ttl"]) == ("http://127.0.0.1:81", 7)
    assert eureka.json("apps/WEB/x1")["instance"]["metadata"] == {"a_b": "c"}
    assert eureka.json("apps/WEB/x1")["instance"]["port"] == {
        "$": 81,
        "@enabled": "true",
    }


BOMB = """<!DOCTYPE a [<!ENTITY x "xxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;">]>
<instance><app>&y;</app></instance>"""


@pytest.mark.parametrize(
    ("app", "body", "status", "detail"),
    [
        ("WEB", "", 400, "not JSON"),
        ("WEB", "[1]", 400, "must be a JSON object"),
        ("WEB", "{}", 400, "has no instance"),
        ("WEB", "<instance>", 400, "not XML"),
        ("WEB", "<other/>", 400, "must be an element 'instance'"),
        ("WEB", BOMB, 400, "no document type"),
        ("WEB", f"<instance>{'<a>' * 5000}{'</a>' * 5000}</instance>", 400, "deep"),
        ("WEB", instance(..., hostName=...), 400, "instanceId is missing"),
        ("WEB", instance(hostName=...), 400, "hostName is missing"),
        ("WEB", instance(app=...), 400, "app is missing"),
        ("WEB", instance(app="OTHER"), 400, "but 'WEB' in the path"),
        ("WE B", instance(app="WE B"), 400, "must be the name of a capability"),
        ("WEB", instance(hostName="a b", ipAddr="c d"), 400, "location"),
        ("WEB", instance(ipAddr="8.8.8.8"), 400, "none of the allowed networks"),
        ("WEB", instance(leaseInfo={"durationInSecs": 9**9}), 400, "ttl"),
        ("WEB", instance(metadata={"a": "x" * 20_000}), 400, "at most 16384 bytes"),
        ("WEB", instance(metadata={"a": "x" * 70_000}), 413, "at most 65,536 bytes"),
    ],
)
def test_what_can_not_be_registered_is_refused(
    eureka: Eureka, app: str, body: Any, status: int, detail: str
) -> None:
    given = {"json": {"instance": body}} if isinstance(body, dict) else {"data": body}
    reply = eureka.call("POST", f"apps/{app}", **given)

    assert (reply.status_code, detail in reply.text) == (status, True), reply.text
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert eureka.statuses() == {}


def test_the_status_of_an_instance_is_that_of_its_service(eureka: Eureka) -> None:
    eureka.register_instance(status="STARTING")
    assert eureka.statuses() == {"WEB": {"web1": "STARTING"}}
    assert (eureka.service("web1") or {})["status"] == "unhealthy"

    assert eureka.call("PUT", "apps/WEB/web1?status=UP").status_code == 200
    assert eureka.statuses() == {"WEB": {"web1": "UP"}}
    assert (eureka.service("web1") or {})["status"] == "healthy"

    eureka.register_instance(status="OUT_OF_SERVICE")
    assert (eureka.service("web1") or {})["status"] == "draining"
    eureka.register_instance(status="UP")
    assert (eureka.service("web1") or {})["status"] == "healthy"


def test_an_override_outlives_heartbeats_and_registrations(eureka: Eureka) -> None:
    eureka.register_instance()
    path = "apps/WEB/web1/status"
    assert eureka.call("PUT", f"{path}?value=OUT_OF_SERVICE").status_code == 200
    eureka.call("PUT", "apps/WEB/web1?status=UP")
    eureka.register_instance()

    one = eureka.json("apps/WEB/web1")["instance"]
    assert one["status"] == one["overriddenStatus"] == "OUT_OF_SERVICE"
    assert (eureka.service("web1") or {})["status"] == "draining"

    assert eureka.call("DELETE", f"{path}?value=UP").status_code == 200
    one = eureka.json("apps/WEB/web1")["instance"]
    assert (one["status"], one["overriddenStatus"]) == ("UP", "UNKNOWN")
    assert eureka.call("PUT", f"{path}?value=GONE").status_code == 400


def test_an_unknown_instance_is_told_to_register_again(eureka: Eureka) -> None:
    assert eureka.call("PUT", "apps/WEB/web1").status_code == 404
    eureka.register_instance()

    beat = "apps/web/web1?status=UP&lastDirtyTimestamp="
    assert eureka.call("PUT", f"{beat}1795888239976").status_code == 200
    assert eureka.call("PUT", f"{beat}1795888239975").status_code == 200
    assert eureka.call("PUT", f"{beat}1795888239977").status_code == 404
    assert eureka.call("DELETE", "apps/WEB/web1").status_code == 200
    for method, path in (
        ("DELETE", "apps/WEB/web1"),
        ("PUT", "apps/WEB/web1/status?value=UP"),
        ("PUT", "apps/WEB/web1/metadata?a=b"),
        ("GET", "apps/WEB"),
        ("GET", "apps/WEB/web1"),
        ("GET", "instances/web1"),
        ("GET", "vips/web"),
        ("GET", "svips/web"),
    ):
        assert eureka.call(method, path).status_code == 404, (method, path)


def test_metadata_is_merged(eureka: Eureka) -> None:
    eureka.register_instance()

    assert eureka.call("PUT", "apps/WEB/web1/metadata?a=c&d=e").status_code == 200

    metadata = eureka.json("apps/WEB/web1")["instance"]["metadata"]
    usual = {"management.port": "24000", "zone": "default"}
    assert metadata == {**usual, "a": "c", "d": "e"}
    long = "x" * 3000
    for key in "efghij":
        reply = eureka.call("PUT", f"apps/WEB/web1/metadata?{key}={long}")
    assert (reply.status_code, "at most 16384 bytes" in reply.text) == (400, True)


def test_an_instance_is_found_by_its_id_and_its_addresses(eureka: Eureka) -> None:
    eureka.register_instance(vipAddress="a.example,b.example", secureVipAddress="s")

    assert eureka.json("instances/web1")["instance"]["instanceId"] == "web1"
    assert eureka.json("apps/web")["application"]["name"] == "WEB"
    for path in ("vips/a.example", "vips/B.example", "svips/s"):
        applications = eureka.json(path)["applications"]
        assert applications["apps__hashcode"] == "UP_1_"
        assert applications["application"][0]["instance"][0]["instanceId"] == "web1"


def test_services_of_the_registry_are_applications(eureka: Eureka) -> None:
    eureka.register_own("hello", capabilities=["greet", "math/add"])
    eureka.register_own("far", location="https://10.0.0.1/x", capabilities=["Greet"])
    eureka.register_own("batch", location="worker 7", mode="standalone", health=...)

    assert eureka.statuses() == {
        "GREET": {"far": "UP", "hello": "UP"},
        "MATH/ADD": {"hello": "UP"},
    }
    far = eureka.json("apps/GREET/far")["instance"]
    assert far["port"] == {"$": 443, "@enabled": "false"}
    assert far["securePort"] == {"$": 443, "@enabled": "true"}
    assert far["hostName"] == "10.0.0.1"
    assert far["homePageUrl"] == "https://10.0.0.1:443/x/"
    assert far["metadata"] == {"region": "eu", "runtime": "python"}
    assert eureka.json("apps/math/add/hello")["instance"]["vipAddress"] == "math/add"
    assert eureka.json("apps/math/add/")["application"]["name"] == "MATH/ADD"
    assert eureka.call("PUT", "apps/math/add/hello").status_code == 200


def test_one_host_may_be_the_id_in_several_applications(eureka: Eureka) -> None:
    for app in ("one", "two"):
        eureka.register_instance("host-1", app=app)
        assert eureka.call("PUT", f"apps/{app}/host-1").status_code == 200

    assert eureka.statuses() == {"ONE": {"host-1": "UP"}, "TWO": {"host-1": "UP"}}
    assert eureka.service("two:host-1") is not None
    assert eureka.call("DELETE", "apps/two/host-1").status_code == 200
    assert eureka.statuses() == {"ONE": {"host-1": "UP"}}


@pytest.mark.parametrize("instance_id", ["a/b c:80", "_x", "ä", "a_b/status"])
def test_an_id_that_is_none_of_ours_comes_back_as_it_was(
    eureka: Eureka, instance_id: str
) -> None:
    eureka.register_instance(instance_id)

    path = f"apps/WEB/{quote(instance_id, safe='')}"
    if not instance_id.endswith("/status"):
        assert eureka.call("PUT", path).status_code == 200
    assert eureka.json(path)["instance"]["instanceId"] == instance_id


def test_delta_tells_changes_and_the_hash_of_everything(eureka: Eureka) -> None:
    eureka.register_instance("web1")
    eureka.register_instance("web2", status="DOWN")
    eureka.call("DELETE", "apps/WEB/web1")

    delta = eureka.json("apps/delta")["applications"]

    everything = eureka.json("apps")["applications"]
    assert delta["apps__hashcode"] == everything["apps__hashcode"] == "DOWN_1_"
    assert delta["versions__delta"] == everything["versions__delta"]
    actions = {
        one["instanceId"]: one["actionType"]
        for application in delta["application"]
        if application["name"] == "WEB"
        for one in application["instance"]
    }
    assert actions["web1"] == "DELETED"
    assert actions["web2"] == "ADDED"


def test_what_has_not_changed_is_not_sent_again(eureka: Eureka) -> None:
    eureka.register_instance()
    for path in ("apps", "apps/delta"):
        for accept in ("application/json", "application/xml"):
            headers = {"Accept": accept}
            etag = eureka.call("GET", path, headers=headers).headers["ETag"]
            known = {**headers, "If-None-Match": etag}
            assert eureka.call("GET", path, headers=known).status_code == 304
            eureka.register_instance()
            assert eureka.call("GET", path, headers=known).status_code == 200


def test_an_instance_without_heartbeats_is_down(eureka: Eureka) -> None:
    eureka.register_instance(leaseInfo={"durationInSecs": 1})

    eventually(lambda: eureka.statuses() == {"WEB": {"web1": "DOWN"}})
    assert eureka.call("PUT", "apps/WEB/web1").status_code == 200
    assert eureka.statuses() == {"WEB": {"web1": "UP"}}


def test_lists_are_empty_where_nothing_is(eureka: Eureka) -> None:
    assert eureka.json("apps")["applications"]["application"] == []
    assert isinstance(eureka.json("apps/delta")["applications"]["application"], list)
    root = ElementTree.fromstring(eureka.call("GET", "apps").content)
    assert not root.findall("application")


def test_statistics_count_what_clients_see(eureka: Eureka) -> None:
    eureka.register_own("hello", capabilities=["a", "b"])

    stats = requests.get(f"{eureka.url}/api/stats", timeout=5).json()

    assert stats["integrations"]["eureka"] == {"applications": 2, "instances": 2}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "status", 404), ("PATCH", "apps", 405), ("POST", "apps", 405)],
)
def test_other_paths_are_refused(
    eureka: Eureka, method: str, path: str, status: int
) -> None:
    assert eureka.call(method, path, headers=JSON).status_code == status
