"""Runs ZooKeeper: one server, or an ensemble of several, each with its own folder."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from kazoo.client import KazooClient  # type: ignore[import-untyped]  # has no types
from kazoo.exceptions import NoNodeError  # type: ignore[import-untyped]  # no types

from modularity_registry.stores.server_url import Host
from support.registry import eventually
from support.servers.program import Program, find, missing
from support.serving import free_port

HOST: Final = "127.0.0.1"
JAR: Final = Path("/usr/share/java/zookeeper.jar")
"""Debian's; it names the jars that it needs, but for two that are wanted for TLS."""

_CLASSES: Final = ":".join(
    str(JAR.with_name(f"{name}.jar"))
    for name in ("zookeeper", "netty-codec", "netty-resolver")
)

_JAVA: Final = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dzookeeper.jmx.log4j.disable=true",
)
_MAIN: Final = "org.apache.zookeeper.server.quorum.QuorumPeerMain"


class Zookeeper:
    """One server; killed and started again it goes on with its data."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any] | None = None,
        secure: bool = False,
    ) -> None:
        """With ``secure`` it has a port for TLS, too, and asks for certificates."""
        self.folder = folder
        self.port = free_port()
        self.secure_port = free_port()
        self.settings = dict(settings or {})
        if secure:
            self.settings["secureClientPort"] = self.secure_port
        self._program: Program | None = None

    @property
    def host(self) -> Host:
        return Host(HOST, self.port)

    def launch(self) -> None:
        """Start it without waiting for it."""
        if not JAR.is_file():
            missing("ZooKeeper", "zookeeper")
        java = find(["java"], None, "default-jre-headless")
        (self.folder / "data").mkdir(exist_ok=True)
        config = self.folder / "zoo.cfg"
        config.write_text("".join(f"{k}={v}\n" for k, v in self._settings().items()))
        log = self.folder / "zookeeper.log"
        self._program = Program([java, *_JAVA, "-cp", _CLASSES, _MAIN, config], log)

    def start(self) -> None:
        """Start it; return when it serves."""
        self.launch()
        self.wait_until_serving()

    def wait_until_serving(self) -> None:
        assert self._program is not None
        self._program.wait_until(self.serves)

    def serves(self) -> bool:
        """Return whether it has a leader, or is alone, and answers."""
        return "Mode: " in self.ask("srvr")

    def leads(self) -> bool:
        return "Mode: leader" in self.ask("srvr")

    def ask(self, word: str) -> str:
        """Return the answer to one of ZooKeeper's four-letter words, "" if none."""
        try:
            with socket.create_connection((HOST, self.port), 5) as connection:
                connection.sendall(word.encode())
                # It is short, and Netty may reset the connection behind it.
                return connection.recv(65_536).decode()
        except OSError:
            return ""

    def kill(self) -> None:
        """End it at once, as a crash would. Idempotent."""
        if self._program is not None:
            self._program.kill()

    @contextmanager
    def operator(self, login: str = "") -> Iterator[Any]:
        """Give a client of an operator; ``login`` is user:password."""
        auth = [("digest", login)] if login else []
        client = KazooClient(f"{HOST}:{self.port}", auth_data=auth)
        try:
            client.start(20)
            yield client
        finally:
            client.stop()
            client.close()

    def wipe(self, prefix: str) -> None:
        """Delete all that a store of ``prefix`` keeps."""
        with self.operator() as client:
            client.delete(f"/{prefix}", recursive=True)

    def forget(self, prefix: str) -> None:
        """Delete the whole log under ``prefix``."""
        with self.operator() as client:
            epoch = client.get(f"/{prefix}/epoch")[0].split()[0].decode()
            log = f"/{prefix}/{epoch}/log"
            for era in client.get_children(log):
                for name in client.get_children(f"{log}/{era}"):
                    with suppress(NoNodeError):
                        client.delete(f"{log}/{era}/{name}")

    def _settings(self) -> dict[str, Any]:
        return {
            "tickTime": 2000,
            "dataDir": self.folder / "data",
            "clientPort": self.port,
            "clientPortAddress": HOST,
            "maxClientCnxns": 0,
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "srvr,ruok",
            **self.settings,
        }


class Ensemble:
    """Several servers that elect a leader."""

    def __init__(self, folder: Path, size: int = 3) -> None:
        ports = [(free_port(), free_port()) for _ in range(size)]
        peers = {
            f"server.{n}": f"{HOST}:{peer}:{election}"
            for n, (peer, election) in enumerate(ports, 1)
        }
        self.members: list[Zookeeper] = []
        for number in range(1, size + 1):
            own = folder / f"member-{number}"
            (own / "data").mkdir(parents=True)
            (own / "data" / "myid").write_text(str(number))
            limits = {"initLimit": 10, "syncLimit": 5}
            self.members.append(Zookeeper(own, {**limits, **peers}))

    @property
    def hosts(self) -> tuple[Host, ...]:
        return tuple(member.host for member in self.members)

    def start(self) -> None:
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait_until_serving()

    def kill(self) -> None:
        for member in self.members:
            member.kill()

    def leader(self) -> Zookeeper:
        """Return the member that leads, as soon as there is one."""
        leaders: list[Zookeeper] = []

        def look() -> bool:
            leaders.extend(member for member in self.members if member.leads())
            return bool(leaders)

        eventually(look)
        return leaders[0]


@contextmanager
def running(
    folder: Path, settings: Mapping[str, Any] | None = None, secure: bool = False
) -> Iterator[Zookeeper]:
    """Give a server that serves; it ends with the block."""
    server = Zookeeper(folder, settings, secure)
    try:
        server.start()
        yield server
    finally:
        server.kill()
