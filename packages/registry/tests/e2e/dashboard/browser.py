"""A browser that looks at a registry, and says what it did not like."""

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from support import PROGRAMS
from support.registry import eventually, registration
from support.servers import program
from support.serving import free_port

APP = PROGRAMS / "registry.py"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# What the browser's own log says when a page's call has no or a bad answer.
NO_ANSWER = "Failed to load resource"


class Served:
    """A registry in a process of its own, and what is done to it."""

    def __init__(self, port: int | None = None, **settings: Any) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        given = json.dumps({"port": self.port, "keep_alive": 0.5, **settings})
        self.process = subprocess.Popen(
            [sys.executable, str(APP), given], stderr=subprocess.DEVNULL
        )
        eventually(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None
        try:
            return requests.get(f"{self.url}/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def register(self, service_id: str, **changes: Any) -> None:
        given = {"mode": "standalone", "location": "somewhere", **changes}
        body = registration(service_id, **given)
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
        found: dict[str, Any] = reply.json()
        return found if reply.status_code == 200 else None

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(20) == 0


@contextmanager
def served(**settings: Any) -> Iterator[Served]:
    registry = Served(**settings)
    try:
        yield registry
    finally:
        registry.stop()


class Quiet(BaseHTTPRequestHandler):
    """Is well, without a word about it."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def healthy_service() -> Iterator[ThreadingHTTPServer]:
    """A service that answers checks until it is shut down."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def browser() -> Iterator[Browser]:
    """A real Chromium; skips where there is none."""
    path = program.find(("chromium",), None, "chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield started
        started.close()


@contextmanager
def looking(
    browser: Browser, registry: Served, expected: tuple[str, ...] = (), **options: Any
) -> Iterator[Page]:
    """A page of its own; fails at the end when the browser had to complain.

    ``expected`` are beginnings of complaints that belong to the test.
    """
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(30_000)
    complaints: list[str] = []

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def asked(request: Request) -> None:
        if not request.url.startswith((f"{registry.url}/", "data:")):
            complaints.append(f"asked elsewhere: {request.url}")

    page.on("console", said)
    page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
    page.on("request", asked)
    try:
        yield page
        assert [each for each in complaints if not each.startswith(expected)] == []
    finally:
        context.close()


def texts(page: Page, selector: str) -> list[str]:
    return page.locator(selector).all_inner_texts()


def comes_true(page: Page, condition: str, argument: Any = None) -> None:
    """Wait until JavaScript says so; Playwright's own wait needs ``unsafe-eval``."""
    eventually(lambda: bool(page.evaluate(condition, argument)))
