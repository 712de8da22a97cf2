"""Registries that ask for tokens, as they really run."""

import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from modularity_registry.tokens import FileTokenBackend
from support import REGISTRY
from support.access.authorization import bearer
from support.registry import eventually
from support.serving import HOST, free_port

SCRIPT = REGISTRY / "registry_service.py"
SHOWN = re.compile(r"^ {4}(mreg_\S+)$", re.MULTILINE)
SECOND = 1.0
"""Within this, a token that is made or revoked is so everywhere."""


class Closed:
    """A registry with ``--auth``, started as a user would, and what it printed."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._printed = folder / f"{self.port}.out"
        self._log = folder / f"{self.port}.log"
        with self._printed.open("wb") as out, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    str(SCRIPT),
                    "--auth",
                    "--port",
                    str(self.port),
                    *flags,
                ],
                stdout=out,
                stderr=log,
            )
        eventually(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return requests.get(f"{self.url}/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    @property
    def tokens(self) -> list[str]:
        """The tokens that it printed."""
        return SHOWN.findall(self._printed.read_text())

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ask(
        self, path: str, token: str, method: str = "GET", body: Any = None
    ) -> requests.Response:
        return requests.request(
            method, self.url + path, json=body, headers=bearer(token), timeout=10
        )

    def may_read(self, token: str) -> bool:
        return self.ask("/api/services", token).status_code == 200

    def create(self, admin: str, name: str, *rights: str) -> str:
        wish = {"name": name, "rights": rights}
        reply = self.ask("/api/tokens", admin, "POST", wish)
        assert reply.status_code == 201, reply.text
        text: str = reply.json()["token"]
        return text

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(20) == 0


@contextmanager
def closed(folder: Path, *flags: str) -> Iterator[Closed]:
    registry = Closed(folder, *flags)
    try:
        yield registry
    finally:
        registry.stop()


def store(folder: Path) -> tuple[str, str]:
    return "--store", f"sqlite:///{folder}/registry.db"


def test_the_first_start_shows_one_token_once(tmp_path: Path) -> None:
    with closed(tmp_path, *store(tmp_path), "--workers", "2") as registry:
        (admin,) = registry.tokens
        assert registry.ask("/api/tokens", admin).json()["count"] == 1
        # Not where lines are kept and read by many.
        assert admin not in registry.log
    content = b"".join(each.read_bytes() for each in tmp_path.glob("registry.db*"))
    assert admin.encode() not in content
    with closed(tmp_path, *store(tmp_path)) as registry:
        assert registry.tokens == []
        assert registry.may_read(admin)


def test_a_change_holds_on_every_replica_within_a_second(tmp_path: Path) -> None:
    with (
        closed(tmp_path, *store(tmp_path)) as one,
        closed(tmp_path, *store(tmp_path)) as other,
    ):
        (admin,) = one.tokens
        assert other.tokens == []
        text = one.create(admin, "team", "read")
        began = time.monotonic()
        eventually(lambda: other.may_read(text))
        assert time.monotonic() - began < SECOND
        assert one.ask("/api/tokens/team", admin, "DELETE").status_code == 200
        began = time.monotonic()
        eventually(lambda: not other.may_read(text))
        assert time.monotonic() - began < SECOND
        assert not one.may_read(text)


@pytest.mark.parametrize("path", ["/api/events", "/api/services?wait=60&revision=-1"])
def test_who_listens_is_cut_off_when_the_token_is_revoked(
    tmp_path: Path, path: str
) -> None:
    with closed(tmp_path) as registry:
        (admin,) = registry.tokens
        text = registry.create(admin, "team", "read")
        revision = registry.ask("/health", admin).json()["revision"]
        connection = http.client.HTTPConnection(HOST, registry.port, timeout=30)
        connection.request("GET", path.replace("-1", str(revision)), None, bearer(text))
        ended = threading.Event()

        def listen() -> None:
            connection.getresponse().read()
            ended.set()

        threading.Thread(target=listen, daemon=True).start()
        eventually(lambda: registry.ask("/api/stats", admin).json()["watchers"] == 1)
        assert registry.ask("/api/tokens/team", admin, "DELETE").status_code == 200
        assert ended.wait(SECOND)
        connection.close()
        assert registry.ask(path, text).status_code == 401


def test_tokens_in_a_file_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    with closed(tmp_path, "--tokens-file", str(path)) as registry:
        (admin,) = registry.tokens
        text = registry.create(admin, "team", "read")
        assert registry.may_read(text)
        assert set(FileTokenBackend(str(path)).all()) == {"admin", "team"}
        kept = json.loads(path.read_text())
        kept["tokens"] = [each for each in kept["tokens"] if each["name"] == "admin"]
        path.write_text(json.dumps(kept))
        began = time.monotonic()
        eventually(lambda: not registry.may_read(text))
        assert time.monotonic() - began < SECOND
        path.write_text("rubbish")
        eventually(lambda: "degraded" in registry.ask("/health", admin).text)
        assert registry.may_read(admin)
        path.write_text(json.dumps(kept))
        eventually(lambda: "degraded" not in registry.ask("/health", admin).text)
    with closed(tmp_path, "--tokens-file", str(path)) as registry:
        assert registry.tokens == []
        assert registry.may_read(admin)
