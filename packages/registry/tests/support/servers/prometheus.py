"""A real Prometheus, and services for it to scrape."""

import http.server
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from support.servers.program import Program, find
from support.serving import HOST, free_port, in_thread


def promtool() -> Path:
    """Return the program that checks Prometheus' files; skips where there is none."""
    return find(["promtool"], None, "prometheus")


class Prometheus:
    """A Prometheus that runs with the configuration that it is given."""

    def __init__(self, folder: Path, config: str) -> None:
        program = find(["prometheus"], None, "prometheus")
        self.url = f"http://{HOST}:{free_port()}"
        folder.joinpath("prometheus.yml").write_text(config)
        self.program = Program(
            (
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ),
            folder / "prometheus.log",
        )

    def answers(self) -> bool:
        """Say whether it is up."""
        try:
            return requests.get(f"{self.url}/-/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of one call of its API."""
        url = f"{self.url}/api/v1/{path}"
        reply = requests.get(url, params=parameters, timeout=10)
        assert reply.status_code == 200, reply.text
        return reply.json()["data"]

    def targets(self) -> list[dict[str, Any]]:
        """Return whom it scrapes, with all that it knows of them."""
        targets: list[dict[str, Any]] = self.get("targets", state="active")[
            "activeTargets"
        ]
        return targets

    def value(self, expression: str) -> float | None:
        """Return what an expression with one result comes to; None for none."""
        found = self.get("query", query=expression)["result"]
        assert len(found) < 2, found
        return float(found[0]["value"][1]) if found else None


@contextmanager
def running(folder: Path, config: str) -> Iterator[Prometheus]:
    """A Prometheus in ``folder``, up and ready until the end of the block."""
    prometheus = Prometheus(folder, config)
    try:
        prometheus.program.wait_until(prometheus.answers)
        yield prometheus
    finally:
        prometheus.program.stop()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Scraped)
        found = self.path == self.server.path
        body = b"things_done_total 7\n" if found else b"{}"
        self.send_response(200 if found or self.path.endswith("health") else 404)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Scraped(http.server.ThreadingHTTPServer):
    """A service with metrics at ``path``; well wherever its health is asked for."""

    daemon_threads = True

    def __init__(self, path: str = "/metrics") -> None:
        super().__init__((HOST, 0), _Handler)
        self.path = path

    @property
    def place(self) -> str:
        """Its host and port."""
        return f"{HOST}:{self.server_port}"


@contextmanager
def scraped(path: str = "/metrics") -> Iterator[Scraped]:
    """A service that answers until the end of the block."""
    server = Scraped(path)
    with in_thread(server):
        yield server
