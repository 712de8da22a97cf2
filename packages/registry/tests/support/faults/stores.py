"""The stores that are broken while clients use a registry over them.

Each runs behind a proxy in a folder of its own. ``url`` is the store as the registry
reaches it.
"""

import json
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from modularity_registry.stores.server_url import Host
from support.faults.cable import ADDRESS, Cable, Inlet
from support.faults.disk import SmallDisk, small_disk
from support.faults.proxy import FaultyProxy
from support.registry import eventually
from support.servers.program import Program
from support.servers.stores import consul, etcd, postgres, sentinel, zookeeper
from support.servers.stores import redis as redis_servers
from support.serving import HOST


class Backend(ABC):
    """A store whose server can be signalled, killed and started again.

    ``victim`` is that server, or the one of several that is broken.
    """

    kind = ""
    victim: Any
    disk: SmallDisk | None = None
    """The one that it has for itself, if it has."""

    def __init__(
        self, folder: Path, stack: ExitStack, cable: Cable | None = None
    ) -> None:
        """With a ``cable``, its registries are at the other end."""
        self.folder = folder
        self.cable = cable
        self.url = ""
        self.proxy: FaultyProxy | None = None
        self._stack = stack
        self.open()

    @abstractmethod
    def open(self) -> None:
        """Start it, and set ``victim`` and ``url``; the stack ends it."""

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.victim.kill()

    def start(self) -> None:
        """Start it again, and return when it answers."""
        self.victim.start()

    def program(self) -> Program:
        """Return its process."""
        program: Program | None = self.victim._program
        assert program is not None
        return program

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process, and to those that it has started."""
        pid = self.program().process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for process in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def behind_proxy(self, port: int) -> str:
        """Put a proxy before a port, and return its host and port."""
        self.proxy = Inlet(self.cable, port) if self.cable else FaultyProxy(port)
        self._stack.callback(self.proxy.close)
        return f"{ADDRESS if self.cable else HOST}:{self.proxy.port}"


class OnSmallDisk(Backend):
    """One that has a disk of its own, of ``megabytes``."""

    megabytes = 192

    def open(self) -> None:
        self.disk = self._stack.enter_context(small_disk(self.megabytes))
        self.folder = self.disk.folder
        super().open()  # type: ignore[safe-super]  # of the store that it is

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room on the disk in this block.

        A server that ends meanwhile is started again.
        """
        assert self.disk is not None
        self.disk.fill()
        try:
            yield
        finally:
            self.disk.free()
        if self.program().process.poll() is not None:
            self.start()


class Etcd(Backend):
    kind = "etcd"
    size = 1

    def open(self) -> None:
        self.cluster = self._stack.enter_context(etcd.running(self.folder, self.size))
        if self.size == 1:
            self.url = f"etcd://{self.behind_proxy(self.cluster.members[0].port)}"
        else:
            self.url = f"etcd://{hosts(self.cluster.hosts)}"
        self.victim = self.cluster.members[0]

    def choose_leader(self) -> None:
        """The leader is what is broken from here on."""
        self.victim = self.cluster.leader()

    def start(self) -> None:
        self.cluster.start(self.victim)

    def program(self) -> Program:
        program: Program | None = self.victim.program
        assert program is not None
        return program

    def compact(self) -> None:
        """Forget all changes before now."""
        with etcd.Operator(self.victim.host) as operator:
            # Without a change since the last time there would be nothing to forget.
            operator.put(b"elsewhere", b"")
            operator.compact()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Let etcd believe in this block that its quota is used up."""
        with etcd.Operator(self.victim.host) as operator, operator.out_of_space():
            yield


class EtcdOnSmallDisk(OnSmallDisk, Etcd):
    kind = "etcd, a disk of its own"


class EtcdCluster(Etcd):
    kind = "etcd, three members"
    size = 3


class Redis(Backend):
    kind = "redis"

    def open(self) -> None:
        self.victim = self._stack.enter_context(redis_servers.running(self.folder))
        self.url = f"redis://{self.behind_proxy(self.victim.port)}"

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave Redis no memory in this block; it may not evict anything."""
        self.victim.call("CONFIG", "SET", "maxmemory", "1")
        try:
            yield
        finally:
            self.victim.call("CONFIG", "SET", "maxmemory", "0")


class RedisOnSmallDisk(OnSmallDisk, Redis):
    kind = "redis, a disk of its own"
    megabytes = 64


class RedisSentinel(Redis):
    """Two servers and a Sentinel, which the store asks for the primary."""

    kind = "redis, Sentinel"

    def open(self) -> None:
        self.group = self._stack.enter_context(sentinel.watched(self.folder))
        self.victim = self.group.primary()
        self.url = f"redis+sentinel://{HOST}:{self.group.port}/{sentinel.NAME}"

    def kill(self) -> None:
        self.victim = self.group.primary()
        self.victim.kill()

    def start(self) -> None:
        """Start what was killed again, and wait until it is a replica of the other.

        What a primary took before that is lost with it.
        """
        eventually(lambda: self.group.primary() is not self.victim)
        self.victim.start()
        eventually(lambda: self.group.follows(self.victim), 60.0)


