"""Runs Consul: a server of its own, which keeps its data in its folder."""

import http.client
import json
import os
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from modularity_registry.stores.server_url import Host
from support.servers.program import Program, find
from support.serving import free_port

HOST: Final = "127.0.0.1"
MASTER: Final = "master-token-of-the-tests"
"""A token that may do everything, where tokens are wanted."""

_CACHED: Final = "modularity-bench/consul-1.8.7/usr/bin"

_LISTENERS: Final = ("http", "server", "serf_lan")


def program() -> Path:
    """Return Consul as the benchmarks' get-consul fetches it, or from the path."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cached = shutil.which("consul", path=str(Path(caches) / _CACHED))
    return Path(cached) if cached else find(["consul"], None, "consul")


@dataclass
class Agent:
    """One Consul process; killed and started again it goes on with its data."""

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    token: str = ""
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self.ports: dict[str, int] = {}
        self._program: Program | None = None
        self.take_ports()

    def take_ports(self) -> None:
        """Choose ports that are free now; it keeps them over a restart."""
        self.ports = {name: free_port() for name in _LISTENERS}
        if self.tls is not None:
            self.ports |= {"https": self.ports["http"], "http": -1}

    @property
    def port(self) -> int:
        return self.ports["https" if self.tls else "http"]

    @property
    def host(self) -> Host:
        return Host(HOST, self.port)

    def start(self) -> None:
        """Start it; return when it takes writes."""
        path = self.folder / "settings.json"
        path.write_text(json.dumps(self._settings()))
        command: list[str | Path] = [
            program(),
            "agent",
            f"-config-file={path}",
            *self.options,
        ]
        self._program = Program(command, self.folder / "consul.log")
        self._program.wait_until(self._takes_writes)

    def kill(self) -> None:
        """End it at once, as a crash would. Idempotent."""
        if self._program is not None:
            self._program.kill()

    def call(self, verb: str, path: str, body: bytes = b"") -> bytes:
        """Return the answer to an operator's call; fails for all but success."""
        connection = (
            http.client.HTTPConnection(HOST, self.port, timeout=10)
            if self.tls is None
            else http.client.HTTPSConnection(
                HOST, self.port, timeout=10, context=self.tls
            )
        )
        try:
            connection.request(verb, path, body, {"X-Consul-Token": self.token})
            reply = connection.getresponse()
            answer = reply.read()
        finally:
            connection.close()
        assert reply.status == 200, (reply.status, answer)
        return answer

    def wipe(self, prefix: str) -> None:
        """Delete all that begins with ``prefix`` and a slash."""
        self.call("DELETE", f"/v1/kv/{prefix}/?recurse")

    def forget(self, prefix: str) -> None:
        """Delete the log under ``prefix``, but for the newest batch."""
        for name in self.names(f"{prefix}/log/")[:-1]:
            self.call("DELETE", f"/v1/kv/{name}")

    def names(self, start: str) -> list[str]:
        """Return the names of all entries that begin with ``start``, in order."""
        names: list[str] = json.loads(self.call("GET", f"/v1/kv/{start}?keys"))
        return sorted(names)

    def token_for(self, prefix: str, policy: str = "write") -> str:
        """Return a new token that may do this under ``prefix``, and nothing else."""
        name = f"{policy}-{prefix}"
        rules = f'key_prefix "{prefix}/" {{ policy = "{policy}" }}'
        made = {"Name": name, "Rules": rules}
        self.call("PUT", "/v1/acl/policy", json.dumps(made).encode())
        token = {"Policies": [{"Name": name}]}
        answer = self.call("PUT", "/v1/acl/token", json.dumps(token).encode())
        return str(json.loads(answer)["SecretID"])

    def _takes_writes(self) -> bool:
        try:
            self.call("PUT", "/v1/kv/a-test-looks-if-it-is-up", b"yes")
        except (OSError, http.client.HTTPException, AssertionError, ValueError):
            return False
        return True

    def _settings(self) -> dict[str, Any]:
        base: dict[str, Any] = {
            "bind_addr": HOST,
            "client_addr": HOST,
            "disable_update_check": True,
            "log_level": "warn",
            "node_name": "one",
            "ports": {"dns": -1, "grpc": -1, "serf_wan": -1, **self.ports},
            "performance": {"raft_multiplier": 1},
            "limits": {"http_max_conns_per_client": 10_000},
        }
        if "-dev" not in self.options:
            base |= {
                "server": True,
                "bootstrap_expect": 1,
                "data_dir": str(self.folder / "data"),
            }
        if self.token:
            tokens = {"master": self.token}
            base["acl"] = {
                "enabled": True,
                "default_policy": "deny",
                "tokens": tokens,
            }
        return base | self.settings


@contextmanager
def running(agent: Agent) -> Iterator[Agent]:
    """Give an agent that takes writes; it ends with the block."""
    try:
        try:
            agent.start()
        except AssertionError:
            # Somebody else took one of its ports at that moment.
            agent.kill()
            agent.take_ports()
            agent.start()
        yield agent
    finally:
        agent.kill()
