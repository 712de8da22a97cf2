"""nginx as its page has it: over DNS, and with a file from a template."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.docs.reader import ROOT
from support.proxies.churn import (
    Command,
    Site,
    answer,
    answering,
    answers,
    no_call_fails_while_providers_come_and_go,
    site,
)
from support.proxies.pages import configuration
from support.registry import eventually
from support.servers import nginx
from support.servers.program import Program
from support.serving import HOST, free_port

TEMPLATE = ROOT / "deploy" / "templates" / "nginx-upstreams.conf.j2"


@contextmanager
def over_dns(found: Site, folder: Path) -> Iterator[str]:
    """Yield the address of an nginx that asks for SRV records."""
    port, dns_port = free_port(), found.settings["dns_port"]
    text = configuration("nginx.md", "nginx", {"5353": dns_port, "8080": port})
    # The zone belongs to one process alone otherwise.
    command = nginx.command(folder, text, nginx.newest(), nginx.MASTER)
    program = Program(command, folder / "nginx.log")
    try:
        program.wait_until(lambda: answer(f"http://{HOST}:{port}/") is not None)
        yield f"http://{HOST}:{port}/"
    finally:
        program.stop()


@pytest.fixture(scope="module")
def found() -> Iterator[Site]:
    with site(dns_port=free_port(), dns_ttl=1) as one:
        yield one


def test_over_dns_no_call_fails_and_the_registry_may_be_away(
    found: Site, tmp_path: Path
) -> None:
    with over_dns(found, tmp_path) as url:
        assert answer(url) == "502"
        no_call_fails_while_providers_come_and_go(found, url)
        found.start("three", weight=3)
        eventually(lambda: answers(url, 40) == {"three": 30, "four": 10})
        found.drain("three")
        found.start("spare", priority=10)
        eventually(lambda: answering(url) == {"four"})
        found.kill("four")
        eventually(lambda: answering(url) == {"spare"})
        found.registry.kill()
        eventually(lambda: "could not be resolved" in log(tmp_path))
        assert answering(url) == {"spare"}
        found.restart_registry()
        found.kill("spare")
        found.start("one")
        eventually(lambda: answering(url) == {"one"})
        found.registry.unregister("one")
        eventually(lambda: answer(url) == "502")


def log(folder: Path) -> str:
    return (folder / "nginx.log").read_text()


@contextmanager
def from_template(found: Site, folder: Path) -> Iterator[tuple[str, Command]]:
    """Yield the address of an nginx whose upstreams are kept current."""
    port, upstreams = free_port(), folder / "upstreams.conf"
    upstreams.write_text("upstream greet { server 127.0.0.1:9 down; }\n")
    server = configuration("nginx.md", "nginx", {"8080": port}, 1)
    text = f"include {upstreams};\n{server}"
    command = [str(each) for each in nginx.command(folder, text, main=nginx.MASTER)]
    program = Program(command, folder / "nginx.log")
    url = f"http://{HOST}:{port}/"
    program.wait_until(lambda: answer(url) is not None)
    run = " ".join(command)
    rendering = Command(
        found,
        folder,
        "render",
        TEMPLATE,
        *("--output", upstreams, "--debounce", "50"),
        *("--check", f"{run} -t", "--reload", f"{run} -s reload"),
    )
    try:
        yield url, rendering
    finally:
        rendering.stop()
        program.stop()


def test_from_a_template_no_call_fails_and_the_registry_may_be_away(
    tmp_path: Path,
) -> None:
    with site() as found, from_template(found, tmp_path) as (url, rendering):
        # There has to be an upstream of this name, as the page says.
        found.start("zero")
        eventually(lambda: answer(url) == "zero")
        found.registry.unregister("zero")
        found.start("two", capabilities=["greet", "greet/formal"])
        no_call_fails_while_providers_come_and_go(found, url)
        found.start("three", weight=3)
        eventually(lambda: answers(url, 40) == {"three": 30, "four": 10})
        before = (tmp_path / "upstreams.conf").read_text()
        found.registry.kill()
        rendering.says("can't be followed")
        assert (tmp_path / "upstreams.conf").read_text() == before
        assert answering(url) == {"three", "four"}
        found.restart_registry()
        rendering.says("followed again")
        found.start("one")
        eventually(lambda: answering(url) == {"one"})
