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
from support.servers import program
from support.servers.program import Program
from support.serving import HOST, free_port

NGINX = """
daemon off;
master_process off;
error_log stderr;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {host}:{port};
        location /deep/registry/ {{
            proxy_pass http://{host}:{upstream}/;
            proxy_set_header Host $http_host;
        }}
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


def nginx(config: Path, tool: Path) -> list[str | Path]:
    return [tool, "-p", config.parent, "-c", config, "-e", "stderr"]


def haproxy(config: Path, tool: Path) -> list[str | Path]:
    return [tool, "-db", "-f", config]


@pytest.fixture(
    params=[
        pytest.param(("nginx", NGINX, nginx), id="nginx"),
        pytest.param(("haproxy", HAPROXY, haproxy), id="haproxy"),
    ]
)
def prefixed(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[RegistryProcess, str]]:
    """A registry, and where it is reached through a proxy; no slash at the end."""
    name, template, command = request.param
    tool = Path(program.find([name], None, name))
    with running_registry() as registry:
        port, config = free_port(), tmp_path / "config"
        config.write_text(
            template.format(
                folder=tmp_path, host=HOST, port=port, upstream=registry.port
            )
        )
        url = f"http://{HOST}:{port}/deep/registry"
        start: Callable[[Path, Path], list[str | Path]] = command
        proxy = Program(start(config, tool), tmp_path / "log")
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
