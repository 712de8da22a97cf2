"""nginx with the configuration for backups that the page on DNS gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from e2e.docs.blocks import blocks
from e2e.docs.reader import ROOT
from support.integrations.dns import site
from support.proxies.churn import Provider
from support.registry import eventually
from support.servers import nginx
from support.servers.program import Program
from support.serving import HOST, free_port

PAGE = ROOT / "docs" / "dns.md"
PRIMARY, BACKUP = "127.0.0.2", "127.0.0.3"


@contextmanager
def greeter(host: str, port: int) -> Iterator[None]:
    """An HTTP server that says its address."""
    provider = Provider(host, port, host)
    try:
        yield
    finally:
        provider.kill()


@contextmanager
def proxy(dns_port: int, provider_port: int, folder: Path) -> Iterator[str]:
    """Yield nginx's address."""
    [block] = [each for each in blocks(PAGE.read_text()) if each.language == "nginx"]
    text = block.text
    for written, used in ((":5353 ", dns_port), (":9001;", provider_port)):
        assert written in text
        text = text.replace(written, f":{used}{written[-1]}")
    port = free_port()
    servers = f"server {{ listen {HOST}:{port}; {text} }}"
    program = Program(nginx.command(folder, servers), folder / "nginx.log")
    url = f"http://{HOST}:{port}/"
    try:
        program.wait_until(lambda: answer(url) is not None)
        yield url
    finally:
        program.stop()


def answer(url: str) -> str | None:
    """Return who answers, or the status; None while nginx doesn't listen yet."""
    try:
        reply = requests.get(url, timeout=10)
    except requests.ConnectionError:
        return None
    return reply.text if reply.ok else str(reply.status_code)


def test_a_backup_takes_over_and_steps_back(tmp_path: Path) -> None:
    port = free_port()
    with site(ttl=1) as found, proxy(found.port, port, tmp_path) as url:
        assert answer(url) == "502"
        found.register("primary", f"http://{PRIMARY}:{port}")
        found.register("backup", f"http://{BACKUP}:{port}", priority=10)
        with greeter(BACKUP, port):
            # The primary is dead, and the registry does not know it yet.
            eventually(lambda: answer(url) == BACKUP)
            with greeter(PRIMARY, port):
                eventually(lambda: answer(url) == PRIMARY)
                found.drain("primary")
                eventually(lambda: answer(url) == BACKUP)
                found.unregister("primary")
                found.register("primary", f"http://{PRIMARY}:{port}")
                eventually(lambda: answer(url) == PRIMARY)