class Postgresql(Backend):
    kind = "postgresql"

    def open(self) -> None:
        parent = self.disk.folder if self.disk else None
        self.victim = self._stack.enter_context(postgres.running(parent))
        self.url = _postgres_url(self.behind_proxy(self.victim.port))

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.program().kill()


class PostgresqlOnSmallDisk(OnSmallDisk, Postgresql):
    kind = "postgresql, a disk of its own"
    megabytes = 256

    @contextmanager
    def full(self) -> Iterator[None]:
        with super().full():
            # What is written next needs room, and not what was taken before.
            with suppress(psycopg.Error):
                self.victim.sql("SELECT pg_switch_wal()")
            yield


class PostgresqlStandby(Postgresql):
    """A primary and a standby that is promoted; the URL has both."""

    kind = "postgresql, asynchronous standby"
    synchronous = False

    def open(self) -> None:
        self.victim = self._stack.enter_context(postgres.running())
        self.standby = postgres.Postgres(self.victim)
        self._stack.callback(self.standby.close)
        self.standby.start()
        query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        eventually(lambda: self.victim.sql(query) == [(1,)])
        if self.synchronous:
            self.victim.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            self.victim.sql("SELECT pg_reload_conf()")
        ports = self.victim.port, self.standby.port
        self.url = _postgres_url(*(f"{HOST}:{port}" for port in ports))

    def promote(self) -> None:
        """Kill the primary, and promote the standby."""
        self.kill()
        self.standby.sql("ALTER SYSTEM RESET synchronous_standby_names")
        self.standby.sql("SELECT pg_promote()")


class PostgresqlSynchronous(PostgresqlStandby):
    kind = "postgresql, synchronous standby"
    synchronous = True


def _postgres_url(*places: str) -> str:
    password = quote(postgres.PASSWORD, safe="")
    user, where = f"{postgres.USER}:{password}", ",".join(places)
    return f"postgresql://{user}@{where}/{postgres.DATABASE}"


class Zookeeper(Backend):
    kind = "zookeeper"

    def open(self) -> None:
        self.victim = self._stack.enter_context(zookeeper.running(self.folder))
        self.url = f"zookeeper://{self.behind_proxy(self.victim.port)}"


class ZookeeperOnSmallDisk(OnSmallDisk, Zookeeper):
    kind = "zookeeper, a disk of its own"


class ZookeeperEnsemble(Zookeeper):
    kind = "zookeeper, three members"

    def open(self) -> None:
        self.ensemble = zookeeper.Ensemble(self.folder)
        self._stack.callback(self.ensemble.kill)
        self.ensemble.start()
        self.victim = self.ensemble.members[0]
        self.url = f"zookeeper://{hosts(self.ensemble.hosts)}"

    def choose_leader(self) -> None:
        """The leader is what is broken from here on."""
        self.victim = self.ensemble.leader()


class Consul(Backend):
    """One server of Consul."""

    kind = "consul"

    def open(self) -> None:
        self.victim = self._stack.enter_context(
            consul.running(consul.Agent(self.folder))
        )
        self.url = f"consul://{self.behind_proxy(self.victim.port)}"


class ConsulOnSmallDisk(OnSmallDisk, Consul):
    kind = "consul, a disk of its own"


class ConsulCluster(Consul):
    """Three servers; the registry asks one that does not lead."""

    kind = "consul, three members"

    def open(self) -> None:
        self.agents: list[consul.Agent] = []
        for number in range(3):
            folder = self.folder / f"member-{number}"
            folder.mkdir()
            self.agents.append(consul.Agent(folder))
        places = [f"{HOST}:{agent.ports['serf_lan']}" for agent in self.agents]
        for number, agent in enumerate(self.agents):
            agent.settings = {
                "node_name": f"member-{number}",
                "bootstrap_expect": 3,
                "retry_join": places,
                "retry_interval": "1s",
            }
            self._stack.callback(agent.kill)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(consul.Agent.start, self.agents))
        self.choose_leader()
        other = next(agent for agent in self.agents if agent is not self.victim)
        self.url = f"consul://{other.host}"

    def choose_leader(self) -> None:
        """The leader is what is broken from here on."""
        leader = json.loads(self.agents[0].call("GET", "/v1/status/leader"))
        places = [f"{HOST}:{agent.ports['server']}" for agent in self.agents]
        self.victim = self.agents[places.index(leader)]


def hosts(addresses: tuple[Host, ...]) -> str:
    """Return them as a URL has them."""
    return ",".join(map(str, addresses))
