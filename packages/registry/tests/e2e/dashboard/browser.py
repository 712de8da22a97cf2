"""A registry in a process, and browser pages that fail on any console error."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import requests
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from support.registry import eventually, registration
from support.servers import program, registry
from support.serving import in_thread

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# What the browser logs when a page's call fails.
NO_ANSWER = "Failed to load resource"


class Site(Protocol):
    """Where pages are."""

    url: str


class RegistryProcess(registry.RegistryProcess):
    """A registry in a process of its own, with calls to fill it."""

    def __init__(self, port: int | None = None, **settings: Any) -> None:
        super().__init__(port, **{"keep_alive": 0.5, **settings})

    def register(self, service_id: str, **changes: Any) -> None:
        fields = {"mode": "standalone", "location": "somewhere", **changes}
        body = registration(service_id, **fields)
        reply = requests.post(f"{self.url}/api/register", json=body, timeout=10)
        assert reply.status_code in (200, 201), reply.text

    def register_many(self, count: int) -> None:
        """Register ``service-00000`` and so on over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        for number in range(count):
            body = registration(
                f"service-{number:05}",
                name=f"Service {number % 997}",
                mode="standalone",
                capabilities=[f"can.{number % 500}", f"also.{number % 7}"],
                metadata={"runtime": "python", "shard": number % 100},
            )
            connection.request(
                "POST",
                "/api/register",
                json.dumps(body),
                {"Content-Type": "application/json"},
            )
            reply = connection.getresponse()
            reply.read()
            assert reply.status == 201
        connection.close()

    def put(self, path: str, body: Any = None) -> None:
        reply = requests.put(f"{self.url}{path}", json=body, timeout=10)
        assert reply.status_code == 200, reply.text

    def delete(self, path: str) -> None:
        assert requests.delete(f"{self.url}{path}", timeout=10).status_code == 200

    def invoked(self, consumer: str, provider: str, **more: Any) -> None:
        call = {"consumer_id": consumer, "provider_id": provider, "capability": "greet"}
        reply = requests.post(
            f"{self.url}/api/track/invocation", json={**call, **more}, timeout=10
        )
        assert reply.status_code == 200, reply.text

    def service(self, service_id: str) -> dict[str, Any] | None:
        reply = requests.get(f"{self.url}/api/services/{service_id}", timeout=10)
        body: dict[str, Any] = reply.json()
        return body if reply.status_code == 200 else None


@contextmanager
def running_registry(**settings: Any) -> Iterator[RegistryProcess]:
    registry = RegistryProcess(**settings)
    try:
        yield registry
    finally:
        registry.stop()


class HealthyHandler(BaseHTTPRequestHandler):
    """Answers every check with 204, and logs nothing."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def healthy_service() -> Iterator[ThreadingHTTPServer]:
    """A service that answers checks until it is shut down."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), HealthyHandler)
    with in_thread(server):
        yield server


@contextmanager
def browser() -> Iterator[Browser]:
    """A real Chromium; skips where there is none."""
    path = program.find(("chromium",), None, "chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield started
        started.close()


@contextmanager
def open_page(
    browser: Browser,
    registry: Site,
    expected: tuple[str, ...] = (),
    **options: Any,
) -> Iterator[Page]:
    """A new page; fails at the end if the browser logged an error.

    ``expected`` are beginnings of errors that belong to the test.
    """
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(30_000)
    errors: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            errors.append(message.text)

    def on_request(request: Request) -> None:
        if not request.url.startswith((f"{registry.url}/", "data:")):
            errors.append(f"request elsewhere: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: errors.append(f"uncaught: {error}"))
    page.on("request", on_request)
    try:
        yield page
        assert [text for text in errors if not text.startswith(expected)] == []
    finally:
        context.close()


def texts(page: Page, selector: str) -> list[str]:
    return page.locator(selector).all_inner_texts()


def wait_for_script(page: Page, condition: str, argument: Any = None) -> None:
    """Wait until a JavaScript condition holds.

    Playwright's own wait needs ``unsafe-eval``.
    """
    eventually(lambda: bool(page.evaluate(condition, argument)))
