"""Follows a document as its reader would: runs its commands and looks at the replies.

What starts a server runs in the background for the rest of the document, on a free
port in place of the one that is written. Everything else runs as it stands, and only
if it is known to be harmless.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import requests

from e2e.docs.blocks import SHELL, Block, blocks, commands
from e2e.docs.matching import differences, settled
from support import REPOSITORY
from support.registry import eventually
from support.serving import free_port

ROOT = REPOSITORY
HOST = "127.0.0.1"
RUN_SECONDS = 240
START_SECONDS = 20.0
CURL_FAILED = 22  # with --fail-with-body: the status was 400 or more

OUTPUTS = ("json", "text")
PROBLEM = "urn:modularity-registry:"
REGISTRY_PORT, HELLO_PORT, ETCD_PORT = 5000, 9001, 2379
DEFAULT_PORTS = {"hello_service": HELLO_PORT, "greeter": HELLO_PORT, "etcd": ETCD_PORT}
PORT_SETTINGS = {"hello_service": "HELLO_PORT", "greeter": "PORT"}
START_REGISTRY = "uv run --directory packages/registry python registry_service.py"

# What may run as it stands; `Substitute` is for the rest.
HARMLESS = re.compile(
    r"curl\s|uv run python (examples/01-hello-world/)?call\.py\b"
    r"|uv run flake8 registry_service\.py$"
    r"|uv run modularity-registry (completion|discover|doctor|drain|explain|find|graph"
    r"|info|init greeter\.py$|ls|namespaces|register|split|stats|undrain"
    r"|unregister)\b"
    r"|python3 -c \"import sqlite3 as s; s\.connect\('/tmp/"
)
_START = re.compile(
    r"(?:pip install uv && )?"
    r"(?P<settings>(?:[A-Z_]+=\S+ )*)"
    r"(?:uv run (?:--directory \S+ )?python"
    r" \S*(?P<script>(registry|hello)_service|greeter)\.py"
    r"|uv run (?P<store>etcd)"
    r"|python3 -m (?P<server>http\.server) \d+ --bind 127\.0\.0\.1)"
    r"(?P<flags>(?: --?[\w-]+(?:[= ][^-\s]\S*)?)*)"
)
_PORT = re.compile(r"(?:--port[ =]|PORT=|http\.server )(\d+)")
_STORE = re.compile(r"(--store \w+://127\.0\.0\.1:)(\d+)")
_AUTHORITY = re.compile(r"\b(localhost|127\.0\.0\.1):(\d{4,5})\b")
_URL = re.compile(r"\b\w+://([^/\s:'\"]+)")
# Names and addresses to which nothing is ever sent: the registry refuses them.
_REFUSED = ("169.254.169.254",)


class Substitute(NamedTuple):
    """A cheaper command that fails where the written one would; ``why`` it is run."""

    command: str
    why: str


class WrongDocument(AssertionError):
    """A document that says something else than what happens."""


@dataclass(frozen=True, slots=True)
class _Server:
    """Something that was started: ``port`` is its real one."""

    kind: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    extra: bool


class Reader:
    """Reads one document, from ``folder``; leaves what it makes in ``scratch``."""

    def __init__(
        self, folder: Path, scratch: Path, substitutes: Mapping[str, Substitute]
    ) -> None:
        self._folder = folder
        self._scratch = scratch
        self._substitutes = substitutes
        self._ports: dict[int, int] = {}
        self._servers: list[_Server] = []
        self._awaited: list[_Server] = []
        (scratch / ".curlrc").write_text(
            "silent\nshow-error\nfail-with-body\nmax-time = 20\n"
        )

    def follow(self, markdown: str, name: str) -> None:
        """Do all that the document says; raises `WrongDocument` naming the line."""
        found = blocks(markdown)
        shell = "".join(each.text for each in found if each.language in SHELL)
        started = self._servers or "registry_service.py" in shell
        if "curl" in shell and not started:
            self._start(START_REGISTRY, ROOT)
        while found:
            block = found.pop(0)
            try:
                if block.language in SHELL:
                    outputs = _leading(found)
                    del found[: len(outputs)]
                    self._do(block.text, outputs)
                elif block.language in OUTPUTS:
                    raise WrongDocument("a reply without a command that it belongs to")
                elif block.language == "python":
                    compile(block.text, name, "exec")
            except (AssertionError, SyntaxError) as error:
                raise WrongDocument(f"{name}:{block.line}: {error}") from error
        try:
            self._await_servers()
        except AssertionError as error:
            raise WrongDocument(f"{name}: {error}") from error

    def kill(self, port: int) -> None:
        """End at once what was started for the written ``port``."""
        for server in self._servers:
            if server.port == self._ports[port] and server.process.poll() is None:
                os.killpg(server.process.pid, signal.SIGKILL)
                server.process.wait(20)

    def close(self) -> None:
        """Stop all that was started."""
        for server in self._servers:
            _stop(server.process)

    def _do(self, text: str, outputs: Sequence[Block]) -> None:
        written = commands(text)
        starts = [_START.fullmatch(each) is not None for each in written]
        if any(starts):
            assert all(starts), "what starts a server stands in a block of its own"
            assert not outputs, "what starts a server has no reply"
            for command in written:
                self._start(command, self._folder)
            return
        self._await_servers()
        code, output = self._run([self._runnable(each) for each in written])
        self._compare(code, output, outputs)
        self._await_checks()

    # Servers

    def _start(self, command: str, folder: Path) -> None:
        match = _START.fullmatch(command)
        assert match is not None
        kind = match["script"] or match["store"] or "http"
        default = DEFAULT_PORTS.get(kind, REGISTRY_PORT)
        explicit = _PORT.search(command)
        written = int(explicit[1]) if explicit else default
        # The same port again is an alternative: it is seen to start, then stopped.
        extra = written in self._ports and any(
            server.port == self._ports[written] and server.process.poll() is None
            for server in self._servers
        )
        port = free_port() if extra else self.port(written)
        log = self._scratch / f"server-{len(self._servers)}.log"
        command = command.removeprefix("pip install uv && ").replace("0.0.0.0", HOST)
        command = self._in_scratch(command)
        command = _PORT.sub(lambda m: m[0].replace(m[1], str(port)), command)
        command = _STORE.sub(lambda m: f"{m[1]}{self.port(int(m[2]))}", command)
        if kind == "etcd":
            command += _etcd_flags(port)
        environ = self._environ()
        if not explicit:
            environ[PORT_SETTINGS.get(kind, "REGISTRY_PORT")] = str(port)
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=folder,
                env=environ,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        server = _Server(kind, port, process, log, extra)
        self._servers.append(server)
        self._awaited.append(server)

    def _await_servers(self) -> None:
        awaited, self._awaited = self._awaited, []
        for server in awaited:
            eventually(partial(self._up, server), START_SECONDS)
            if server.extra:
                _stop(server.process)

    def _up(self, server: _Server) -> bool:
        code = server.process.poll()
        assert code is None, f"it ended with {code}: {server.log.read_text()}"
        url = f"http://{HOST}:{server.port}/"
        if server.kind == "registry_service":
            return _ok(url + "ready")
        if server.kind in PORT_SETTINGS:
            return self._is_healthy(server.port)
        return _ok(url + "health" if server.kind == "etcd" else url)

    def _is_healthy(self, port: int) -> bool:
        healthy = requests.get(
            f"{self._registry}/api/services?status=healthy", timeout=10
        ).json()["services"]
        return any(each["location"] == f"http://{HOST}:{port}" for each in healthy)

    @property
    def _registry(self) -> str:
        return f"http://{HOST}:{self.port(REGISTRY_PORT)}"

    def port(self, written: int) -> int:
        """The free port that stands for the written one."""
        return self._ports.setdefault(written, free_port())

    def _await_checks(self) -> None:
        """A reader who types is slower than the first check of a new service."""
        if any(server.kind == "registry_service" for server in self._servers):
            eventually(self._all_checked)

    def _all_checked(self) -> bool:
        listed = requests.get(f"{self._registry}/api/services", timeout=10).json()
        for service in listed["services"]:
            if service["health"] is None:
                continue
            url = f"{self._registry}/api/services/{service['id']}"
            if requests.get(url, timeout=10).json()["evidence"]["checked_at"] is None:
                return False
        return True

    # Commands

    def _runnable(self, command: str) -> str:
        substitute = self._substitutes.get(command)
        if substitute is not None:
            return substitute.command
        assert HARMLESS.match(
            command
        ), f"nobody has said that this may run, or what to run in its place: {command}"
        for host in _URL.findall(command):
            assert host in ("localhost", HOST, *_REFUSED), f"no call to {host} here"
        command = self._in_scratch(command)
        return _AUTHORITY.sub(lambda m: f"{m[1]}:{self.port(int(m[2]))}", command)

    def _in_scratch(self, command: str) -> str:
        return command.replace("/tmp/", f"{self._scratch}/")

    def _run(self, lines: Sequence[str]) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", "\n".join(("set -euo pipefail", *lines))],
            cwd=self._folder,
            env=self._environ(),
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
        )
        if done.returncode not in (0, CURL_FAILED):
            raise WrongDocument(
                f"{lines}: ended with {done.returncode}: {done.stdout}{done.stderr}"
            )
        return done.returncode, self._as_written(done.stdout)

    def _as_written(self, output: str) -> str:
        """The output with the written ports in place of the real ones."""
        real = {str(port): str(written) for written, port in self._ports.items()}
        return _AUTHORITY.sub(lambda m: f"{m[1]}:{real.get(m[2], m[2])}", output)

    def _environ(self) -> dict[str, str]:
        prefixes = ("COV", "PYTEST", "REGISTRY_", "HEALTH_CHECK_", "HELLO_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "NO_PROXY": f"{HOST},localhost",
            "PYTHONDONTWRITEBYTECODE": "1",
            "CURL_HOME": str(self._scratch),
            "COVERAGE_FILE": str(self._scratch / "coverage"),
            "SCRATCH": str(self._scratch),
            "REGISTRY_URL": self._registry,
            # uv itself, but it leaves the environment of the tests alone.
            "UV_NO_SYNC": "1",
            "UV_FROZEN": "1",
            "UV_OFFLINE": "1",
            "UV_PROJECT_ENVIRONMENT": sys.prefix,
            "VIRTUAL_ENV": sys.prefix,
        }

    # Replies

    def _compare(self, code: int, output: str, outputs: Sequence[Block]) -> None:
        if outputs and outputs[0].language == "text":
            shown = "".join(block.text for block in outputs)
            same = settled(shown) == settled(output)
            assert same, f"shown {shown!r}, really {output!r}"
        elif outputs:
            shown_values = _values("".join(block.text for block in outputs))
            real = _values(output)
            found = differences(shown_values, real, "reply")
            assert not found, "; ".join(found)
        failed = any(_is_problem(value) for value in _values(output, strict=False))
        assert failed == (code == CURL_FAILED), f"ended with {code}: {output}"
        assert not failed or outputs, f"an error that the document hides: {output}"


def _etcd_flags(port: int) -> str:
    """Return what has etcd listen on free ports and for one client alone."""
    client, peer = (f"http://{HOST}:{each}" for each in (port, free_port()))
    return (
        f" --listen-client-urls {client} --advertise-client-urls {client}"
        f" --listen-peer-urls {peer} --initial-advertise-peer-urls {peer}"
        f" --initial-cluster default={peer} --log-level error"
    )


@contextmanager
def reading(
    folder: Path, scratch: Path, substitutes: Mapping[str, Substitute]
) -> Iterator[Reader]:
    """Give a reader, and stop what it started."""
    reader = Reader(folder, scratch, substitutes)
    try:
        yield reader
    finally:
        reader.close()


def _leading(found: Sequence[Block]) -> list[Block]:
    """Return the replies that come next, all of the first one's language."""
    language = found[0].language if found else ""
    taken: list[Block] = []
    for block in found:
        if block.language != language or language not in OUTPUTS:
            break
        taken.append(block)
    return taken


def _values(text: str, strict: bool = True) -> list[Any]:
    """Return the JSON values that follow each other in ``text``."""
    decoder = json.JSONDecoder()
    found: list[Any] = []
    rest = text.strip()
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except json.JSONDecodeError as error:
            if not strict:
                return found
            raise WrongDocument(f"not JSON: {error}: {rest[:200]}") from None
        found.append(value)
        rest = rest[end:].lstrip()
    return found


def _is_problem(value: Any) -> bool:
    return isinstance(value, dict) and str(value.get("type")).startswith(PROBLEM)


def _ok(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
