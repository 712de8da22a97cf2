"""Unmodified clients of Eureka: py-eureka-client, eureka-js-client, Prometheus."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support.access.tokens import as_, closed
from support.integrations.eureka import Eureka, js_client, py_client, running
from support.registry import eventually
from support.servers import prometheus
from support.servers.registry import RegistryProcess


@pytest.fixture(scope="module")
def eureka() -> Iterator[Eureka]:
    with running() as registry:
        yield registry


def test_py_eureka_client_registers_looks_and_leaves(eureka: Eureka) -> None:
    eureka.register_own("hello")
    with (
        py_client(eureka.eureka, "py-1") as one,
        py_client(eureka.eureka, "py-2") as two,
    ):
        both = {"py-1": "UP", "py-2": "UP"}
        eventually(lambda: one.ask("apps").get("WEB") == both)
        eventually(lambda: two.ask("apps").get("WEB") == both)
        assert one.ask("apps")["GREET"] == {"hello": "UP"}

        two.ask("status OUT_OF_SERVICE")
        eventually(lambda: one.ask("apps")["WEB"]["py-2"] == "OUT_OF_SERVICE")
        assert (eureka.service("py-2") or {})["status"] == "draining"
        two.ask("status UP")
        eventually(lambda: one.ask("apps")["WEB"]["py-2"] == "UP")

        two.leave()
        eventually(lambda: one.ask("apps")["WEB"] == {"py-1": "UP"})
        eureka.unregister("hello")


def test_py_eureka_client_reads_changes_alone(eureka: Eureka) -> None:
    with py_client(eureka.eureka, "py-3") as client:
        eventually(lambda: "py-3" in client.ask("apps").get("WEB", {}))
        before = eureka.reads("/eureka/apps")
        eureka.register_instance("other", app="WEB")
        eventually(lambda: client.ask("apps")["WEB"].get("other") == "UP")
        eureka.register_instance("other", app="WEB", status="DOWN")
        eventually(lambda: client.ask("apps")["WEB"].get("other") == "DOWN")
        eureka.call("DELETE", "apps/WEB/other")
        eventually(lambda: "other" not in client.ask("apps")["WEB"])

        assert eureka.reads("/eureka/apps") == before


def test_py_eureka_client_registers_again_with_a_registry_that_lost_it() -> None:
    first = Eureka()
    with py_client(first.eureka, "py-4") as client:
        eventually(lambda: client.ask("apps") == {"WEB": {"py-4": "UP"}})
        first.kill()
        second = Eureka(first.port)
        try:
            eventually(lambda: second.service("py-4") is not None)
            eventually(lambda: client.ask("apps") == {"WEB": {"py-4": "UP"}})
        finally:
            second.stop()


def test_eureka_js_client_registers_looks_and_leaves(eureka: Eureka) -> None:
    eureka.register_own("hello", location="http://127.0.0.1:9001")
    with js_client(eureka.port) as client:
        service = eureka.service("127.0.0.1")  # it has no id but its host
        assert service is not None
        assert (service["name"], service["capabilities"]) == ("js", ["js"])
        eventually(lambda: client.ask("app GREET") == {"hello": "UP"})
        assert client.ask("vip greet") == {"hello": "UP"}

        eureka.register_own("more", location="http://127.0.0.1:9002")
        eventually(lambda: client.ask("app GREET") == {"hello": "UP", "more": "UP"})
        eureka.unregister("more")
        eventually(lambda: client.ask("app GREET") == {"hello": "UP"})

        assert client.ask("stop") == {"stopped": True}
        assert eureka.service("127.0.0.1") is None
    eureka.unregister("hello")


CONFIG = """
global: {scrape_interval: 1s}
scrape_configs:
- job_name: eureka
  eureka_sd_configs: [{server: "%s", refresh_interval: 1s}]
"""


def test_prometheus_finds_instances(eureka: Eureka, tmp_path: Path) -> None:
    eureka.register_instance("web1", leaseInfo={"durationInSecs": 90})
    with (
        prometheus.scraped() as scraped,
        prometheus.running(tmp_path, CONFIG % eureka.eureka) as watcher,
    ):
        eureka.register_own("own", location=f"http://{scraped.place}")
        eventually(lambda: len(watcher.targets()) == 2)
        labels = {
            target["discoveredLabels"]["__address__"]: target["discoveredLabels"]
            for target in watcher.targets()
        }
        eventually(lambda: watcher.value('up{instance="own"}') == 1)

    web = labels["127.0.0.1:24000"]
    prefix = "__meta_eureka_app_"
    assert web[f"{prefix}name"] == "WEB"
    assert web[f"{prefix}instance_id"] == "web1"
    assert web[f"{prefix}instance_status"] == "UP"
    assert web[f"{prefix}instance_metadata_a"] == "b"
    assert labels[scraped.place][f"{prefix}name"] == "GREET"


def test_the_password_in_the_url_is_the_token(tmp_path: Path) -> None:
    with closed(tmp_path, integrations=["eureka"]) as (registry, boss):
        allowed = ("--right", "read", "--right", "register", "--id", "py-*")
        token = as_(registry, boss, "token", "create", "web", *allowed).stdout.strip()
        url = registry.url.replace("//", f"//anybody:{token}@") + "/eureka"
        apps = f"{registry.url}/eureka/apps"

        def reads(auth: tuple[str, str] | None = None, **headers: str) -> int:
            reply = requests.get(apps, auth=auth, headers=headers, timeout=5)
            return reply.status_code

        eventually(lambda: reads(("anybody", token)) == 200)
        assert reads(Authorization=f"Bearer {token}") == 200
        assert reads() == reads(("anybody", "wrong")) == 401
        assert reads(Authorization="Basic %%%") == 401
        with py_client(url, "py-1") as client:
            eventually(lambda: client.ask("apps") == {"WEB": {"py-1": "UP"}})
        body = {"instance": {"instanceId": "x", "hostName": "h", "app": "WEB"}}
        auth = ("anybody", token)
        reply = requests.post(f"{apps}/WEB", json=body, auth=auth, timeout=5)
        assert reply.status_code == 403


def test_the_api_is_off_by_default() -> None:
    registry = RegistryProcess()
    try:
        reply = requests.get(f"{registry.url}/eureka/apps", timeout=5)
        assert reply.status_code == 404
    finally:
        registry.stop()


def test_a_heartbeat_that_reports_ill_health_counts_as_a_write() -> None:
    with running(write_rate="2/minute") as registry:
        registry.register_instance()
        beat = "apps/WEB/web1?status="
        codes = [registry.call("PUT", beat + word).status_code for word in _WORDS]
    assert codes == [200, 200, 200, 429, 200]


_WORDS = ("UP", "UP", "DOWN", "STARTING", "UP")
