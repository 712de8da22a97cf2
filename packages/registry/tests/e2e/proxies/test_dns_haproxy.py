"""HAProxy with the configuration that the page on DNS gives."""

import csv
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from e2e.docs.blocks import blocks
from e2e.docs.reader import ROOT
from support.integrations.dns import HOST, site
from support.proxies.churn import Provider
from support.registry import eventually
from support.servers import program
from support.servers.program import Program
from support.servers.registry import Registered
from support.serving import free_port

# HAProxy's own defaults give up what it had from before after so long.
HOLD_SECONDS = 32.0
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


@pytest.fixture
def greeters() -> Iterator[list[Provider]]:
    found = [Provider(name) for name in ("one", "two", "three")]
    yield found
    for each in found:
        each.kill()


class HAProxy:
    """HAProxy over the DNS at ``port``."""

    def __init__(self, port: int, folder: Path, backups: bool = False) -> None:
        tool = program.find(["haproxy"], None, "haproxy")
        self.port = free_port()
        self.socket = folder / "stats"
        plain, with_backups = [
            each.text for each in blocks(PAGE.read_text()) if each.language == "haproxy"
        ]
        text = HEAD.format(socket=self.socket) + plain + "\n"
        if backups:
            text = text[: text.index("\nbackend greet")] + f"\n{with_backups}\n"
        for written, used in (("5353", port), ("8080", self.port)):
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
def haproxy(port: int, folder: Path, backups: bool = False) -> Iterator[HAProxy]:
    proxy = HAProxy(port, folder, backups)
    try:
        yield proxy
    finally:
        proxy.program.stop()


def test_backends_follow_the_registry(greeters: list[Provider], tmp_path: Path) -> None:
    places = [each.place for each in greeters]
    with site() as found, haproxy(found.port, tmp_path) as proxy:
        assert proxy.backends() == set()
        for name, each in zip(("one", "two", "three"), greeters, strict=True):
            found.register(name, f"http://{each.place}")
        eventually(lambda: proxy.backends() == set(places))
        assert proxy.answering() == {"one", "two", "three"}
        found.unregister("two")
        eventually(lambda: proxy.backends() == {places[0], places[2]})
        assert proxy.answering() == {"one", "three"}
        found.drain("one")
        eventually(lambda: proxy.backends() == {places[2]})
        found.register("two", f"http://{greeters[1].place}")
        eventually(lambda: proxy.backends() == {places[1], places[2]})
        assert proxy.answering() == {"two", "three"}


def test_backups_are_ready_and_take_over(
    greeters: list[Provider], tmp_path: Path
) -> None:
    places = {each.place for each in greeters}
    with site() as found, haproxy(found.port, tmp_path, backups=True) as proxy:
        for name, each in zip(("one", "two"), greeters, strict=False):
            found.register(name, f"http://{each.place}", priority=10)
        found.register("three", f"http://{greeters[2].place}", priority=20)
        eventually(lambda: proxy.backends() == places)
        assert proxy.answering() == {"one", "two"}
        found.fail("one")
        eventually(lambda: proxy.answering() == {"two"})
        found.drain("two")
        eventually(lambda: proxy.answering() == {"three"})


def test_last_provider_is_gone_in_seconds_once_it_drains_or_unregisters(
    greeters: list[Provider], tmp_path: Path
) -> None:
    place = greeters[0].place
    with site() as found, haproxy(found.port, tmp_path) as proxy:
        for leave in (found.drain, found.unregister):
            found.register("one", f"http://{greeters[0].place}")
            eventually(lambda: proxy.backends() == {place})
            leave("one")
            eventually(lambda: proxy.backends() == set(), HOLD_SECONDS / 2)
            found.unregister("one") if leave == found.drain else None


def test_backends_stay_while_the_registry_is_dead_and_follow_the_next_one(
    greeters: list[Provider], tmp_path: Path
) -> None:
    places = [each.place for each in greeters]
    dns_port = free_port()
    first = Registered(dns_port=dns_port)
    try:
        with haproxy(dns_port, tmp_path) as proxy:
            for name, place in zip("ab", places, strict=False):
                first.register(name, place)
            eventually(lambda: proxy.backends() == set(places[:2]))
            first.kill()
            killed = time.monotonic()
            pause = threading.Event()
            while time.monotonic() < killed + HOLD_SECONDS + 5:
                assert proxy.backends() == set(places[:2])
                pause.wait(0.5)
            assert proxy.answering() == {"one", "two"}
            second = Registered(dns_port=dns_port)
            try:
                second.register("c", places[2])
                eventually(lambda: proxy.backends() == {places[2]})
            finally:
                second.stop()
    finally:
        first.kill()
