"""What the client's tests speak with: real registries, and servers that misbehave."""

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import requests

from modularity_client import AsyncRegistry, Registry
from modularity_registry.cli.serve import serve
from support.servers.forked import Forked
from support.serving import free_port

HOST = "127.0.0.1"


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return once ``condition`` holds; fail when it does not within ``seconds``."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        pause.wait(0.02)


def _serve(port: int, *options: str) -> None:
    for name in [each for each in os.environ if each.startswith("REGISTRY_")]:
        del os.environ[name]
    serve(["--port", str(port), *options])


class RegistryProcess:
    """A registry with an empty store on a port of its own; may be started again."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._process: Forked | None = None

    def start(self) -> None:
        self._process = Forked(_serve, self.port, *self._options)
        eventually(self._ready)

    def kill(self) -> None:
        """End it without a word, with all that it has started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait(10)
            self._process = None

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def get(self, path: str) -> Any:
        return requests.get(f"{self.url}{path}", timeout=10).json()

    def status(self, service_id: str) -> str | None:
        """The status of a service as the registry has it; None if it hasn't."""
        status: str | None = self.get(f"/api/services/{service_id}").get("status")
        known = ("healthy", "warning", "unhealthy", "draining")
        return status if status in known else None

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the registry has ended"
        try:
            return requests.get(f"{self.url}/ready", timeout=5).status_code == 200
        except requests.RequestException:
            return False


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What a scripted server does with a request.

    ``drop``: reads it and closes the connection. ``hang``: never answers. ``drip``:
    answers byte by byte and comes to no end.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    hang: bool = False
    drip: bool = False

    def raw(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else _json(self.body)
        fields = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **self.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"HTTP/1.1 {self.status} X\r\n{head}\r\n".encode() + body


def problem(
    status: int,
    code: str,
    retry_after: int | None = None,
    errors: Sequence[dict[str, str]] = (),
) -> Answer:
    """A refusal as the registry words it."""
    after = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = {"status": status, "code": code, "detail": f"it is {code}"}
    if errors:
        body["errors"] = errors
    headers = {"Content-Type": "application/problem+json", **after}
    return Answer(status, body, headers)


DROP, HANG, DRIP = Answer(drop=True), Answer(hang=True), Answer(drip=True)


class ScriptedServer:
    """Gives its answers in order, the last of them for ever; keeps the requests.

    A method that is named, as in ``PUT=answer``, always gets that one.
    """

    def __init__(self, *answers: Answer, **by_method: Answer) -> None:
        self._by_method = by_method
        self.requests: list[Request] = []
        self._answers = list(answers)
        self._listener = socket.create_server((HOST, 0))
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}"
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def methods(self) -> list[str]:
        return [each.method for each in self.requests]

    def close(self) -> None:
        self._closed.set()
        for connection in (self._listener, *self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(
                    target=self._serve, args=(connection,), daemon=True
                ).start()

    def _serve(self, connection: socket.socket) -> None:
        with (
            suppress(OSError, ValueError),
            connection,
            connection.makefile("rb") as got,
        ):
            while (request := _read(got)) is not None:
                answer = self._next(request)
                if answer.drop:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                if answer.drip:
                    self._drip(connection)
                elif not answer.hang:
                    connection.sendall(answer.raw())

    def _next(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            if request.method in self._by_method:
                return self._by_method[request.method]
            return self._answers.pop(0) if self._answers[1:] else self._answers[0]

    def _drip(self, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not self._closed.wait(0.05):
            connection.sendall(b" ")


def _read(got: Any) -> Request | None:
    first = got.readline().decode().split()
    if not first:
        return None
    headers = {}
    while line := got.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = got.read(int(headers.get("content-length", 0)))
    return Request(first[0], first[1], headers, body)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


class Asker:
    """Calls a registry by the name of a method, awaited or not: the tests are one."""

    def __init__(self, kind: str, url: str | Sequence[str], **options: Any) -> None:
        self._runner = asyncio.Runner() if kind == "async" else None
        made = AsyncRegistry if kind == "async" else Registry
        self.registry: Any = made(url, **options)

    def __call__(self, name: str, /, *arguments: Any, **named: Any) -> Any:
        result = getattr(self.registry, name)(*arguments, **named)
        if self._runner is None:
            return list(result) if isinstance(result, Iterator) else result
        return self._runner.run(_awaited(result))

    def enter(self, stack: ExitStack, context: Any) -> None:
        """Enter a context that is of both kinds, in the way of this one."""
        if self._runner is None:
            stack.enter_context(context)
        else:
            self._runner.run(context.__aenter__())
            stack.callback(lambda: self._leave(context))

    def _leave(self, context: Any) -> None:
        assert self._runner is not None
        self._runner.run(context.__aexit__(None, None, None))

    def close(self) -> None:
        self("close")
        if self._runner is not None:
            self._runner.close()


async def _awaited(result: Any) -> Any:
    if isinstance(result, AsyncIterator):
        return [each async for each in result]
    return await result
