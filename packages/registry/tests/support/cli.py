"""A registry to ask from the command line, and the command line that asks it."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests
from click.testing import CliRunner, Result

from modularity_registry.cli import main
from modularity_registry.cli.completion import VARIABLE
from support import TESTS
from support.programs.registry import main as serve
from support.registry import eventually, registration
from support.servers.forked import Forked
from support.serving import HOST, free_port

PREFIXES = ("REGISTRY_", "HEALTH_CHECK_")


def environ(**changes: str) -> dict[str, str]:
    """The environment without anybody's settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(PREFIXES)}
    return kept | changes


class Served:
    """A registry in a process of its own, that may be ended and started again."""

    def __init__(self, **settings: Any) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._settings = {"port": self.port, **settings}
        self.start()

    def start(self) -> None:
        self._process = Forked(serve, json.dumps(self._settings))
        eventually(self._answers)

    def kill(self) -> None:
        """End it and all that it started, without a word. Idempotent."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(20)

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the registry has ended"
        try:
            return requests.get(f"{self.url}/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    def get(self, path: str) -> Any:
        return requests.get(f"{self.url}{path}", timeout=10).json()

    def register(self, service_id: str, **changes: Any) -> None:
        """Register a service that nobody checks, unless ``changes`` say so."""
        unchecked = {"mode": "standalone", "location": "worker 7"}
        body = registration(service_id, **{**unchecked, **changes})
        reply = requests.post(f"{self.url}/api/register", json=body, timeout=10)
        assert reply.ok, reply.text

    def run(self, *arguments: str, stdin: str | None = None) -> Result:
        """Run a command against this registry."""
        return run(*arguments, stdin=stdin, REGISTRY_URL=self.url)

    def json(self, *arguments: str) -> Any:
        """Return what a command prints with ``--json``; it must end well."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)


class Stub:
    """Answers like a registry that is in trouble, or like no registry at all.

    ``answers`` are by path: a value as JSON, or bytes as they are; all else is 404.
    """

    def __init__(self, answers: dict[str, Any]) -> None:
        self.headers: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer((HOST, 0), self._handler(answers))
        self.port: int = self._server.server_address[1]
        self.url = f"http://{HOST}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self, answers: dict[str, Any]) -> type[BaseHTTPRequestHandler]:
        headers = self.headers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answers.get(self.path.partition("?")[0])
                if answer is not None:  # others may ask for what this port once was
                    headers.append(dict(self.headers.items()))
                body = answer if isinstance(answer, bytes) else json.dumps(answer)
                body = body if isinstance(body, bytes) else body.encode()
                self.send_response(404 if answer is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def run(*arguments: str, stdin: str | None = None, **env: str) -> Result:
    """Run a command as from an environment without settings, but for ``env``."""
    none = {name: None for name in os.environ if name.startswith(PREFIXES)}
    settings: dict[str, str | None] = {**none, **env}
    return CliRunner().invoke(main.main, arguments, input=stdin, env=settings)


def words(url: str, *line: str) -> set[str]:
    """What the shell is told for a line; its last word is being typed."""
    env = {
        VARIABLE: "bash_complete",
        "COMP_WORDS": " ".join(("modularity-registry", *line)),
        "COMP_CWORD": str(len(line)),
        "REGISTRY_URL": url,
    }
    result = CliRunner().invoke(main.main, [], prog_name="modularity-registry", env=env)
    assert (result.exit_code, result.stderr) == (0, "")
    return {each.partition(",")[2] for each in result.stdout.split()}


def spaced(text: str) -> list[str]:
    """The lines of a table with one blank between the cells."""
    return [re.sub(r" {2,}", " ", line) for line in text.splitlines()]


class Terminal:
    """The program on a terminal of its own; ``said`` is all that it has drawn."""

    def __init__(self, *arguments: str, rows: int = 20, columns: int = 120) -> None:
        self.pid, self._line = pty.fork()
        if self.pid == 0:
            command = [sys.executable, "-m", "support.programs.cli", *arguments]
            settings = environ(TERM="xterm", PYTHONPATH=str(TESTS))
            os.execve(sys.executable, command, settings)
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._line, termios.TIOCSWINSZ, size)
        self.said = ""
        self.code: int | None = None

    def frame(self) -> str:
        """The last picture that is complete, as text."""
        self._read()
        frames = self.said.split("\x1b[H")
        last = frames[-2] if len(frames) > 1 else ""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", last)

    def shows(self, *parts: str) -> None:
        """Return once the picture has all of these."""
        eventually(lambda: all(part in self.frame() for part in parts), 60)

    def press(self, key: bytes) -> None:
        os.write(self._line, key)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self) -> int:
        """Return the code with which it ends; all that it says is in ``said``."""
        eventually(self._ended)
        assert self.code is not None
        return self.code

    def close(self) -> None:
        """End it, however it is. Idempotent."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.code = -1
        with suppress(OSError):
            os.close(self._line)

    def _ended(self) -> bool:
        self._read()
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def _read(self) -> None:
        with suppress(OSError):  # the other end is closed
            while select.select([self._line], [], [], 0)[0]:
                part = os.read(self._line, 65_536)
                if not part:
                    return
                self.said += part.decode(errors="replace")
