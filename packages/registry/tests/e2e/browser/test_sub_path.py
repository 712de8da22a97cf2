"""The pages and the OpenAPI document below a prefix that a proxy strips."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urljoin

import pytest
import requests

from e2e.browser.test_openapi_page import answer, opened
from e2e.dashboard.browser import RegistryProcess, browser, open_page, running_registry
from support.registry import eventually
from support.servers import nginx, program
from support.servers.program import Program
from support.serving import HOST, free_port

NGINX = """
    server {{
        listen {host}:{port};
        location /deep/registry/ {{
            proxy_pass http://{host}:{upstream}/;
            proxy_set_header Host $http_host;
        }}
    }}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s

frontend web
    bind {host}:{port}
    http-request deny unless {{ path_beg /deep/registry/ }}
    http-request replace-path /deep/registry(/.*) \\1
    default_backend registry

backend registry
    server registry {host}:{upstream}
"""


def haproxy(folder: Path, text: str) -> list[str | Path]:
    tool = program.find(["haproxy"], None, "haproxy")
    config = folder / "haproxy.cfg"
    config.write_text(text)
    return [tool, "-db", "-f", config]


@pytest.fixture(
    params=[
        pytest.param((NGINX, nginx.command), id="nginx"),
        pytest.param((HAPROXY, haproxy), id="haproxy"),
    ]
)
def prefixed(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[RegistryProcess, str]]:
    """A registry, and where it is reached through a proxy; no slash at the end."""
    template: str
    command: Callable[[Path, str], list[str | Path]]
    template, command = request.param
    with running_registry() as registry:
        port = free_port()
        text = template.format(host=HOST, port=port, upstream=registry.port)
        url = f"http://{HOST}:{port}/deep/registry"
        proxy = Program(command(tmp_path, text), tmp_path / "log")
        try:
            proxy.wait_until(lambda: _answers(f"{url}/ready"))
            yield registry, url
        finally:
            proxy.stop()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def test_calls_of_the_document_lead_to_the_registry(
    prefixed: tuple[RegistryProcess, str],
) -> None:
    _, url = prefixed
    document = requests.get(f"{url}/openapi.json", timeout=5)
    [server] = document.json()["servers"]
    # As OpenAPI 3.1 resolves it: against the address of the document.
    base = urljoin(document.url, server["url"]).rstrip("/")
    assert base == url
    for path in ("/health", "/api/services", "/api/stats"):
        assert path in document.json()["paths"]
        assert requests.get(base + path, timeout=5).status_code == 200


def test_pages_work_below_the_prefix(prefixed: tuple[RegistryProcess, str]) -> None:
    registry, url = prefixed
    with browser() as chromium, open_page(chromium, SimpleNamespace(url=url)) as page:
        page.goto(f"{url}/docs")
        written = answer(opened(page, "-register"))
        assert "201" in written.inner_text()
        assert registry.service("hello-service") is not None
        link = page.get_by_role("link", name="openapi.json").first
        assert link.evaluate("link => link.href") == f"{url}/openapi.json"
        page.get_by_role("link", name="Dashboard").click()
        page.wait_for_url(f"{url}/")
        page.get_by_text("hello-service").first.wait_for()
        # The stream comes through as well.
        registry.register("another-service")
        eventually(lambda: page.get_by_text("another-service").count() > 0)
