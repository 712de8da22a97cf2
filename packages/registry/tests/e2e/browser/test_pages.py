"""Pages of other sites in a real browser: what they try, and what they may."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page

from e2e.dashboard.browser import (
    RegistryProcess,
    browser,
    running_registry,
    wait_for_script,
)
from support.serving import free_port, in_thread

# Sends as any page may without asking; the reply is not for it to see.
BLIND = """async (url) => {
  await fetch(url, {method: "POST", mode: "no-cors"});
}"""
ASKING = """async ([url, method, headers]) => {
  try {
    const reply = await fetch(url, {method, headers});
    const {status} = reply;
    return [status, reply.headers.get("X-Registry-Revision") !== null];
  } catch (error) {
    return error.message;
  }
}"""
# The same from a frame that has no origin; returns what it got, once it was answered.
SANDBOXED = """url => new Promise((answered) => {
  addEventListener("message", (event) => answered(event.data));
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.srcdoc = `<script>
    fetch("${url}", {method: "POST", mode: "no-cors"}).then(
      (reply) => parent.postMessage(reply.type, "*"),
      (error) => parent.postMessage(error.message, "*"),
    );
  </script>`;
  document.body.append(frame);
})"""
NOT_SHOWN = "Failed to fetch"


class Elsewhere(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def site(port: int) -> Iterator[None]:
    with in_thread(ThreadingHTTPServer(("127.0.0.1", port), Elsewhere)):
        yield


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    chosen = free_port()
    with site(chosen):
        yield chosen


@pytest.fixture(params=["cross-site", "same-site"])
def stranger(request: pytest.FixtureRequest, port: int) -> str:
    # Seen from 127.0.0.1, the one is another site, the other only another port.
    host = "localhost" if request.param == "cross-site" else "127.0.0.1"
    return f"http://{host}:{port}"


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context()
    yield context.new_page()
    context.close()


def complaining(registry: RegistryProcess) -> None:
    """Have a service that says that it is not well; its next heartbeat ends that."""
    registry.register("a", ttl=600)
    heartbeat = {"status": "unhealthy", "note": "the disk is full"}
    url = f"{registry.url}/api/heartbeat/a"
    assert requests.post(url, json=heartbeat, timeout=10).status_code == 200


def status(registry: RegistryProcess) -> str:
    service = registry.service("a")
    assert service is not None
    return str(service["status"])


@pytest.mark.parametrize("allowed", [["http://other.example"], []])
def test_a_strangers_page_changes_nothing(
    page: Page, stranger: str, allowed: list[str]
) -> None:
    with running_registry(allowed_origins=allowed) as registry:
        complaining(registry)
        page.goto(stranger)
        heartbeat = f"{registry.url}/api/heartbeat/a"
        with page.expect_response(heartbeat) as sent:
            page.evaluate(BLIND, heartbeat)
        assert sent.value.status == 403
        # Nor does a form, whose reply takes the page's place.
        with page.expect_navigation() as led:
            page.evaluate(
                "url => { const form = document.createElement('form');"
                " form.method = 'post'; form.action = url;"
                " document.body.append(form); form.submit(); }",
                heartbeat,
            )
        assert led.value is not None and led.value.status == 403
        assert status(registry) == "unhealthy"
        page.goto(stranger)
        for method in ("GET", "PUT", "DELETE"):
            request: list[Any] = [f"{registry.url}/api/services/a", method, {}]
            assert page.evaluate(ASKING, request) == NOT_SHOWN
        assert status(registry) == "unhealthy"


def test_a_page_without_an_origin_changes_nothing_even_where_all_may(
    page: Page, port: int
) -> None:
    with running_registry(allowed_origins=["*"]) as registry:
        complaining(registry)
        page.goto(f"http://localhost:{port}")
        heartbeat = f"{registry.url}/api/heartbeat/a"
        assert page.evaluate(SANDBOXED, heartbeat) == "opaque"
        assert status(registry) == "unhealthy"
        assert page.evaluate(ASKING, [heartbeat, "POST", {}]) == [200, False]
        assert status(registry) == "healthy"


def test_an_allowed_page_may_do_everything(page: Page, stranger: str) -> None:
    with running_registry(allowed_origins=[stranger]) as registry:
        registry.register("a")
        page.goto(stranger)
        headers = {"Authorization": "Bearer x", "X-Owner-Key": "k", "If-Match": "*"}
        service = f"{registry.url}/api/services/a"
        assert page.evaluate(ASKING, [service, "GET", headers]) == [200, True]
        drain = f"{service}/drain"
        assert page.evaluate(ASKING, [drain, "PUT", headers]) == [200, False]
        assert status(registry) == "draining"
        assert page.evaluate(ASKING, [service, "DELETE", headers]) == [200, False]
        assert registry.service("a") is None
        metrics = [f"{registry.url}/metrics", "GET", {}]
        assert page.evaluate(ASKING, metrics) == NOT_SHOWN


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_no_page_frames_ours_or_holds_its_window(
    page: Page, port: int, path: str
) -> None:
    url = f"http://localhost:{port}"
    with running_registry(allowed_origins=[url]) as registry:
        page.goto(url)
        with page.expect_event("frameattached"):
            page.evaluate(
                "url => new Promise(loaded => {"
                " const frame = document.createElement('iframe');"
                " frame.src = url; frame.onload = loaded;"
                " document.body.append(frame); })",
                registry.url + path,
            )
        assert page.frames[1].locator("body#main, #main, #ui").count() == 0
        with page.expect_popup() as opened:
            page.evaluate("url => { window.theirs = open(url) }", registry.url + path)
        opened.value.locator("#main, #ui").wait_for()
        wait_for_script(page, "window.theirs.closed")
        assert opened.value.evaluate("window.opener") is None
