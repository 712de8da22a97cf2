"""Caddy as its page has it: over DNS, with SRV records."""

from pathlib import Path

from support.proxies.churn import (
    answer,
    answering,
    no_call_fails_while_providers_come_and_go,
    site,
)
from support.proxies.pages import configuration
from support.registry import eventually
from support.servers.program import Program, find
from support.serving import HOST, free_port

GLOBAL = "{\n\tadmin off\n\tauto_https off\n}\n"


def test_no_call_fails_and_the_last_one_to_drain_is_gone(tmp_path: Path) -> None:
    tool = find(["caddy"], None, "caddy")
    port, dns_port = free_port(), free_port()
    file = tmp_path / "Caddyfile"
    text = configuration("caddy.md", "caddyfile", {"5353": dns_port, "8080": port})
    file.write_text(GLOBAL + text)
    url = f"http://{HOST}:{port}/"
    with site(dns_port=dns_port, dns_ttl=1) as found:
        command: list[str | Path] = [tool, "run", "--adapter", "caddyfile"]
        command += ["--config", file]
        home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
        caddy = Program(command, tmp_path / "caddy.log", home)
        try:
            caddy.wait_until(lambda: answer(url) is not None)
            no_call_fails_while_providers_come_and_go(found, url)
            found.start("backup", priority=10)
            assert answering(url) == {"three", "four"}
            found.drain("three")
            found.drain("four")
            eventually(lambda: answering(url) == {"backup"})
            found.drain("backup")
            eventually(lambda: answer(url) == "503", 60)
        finally:
            caddy.stop()
