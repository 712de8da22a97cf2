"""A real Traefik whose HTTP provider is the registry."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from modularity_registry import tokens
from modularity_registry.model.rights import Right, TokenRequest
from modularity_registry.tokens import FileTokenBackend
from support.proxies.churn import (
    Site,
    answer,
    answering,
    answers,
    no_call_fails_while_providers_come_and_go,
    site,
)
from support.registry import eventually, registration
from support.servers.registry import Registered
from support.servers.traefik import Traefik, running

PATH = "/api/traefik/configuration"
RULE = "traefik.http.routers.greet.rule"


@pytest.fixture(scope="module")
def found() -> Iterator[Site]:
    with site(integrations=["traefik"]) as one:
        yield one


@pytest.fixture(scope="module")
def traefik(found: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traefik]:
    endpoint = f"{found.registry.url}{PATH}?path=/{{capability}}&near=here"
    with running(tmp_path_factory.mktemp("traefik"), endpoint) as one:
        yield one


@pytest.fixture
def url(found: Site, traefik: Traefik) -> Iterator[str]:
    yield f"http://{traefik.url}/greet"
    for name in list(found.providers):
        found.kill(name)
        url = f"{found.registry.url}/api/services/{name}"
        requests.delete(url, timeout=5)
    requests.delete(f"{found.registry.url}/api/capabilities/greet/split", timeout=5)


def test_no_call_fails_while_providers_come_and_go(found: Site, url: str) -> None:
    no_call_fails_while_providers_come_and_go(found, url)


def test_weights_share_the_calls(found: Site, url: str) -> None:
    found.start("one", weight=3)
    found.start("two", weight=1)
    found.start("idle", weight=0)
    eventually(lambda: answers(url) == {"one": 30, "two": 10})


def test_a_split_shares_the_calls_among_its_groups(found: Site, url: str) -> None:
    found.start("one", version="1.4.0")
    found.start("two", version="2.0.0")
    found.start("three", version="2.0.1")
    found.split(v1=50, v2=50)
    eventually(lambda: answers(url) == {"one": 20, "two": 10, "three": 10})
    found.drain("one")
    eventually(lambda: answers(url) == {"two": 20, "three": 20})


def test_backups_and_other_zones_come_last(found: Site, url: str) -> None:
    found.start("near", zone="here")
    found.start("far", zone="there")
    found.start("backup", zone="here", priority=10)
    eventually(lambda: answering(url) == {"near"})
    found.drain("near")
    eventually(lambda: answering(url) == {"far"})
    found.drain("far")
    eventually(lambda: answering(url) == {"backup"})


def test_without_a_provider_the_router_stays_and_says_503(
    found: Site, url: str
) -> None:
    found.start("one")
    eventually(lambda: answer(url) == "one")
    assert answer(f"{url}/hello") == "one"
    assert answer(f"{url}ings") == "404"
    found.drain("one")
    eventually(lambda: answer(url) == "503")
    found.registry.unregister("one")
    eventually(lambda: answer(url) == "404")
    found.start("one")
    eventually(lambda: answer(url) == "one")


def test_labels_make_routers_and_a_bad_one_costs_nobody_else(
    found: Site, traefik: Traefik, url: str
) -> None:
    base = f"http://{traefik.url}"
    found.start("one", metadata={RULE: "Path(`/hello`)"})
    bad = {"traefik.http.routers.bad.rule": "Path(`", "traefik.enable": True}
    found.start("two", capabilities=["bad", "fine"], metadata=bad)
    hidden = {"traefik.enable": "false"}
    found.start("three", capabilities=["greet", "hidden"], metadata=hidden)
    eventually(lambda: answers(f"{base}/hello", 6) == {"one": 6})
    eventually(lambda: answer(f"{base}/fine") == "two")
    assert answer(url) == "404"
    assert answer(f"{base}/bad") == answer(f"{base}/hidden") == "404"


def test_tcp_providers_are_reached_by_tcp(
    found: Site, traefik: Traefik, url: str
) -> None:
    rules = {
        "traefik.tcp.routers.db/main.rule": "HostSNI(`*`)",
        "traefik.tcp.routers.db/main.entrypoints": "tcp",
    }
    found.start("one", capabilities=["db/main"])
    changes = {"capabilities": ["db/main"], "metadata": rules, "mode": "tcp"}
    location = f"tcp://{found.providers['one'].place}"
    found.put("/api/services/one", registration("one", location=location, **changes))
    eventually(lambda: answer(f"http://{traefik.tcp}/") == "one")


def test_all_stays_while_the_registry_is_away(tmp_path: Path) -> None:
    with site(integrations=["traefik"]) as found:
        endpoint = f"{found.registry.url}{PATH}?path=/{{capability}}"
        with running(tmp_path, endpoint) as traefik:
            url = f"http://{traefik.url}/greet"
            found.start("one")
            eventually(lambda: answer(url) == "one")
            found.registry.kill()
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", found.registry.port), 5)
            log = traefik.program.log
            eventually(lambda: "connection refused" in log.read_text())
            assert answers(url) == {"one": 40}
            found.registry = Registered(found.registry.port, **found.settings)
            found.start("two")
            eventually(lambda: answer(url) == "two")


def test_a_token_opens_it(tmp_path: Path) -> None:
    file = str(tmp_path / "tokens.json")
    request = TokenRequest("traefik", frozenset({Right.READ}))
    issued = tokens.create(FileTokenBackend(file), request, datetime.now(UTC))
    registry = Registered(integrations=["traefik"], auth=True, tokens_file=file)
    try:
        endpoint = f"{registry.url}{PATH}"
        assert requests.get(endpoint, timeout=5).status_code == 401
        shown = {"Authorization": f"Bearer {issued.text}"}
        assert requests.get(endpoint, headers=shown, timeout=5).json() == {}
        with running(tmp_path, endpoint, shown) as traefik:
            assert "error" not in traefik.program.log.read_text().lower()
    finally:
        registry.stop()
