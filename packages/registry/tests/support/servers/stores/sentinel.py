"""Redis servers that replicate one of them, and a Sentinel that watches them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from modularity_registry.stores.conformance.breakable_proxy import HOST
from modularity_registry.stores.server_url import Host, Server
from support.registry import eventually
from support.servers.program import Program, find
from support.servers.stores.redis import NUMBERS, PACKAGE, RedisServer, ask, running
from support.serving import free_port

NAME = "services"
PASSWORD = "p:w%@"


class Group:
    """Two servers, the first one the primary at the beginning, and their Sentinel."""

    def __init__(self, folder: Path, stack: ExitStack, password: str = "") -> None:
        self._folder, self._password = folder, password
        options = ["--requirepass", password, "--masterauth", password]
        self.servers = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            server = running(folder / name, *(options if password else ()))
            self.servers.append(stack.enter_context(server))
            # One that ends in order waits for its replica, which may be gone.
            stack.callback(self.servers[-1].kill)
        first, other = self.servers
        self.call(other, "REPLICAOF", HOST, first.port)
        eventually(lambda: self.follows(other))
        self.port = free_port()
        self._sentinel = self._run_sentinel(first)
        stack.callback(self._sentinel.kill)

    @property
    def place(self) -> Server:
        """Where a store of its own is."""
        hosts = (Host(HOST, self.port),)
        password, prefix = self._password, f"test-{next(NUMBERS)}"
        return Server(hosts, password=password, primary=NAME, prefix=prefix)

    def primary(self) -> RedisServer:
        """Return the one that the Sentinel calls the primary."""
        place = self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        [primary] = [each for each in self.servers if each.port == int(place[1])]
        return primary

    def other(self) -> RedisServer:
        """Return the one that is not the primary."""
        primary = self.primary()
        [other] = [each for each in self.servers if each is not primary]
        return other

    def follows(self, server: RedisServer) -> bool:
        """Say whether a server is a replica that has all."""
        with suppress(redis.ConnectionError):  # as when its part changes
            state = self.call(server, "INFO", "replication")
            return bool(state.get("master_link_status") == "up")
        return False

    def call(self, server: RedisServer, *command: str | int) -> Any:
        """Return a server's answer."""
        return ask(server.port, *command, password=self._password)

    def ask(self, *command: str | int) -> Any:
        """Return the Sentinel's answer."""
        return ask(self.port, *command, password=self._password)

    def fail_over(self) -> None:
        """Let the other one be the primary, and return when the Sentinel says so."""
        before = self.primary()

        def ordered() -> bool:
            with suppress(redis.ResponseError):  # until it has looked at the replica
                self.ask("SENTINEL", "FAILOVER", NAME)
                return True
            return False

        eventually(ordered)
        eventually(lambda: self.primary() is not before)

    def stop_sentinel(self) -> None:
        """End the Sentinel at once."""
        self._sentinel.kill()

    def _run_sentinel(self, primary: RedisServer) -> Program:
        lines = [
            f"port {self.port}",
            f"bind {HOST}",
            f"dir {self._folder}",
            f"sentinel monitor {NAME} {HOST} {primary.port} 1",
            f"sentinel down-after-milliseconds {NAME} 1000",
            f"sentinel failover-timeout {NAME} 5000",
        ]
        if self._password:
            lines += [
                f'requirepass "{self._password}"',
                f'sentinel auth-pass {NAME} "{self._password}"',
            ]
        settings = self._folder / "sentinel.conf"
        settings.write_text("\n".join(lines) + "\n")
        path = find(["redis-server"], PACKAGE, "redis-server")
        log = self._folder / "sentinel.log"
        sentinel = Program([path, settings, "--sentinel"], log)
        sentinel.wait_until(self._knows_all)
        return sentinel

    def _knows_all(self) -> bool:
        with suppress(redis.RedisError):
            return len(self.ask("SENTINEL", "REPLICAS", NAME)) == 1
        return False


@contextmanager
def watched(folder: Path, password: str = "") -> Iterator[Group]:
    """Give two servers and their Sentinel, which end with the block."""
    with ExitStack() as stack:
        yield Group(folder, stack, password)
