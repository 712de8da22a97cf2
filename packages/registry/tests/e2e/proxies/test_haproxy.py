"""HAProxy as its page has it, with its servers set over its runtime API."""

import csv
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.proxies.churn import (
    Command,
    Site,
    answer,
    answers,
    no_call_fails_while_providers_come_and_go,
    site,
)
from support.proxies.pages import configuration
from support.registry import eventually
from support.servers import program
from support.servers.program import Program
from support.serving import HOST, free_port

NO_CHANGES: Mapping[str, str] = {}


class HAProxy:
    """HAProxy with servers that have no place yet."""

    def __init__(self, folder: Path, changes: Mapping[str, str]) -> None:
        tool = program.find(["haproxy"], None, "haproxy")
        port, self.socket = free_port(), folder / "admin.sock"
        path = "/run/haproxy/admin.sock"
        text = configuration("haproxy.md", "haproxy", {"8080": port, **changes})
        assert path in text
        config = folder / "haproxy.cfg"
        config.write_text(text.replace(path, str(self.socket)))
        self.url = f"http://{HOST}:{port}/"
        self._command: list[str | Path] = [tool, "-db", "-f", config]
        self._log = folder / "proxy.log"
        self.start()

    def start(self) -> None:
        """Start it, with nothing of what was set before."""
        self.program = Program(self._command, self._log)
        self.program.wait_until(lambda: answer(self.url) is not None)

    def servers(self) -> dict[str, str]:
        """Return the status of each server that has a place, by the place."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.settimeout(10)
            stats.connect(str(self.socket))
            stats.sendall(b"show stat greet 4 -1\n")
            with stats.makefile() as reply:
                rows = list(csv.DictReader(reply.read().lstrip("# ").splitlines()))
        return {
            row["addr"]: row["status"] for row in rows if row["addr"] != "127.0.0.1:1"
        }


@contextmanager
def running(
    folder: Path, *options: str, changes: Mapping[str, str] = NO_CHANGES
) -> Iterator[tuple[Site, HAProxy, Command]]:
    """A registry, HAProxy, and what keeps its servers current."""
    with site() as found:
        proxy = HAProxy(folder, changes)
        line: list[str | Path] = ["haproxy", "--socket", proxy.socket]
        line += ["--backend", "greet=greet", *options]
        command = Command(found, folder, *line)
        try:
            yield found, proxy, command
        finally:
            command.stop()
            proxy.program.stop()


def test_no_call_fails_while_providers_come_and_go(tmp_path: Path) -> None:
    with running(tmp_path) as (found, proxy, _):
        no_call_fails_while_providers_come_and_go(found, proxy.url)
        found.start("three", weight=3)
        eventually(lambda: answers(proxy.url) == {"three": 30, "four": 10})
        place = found.providers["three"].place
        found.drain("three")
        eventually(lambda: proxy.servers()[place] == "DRAIN")
        assert answers(proxy.url) == {"four": 40}
        found.registry.unregister("three")
        eventually(lambda: proxy.servers()[place] == "MAINT")
        found.start("v1", version="1.0.0", weight=300)
        found.start("v2", version="2.0.0")
        found.start("far", priority=5)
        found.split(v1=30, v2=10)
        eventually(lambda: answers(proxy.url) == {"v1": 30, "v2": 10})


def test_all_is_set_again_after_either_was_away(tmp_path: Path) -> None:
    with running(tmp_path, "--near", "here") as (found, proxy, command):
        found.start("one", zone="here")
        found.start("two", zone="there")
        eventually(lambda: answer(proxy.url) == "one")
        assert answers(proxy.url) == {"one": 40}
        proxy.program.kill()
        command.says("trying again")
        proxy.start()
        eventually(lambda: answer(proxy.url) == "one")
        command.says("are set again")
        found.registry.kill()
        command.says("can't be followed")
        assert answers(proxy.url) == {"one": 40}
        found.restart_registry()
        found.start("two")
        eventually(lambda: answers(proxy.url) == {"two": 40})


def test_too_few_servers_and_other_faults_are_told(tmp_path: Path) -> None:
    small = {"greet 20": "greet 1"}
    options = ("--backend", "nobody=greet")
    with running(tmp_path, *options, changes=small) as (found, proxy, command):
        command.says("backend nobody: Can't find backend")
        found.start("one")
        eventually(lambda: answer(proxy.url) == "one")
        found.start("two")
        command.says("has 1 servers, 1 too few for greet")
        assert answers(proxy.url) == {"one": 40}
        found.registry.unregister("one")
        eventually(lambda: answers(proxy.url) == {"two": 40})


def test_a_socket_without_the_right_level_is_told(tmp_path: Path) -> None:
    changes = {"level admin": "level operator"}
    with running(tmp_path, changes=changes) as (found, proxy, command):
        found.start("one")
        command.says("Permission denied")
        assert answer(proxy.url) == "503"
