"""Several URLs of one registry: which is asked, and what settings name them."""

import pickle
import subprocess
import sys
from collections.abc import Callable

import pytest

from client_support.harness import (
    HOST,
    Answer,
    Asker,
    RegistryProcess,
    ScriptedServer,
)
from modularity_client import Registry, RegistryUnreachable, ServiceNotFound
from modularity_client.http.endpoints import AVOID_SECONDS, Endpoints, parse_urls
from support.serving import free_port

Asking = Callable[..., Asker]
STATS = {
    "total_services": 0,
    "active_services": 0,
    "inactive_services": 0,
    "total_capabilities": 0,
    "services_by_runtime": {},
}


def test_one_that_works_is_kept_and_a_better_one_comes_back_later() -> None:
    endpoints = Endpoints(["best", "good", "last"])
    assert endpoints.order(0.0) == ("best", "good", "last")
    endpoints.failed("best", 0.0)
    assert endpoints.order(1.0) == ("good", "last", "best")
    endpoints.failed("good", 2.0)
    assert endpoints.order(2.0)[0] == "last"
    assert endpoints.order(2 + 2 * AVOID_SECONDS) == ("best", "good", "last")
    endpoints.worked("best")
    assert endpoints.order(2.0) == ("best", "last", "good")


def test_if_all_have_failed_all_are_asked() -> None:
    endpoints = Endpoints(["best", "good"])
    for url in endpoints.urls:
        endpoints.failed(url, 0.0)
    assert set(endpoints.order(0.0)) == {"best", "good"}


def test_clients_do_not_come_back_in_the_same_moment() -> None:
    def back(number: int) -> int:
        endpoints = Endpoints(["best", "good"])
        endpoints.failed("best", 0.0)
        return next(s for s in range(1000) if endpoints.order(s / 10)[0] == "best")

    assert len({back(number) for number in range(50)}) > 5


def test_a_client_goes_on_with_the_other_registry(
    asking: Asking, own: Callable[[], RegistryProcess]
) -> None:
    first, second = own(), own()
    first.start()
    second.start()
    ask = asking([first.url, second.url])
    service = {"name": "A", "capabilities": ["x"], "location": "y", "mode": "ipc"}
    ask("put", id="a", **service)
    assert first.status("a") == "healthy"
    first.kill()
    with pytest.raises(ServiceNotFound):
        ask("service", "a")
    ask("put", id="a", **service)
    assert second.status("a") == "healthy"
    # It is back, and empty: but the one that works is kept for now.
    first.start()
    assert ask("service", "a").id == "a"
    second.kill()
    with pytest.raises(ServiceNotFound):
        ask("service", "a")


def test_urls_are_read_from_text_and_lists() -> None:
    assert parse_urls("http://a:1/, https://b/x/ ,http://a:1") == (
        "http://a:1",
        "https://b/x",
    )
    assert parse_urls(["http://[::1]:5000"]) == ("http://[::1]:5000",)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:5000",
        "ftp://a",
        "http://",
        "http://a?b=c",
        "http://u:p@a",
        "http://a:70000",
        "http://a:x",
        "http://[::1",
        ",",
    ],
)
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        Registry(url)


def test_the_environment_names_registry_and_token(
    monkeypatch: pytest.MonkeyPatch, scripted: Callable[..., ScriptedServer]
) -> None:
    server = scripted(Answer(200, STATS))
    monkeypatch.setenv("REGISTRY_URL", f"http://{HOST}:{free_port()},{server.url}/sub")
    monkeypatch.setenv("REGISTRY_TOKEN", "secret")
    # Neither a proxy nor .netrc is for a registry.
    monkeypatch.setenv("HTTP_PROXY", f"http://{HOST}:{free_port()}")
    with Registry() as registry:
        registry.stats()
    with Registry(server.url, "other") as registry:
        registry.stats()
    first, second = server.requests
    assert first.target == "/sub/api/stats"
    assert first.headers["authorization"] == "Bearer secret"
    assert second.headers["authorization"] == "Bearer other"
    monkeypatch.delenv("REGISTRY_TOKEN")
    with Registry(server.url) as registry:
        registry.stats()
    assert "authorization" not in server.requests[-1].headers


def test_an_error_survives_its_way_to_another_process() -> None:
    error = RegistryUnreachable([("http://a", "refused")], sent=True)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.attempts, copy.sent, str(copy)) == (
        error.attempts,
        True,
        str(error),
    )
    first = ServiceNotFound("it is gone", status=404, code="service_not_found")
    again = pickle.loads(pickle.dumps(first))
    assert (again.status, again.code, again.detail) == (404, first.code, "it is gone")


def test_a_timeout_is_a_time() -> None:
    with pytest.raises(ValueError, match="timeout"):
        Registry("http://a", timeout=0)


def test_importing_brings_in_no_framework_and_no_server() -> None:
    # In a process of its own: here they are imported already.
    code = (
        "import sys, threading, modularity_client as c;"
        "bad = {'flask', 'fastapi', 'modularity_registry'} & set(sys.modules);"
        "assert not bad, bad; assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:X9z@h:1", "'http://***@h:1'"),
        ("http://:X9z@h:1/x", "'http://***@h:1/x'"),
        ("u:X9z@h", "'***@h'"),
        ("http://h?token=X9z", "'http://h?***'"),
        ("http://h/#X9z", "'http://h/?***'"),
        ("http://u:a?X9z@h", "'***'"),
        ("http://u:X9z,a@h", "'http://***@h'"),
        ("localhost:5000", "'localhost:5000'"),
    ],
)
def test_a_url_that_is_refused_is_shown_without_its_secrets(
    url: str, shown: str
) -> None:
    with pytest.raises(ValueError, match="is not a registry's URL") as caught:
        parse_urls(url)
    assert str(caught.value).startswith(shown)
    assert "X9z" not in str(caught.value)
