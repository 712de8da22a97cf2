"""What a newcomer waits for: a first call after `git clone`, and the downloads."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError

from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

from benchmarks.harness.paths import ROOT
from benchmarks.harness.plan import Plan
from benchmarks.harness.results import BenchmarkError, Check, Row, Sample, Series

CLONES = 3
LIMIT = 120.0
# The README's commands, after `pip install uv`.
START = "uv run --directory packages/registry python registry_service.py"
SERVICE = "-m http.server --bind 127.0.0.1"


def firstday(plan: Plan) -> Row:
    """The time to a first call in a fresh clone, and the bytes of what it installs."""
    runs = [_first_call() for _ in range(min(plan.repeats, CLONES))]
    ready = tuple(Sample(seconds) for seconds, _ in runs)
    called = tuple(Sample(seconds) for _, seconds in runs)
    megabytes = _download() / 1e6
    series = (
        Series("ready after the first command", "s", ready),
        Series("clone to first call", "s", called),
        Series("packages of the first command", "MB", (Sample(megabytes),)),
    )
    checks = (
        Check("ready within 4 s", series[0].values, 4, "less", "s"),
        Check("first call within 10 s", series[1].values, 10, "less", "s"),
        Check("packages below 40 MB", series[2].values, 40, "less", "MB"),
    )
    notes = (
        "the README's commands in a new clone, with a warm cache of uv",
        "the packages are files as uv downloads them into an empty cache; uv itself and"
        " the index's pages come on top",
    )
    return Row("firstday", "a new clone to a first call", series, checks, notes)


def _first_call() -> tuple[float, float]:
    """Return the seconds from the first command to ready, and from clone to a call."""
    with TemporaryDirectory() as folder:
        clone = Path(folder, "modularity")
        began = time.perf_counter()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        started = time.perf_counter()
        port, service_port = _free_port(), _free_port()
        url = f"http://127.0.0.1:{port}"
        with (
            _running(f"{START} --port {port}", clone),
            _running(f"{sys.executable} {SERVICE} {service_port}", clone),
        ):
            _until_answered(f"{url}/ready")
            ready = time.perf_counter()
            location = f"http://127.0.0.1:{service_port}"
            service = {
                "id": "hello-service",
                "name": "Hello",
                "capabilities": ["greet"],
                "location": location,
                "mode": "http",
                "health": {"path": "/"},
            }
            _answer(f"{url}/api/register", json.dumps(service).encode())
            _answer(f"{url}/api/capabilities/greet")
            _until_answered(location)
            return ready - started, time.perf_counter() - began


def _download() -> int:
    """Return the bytes of the packages that the first command installs, as files."""
    with TemporaryDirectory() as folder:
        clone = Path(folder, "modularity")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        export = "uv export --quiet --no-hashes --no-annotate --no-emit-workspace"
        exported = subprocess.run(
            [*export.split(), "--directory", "packages/registry"],
            cwd=clone,
            env=_environ(),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        names = re.findall(r"^([\w.-]+)==", exported.stdout, re.MULTILINE)
        lock = tomllib.loads(Path(clone, "uv.lock").read_text())
    packages = {package["name"]: package for package in lock["package"]}
    return sum(_wheel_size(packages[name]["wheels"]) for name in names)


def _wheel_size(wheels: list[dict[str, Any]]) -> int:
    """Return the bytes of the wheel that fits this Python and machine best."""
    sizes = {}
    for wheel in wheels:
        name = wheel["url"].rpartition("/")[2]
        for tag in parse_wheel_filename(name)[3]:
            sizes[tag] = wheel["size"]
    return next(int(sizes[tag]) for tag in sys_tags() if tag in sizes)


def _environ() -> dict[str, str]:
    """Return the environment without this run's own virtual environment."""
    return {name: text for name, text in os.environ.items() if name != "VIRTUAL_ENV"}


@contextmanager
def _running(command: str, folder: Path) -> Iterator[None]:
    process = subprocess.Popen(
        command.split(),
        cwd=folder,
        env=_environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _until_answered(url: str) -> None:
    deadline = time.perf_counter() + LIMIT
    while time.perf_counter() < deadline:
        try:
            _answer(url)
            return
        except (URLError, ConnectionError):
            time.sleep(0.02)
    raise BenchmarkError(f"{url} did not answer within {LIMIT:g} s")


def _answer(url: str, body: bytes | None = None) -> None:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=10) as reply:
        reply.read()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
