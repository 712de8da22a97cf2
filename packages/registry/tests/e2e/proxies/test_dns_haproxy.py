"""HAProxy with the configuration that the page on DNS gives."""

import csv
import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from e2e.docs.blocks import blocks
from e2e.docs.reader import ROOT
from support.dns import HOST, Site, site
from support.registry import eventually
from support.servers import program
from support.servers.program import Program
from support.serving import free_port

PAGE = ROOT / "docs" / "dns.md"
HEAD = """
global
    stats socket {socket} mode 600
    stats timeout 10s

defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
"""


class Greeter:
    """An HTTP server that says its name."""

    def __init__(self, name: str) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        self.location = f"http://{HOST}:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def greeters() -> Iterator[list[Greeter]]:
    found = [Greeter(name) for name in ("one", "two", "three")]
    yield found
    for each in found:
        each.stop()


class HAProxy:
    """HAProxy over the resolver of a site."""

    def __init__(self, found: Site, folder: Path) -> None:
        tool = program.find(["haproxy"], None, "haproxy")
        self.port = free_port()
        self.socket = folder / "stats"
        [block] = [
            each for each in blocks(PAGE.read_text()) if each.language == "haproxy"
        ]
        text = HEAD.format(socket=self.socket) + block.text + "\n"
        for written, used in (("5353", found.port), ("8080", self.port)):
            assert text.count(f":{written}\n") == 1
            text = text.replace(f":{written}\n", f":{used}\n")
        config = folder / "haproxy.cfg"
        config.write_text(text)
        self.program = Program([tool, "-db", "-f", config], folder / "haproxy.log")
        # The socket's file is there a moment before HAProxy listens on it.
        self.program.wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            self.backends()
        except OSError:
            return False
        return True

    def backends(self) -> set[str]:
        """Return the addresses of the servers that are up."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.settimeout(10)
            stats.connect(str(self.socket))
            stats.sendall(b"show stat\n")
            with stats.makefile() as reply:
                rows = list(csv.DictReader(reply.read().lstrip("# ").splitlines()))
        return {
            row["addr"]
            for row in rows
            if row["pxname"] == "greet"
            and row["svname"] != "BACKEND"
            and row["status"] in ("UP", "no check")
        }

    def answering(self) -> set[str]:
        """Return who answers, of a dozen calls."""
        names = set()
        for _ in range(12):
            with urlopen(f"http://{HOST}:{self.port}/", timeout=10) as reply:
                names.add(reply.read().decode())
        return names


@contextmanager
def haproxy(found: Site, folder: Path) -> Iterator[HAProxy]:
    proxy = HAProxy(found, folder)
    try:
        yield proxy
    finally:
        proxy.program.stop()


def test_backends_follow_the_registry(greeters: list[Greeter], tmp_path: Path) -> None:
    places = [each.location.removeprefix("http://") for each in greeters]
    with site() as found, haproxy(found, tmp_path) as proxy:
        assert proxy.backends() == set()
        for name, each in zip(("one", "two", "three"), greeters, strict=True):
            found.register(name, each.location)
        eventually(lambda: proxy.backends() == set(places))
        assert proxy.answering() == {"one", "two", "three"}
        found.unregister("two")
        eventually(lambda: proxy.backends() == {places[0], places[2]})
        assert proxy.answering() == {"one", "three"}
        found.drain("one")
        eventually(lambda: proxy.backends() == {places[2]})
        found.register("two", greeters[1].location)
        eventually(lambda: proxy.backends() == {places[1], places[2]})
        assert proxy.answering() == {"two", "three"}
