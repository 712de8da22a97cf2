"""Starts the registry as a user does, and Consul, etcd and nginx at their fastest."""

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.harness.http import call, request
from benchmarks.harness.paths import PROGRAMS
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import (
    START_LIMIT,
    Fleet,
    Server,
    free_port,
    wait_until,
)
from benchmarks.harness.results import BenchmarkError

NGINX = """
daemon off; worker_processes 1; pid nginx.pid; error_log stderr;
events { worker_connections 16384; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  %(settings)s
  server { %(listen)s %(locations)s }
}
"""

ZOOKEEPER = Path("/usr/share/java/zookeeper.jar")
"""Where Debian has it."""

# A location of nginx that a health check finds healthy.
HEALTHY = """default_type application/json; return 200 '{"status":"healthy"}';"""


def start_registry(
    plan: Plan,
    fleet: Fleet,
    url: str = "memory://",
    env: Mapping[str, str] | None = None,
    workers: int = 1,
    cores: Sequence[int] = (),
    options: Sequence[str] = (),
    ready: str = "/ready",
    limit: float = START_LIMIT,
) -> Server:
    """Return a registry once ``ready`` answers, on the servers' core or on ``cores``.

    Raises `BenchmarkError` when that takes more than ``limit`` seconds.
    """
    if not plan.registry.is_file():
        raise BenchmarkError(f"no registry at {plan.registry}")
    port = free_port()
    command = [plan.python, str(plan.registry), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--store", url, *options]
    if workers > 1:
        command += ["--workers", str(workers)]
    return fleet.launch("registry", command, port, env, cores).ready(ready, limit)


def consul(fleet: Fleet, dev: bool) -> Server:
    """Return a Consul server of one node: in memory (``dev``), or on disk.

    Only the server on disk answers in compact JSON: ``-dev`` indents every reply, which
    costs much of its speed. So reads are compared with the server on disk and writes
    with the one in memory, each the faster of the two.
    """
    ports = {"http": free_port(), "server": free_port(), "serf_lan": free_port()}
    config: dict[str, object] = {
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "ports": {**ports, "dns": -1, "grpc": -1, "serf_wan": -1},
        "limits": {"http_max_conns_per_client": 15_000},
        "disable_update_check": True,
        "log_level": "err",
    }
    if not dev:
        data = str(fleet.folder / f"consul-{ports['http']}")
        config |= {"server": True, "bootstrap": True, "data_dir": data}
    path = fleet.folder / f"consul-{ports['http']}.json"
    path.write_text(json.dumps(config))
    command = [consul_binary(), "agent", "-node", "bench", "-config-file", str(path)]
    server = fleet.launch("consul", command + ["-dev"] * dev, ports["http"])
    # It answers before it is the leader. Then its own node is in the catalog.
    server.ready("/v1/status/leader")
    wait_until(lambda: _consul_leads(server), START_LIMIT, "Consul's election")
    return server


def _consul_leads(server: Server) -> bool:
    reply = call(server.port, request("GET", "/v1/health/node/bench"))
    return reply.status == 200 and b"serfHealth" in reply.body


def etcd(fleet: Fleet) -> Server:
    """Return an etcd of one node, which syncs to the disk as it always does."""
    port, peer_port = free_port(), free_port()
    client_url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    command = [program_path("etcd", "etcd-server"), "--name", "bench"]
    command += ["--data-dir", str(fleet.folder / f"etcd-{port}")]
    command += ["--log-level", "error", "--initial-cluster", f"bench={peer_url}"]
    for prefix in ("--listen", "--advertise"):
        command += [f"{prefix}-client-urls", client_url]
    for prefix in ("--listen", "--initial-advertise"):
        command += [f"{prefix}-peer-urls", peer_url]
    command += ["--quota-backend-bytes", str(8 << 30)]
    return fleet.launch("etcd", command, port).ready("/health")


def zookeeper(fleet: Fleet) -> Server:
    """Return a ZooKeeper of one node, which syncs to the disk as it always does."""
    if not ZOOKEEPER.is_file():
        raise BenchmarkError("no ZooKeeper: apt-get install zookeeper")
    java = program_path("java", "default-jre-headless")
    port = free_port()
    folder = fleet.folder / f"zookeeper-{port}"
    folder.mkdir()
    config = folder / "zoo.cfg"
    config.write_text(
        f"tickTime=2000\ndataDir={folder}\nclientPort={port}\nmaxClientCnxns=0\n"
        "clientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
        "4lw.commands.whitelist=ruok\n"
    )
    # Debian's jar names those that it needs, but for two.
    jars = [ZOOKEEPER.with_name(f"{n}.jar") for n in ("netty-codec", "netty-resolver")]
    command = [java, "-Xmx4g", "-XX:+UseSerialGC", "-Dzookeeper.jmx.log4j.disable=true"]
    command += ["-cp", ":".join(map(str, (ZOOKEEPER, *jars)))]
    command += ["org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)]
    server = fleet.launch("zookeeper", command, port)
    wait_until(lambda: _says_ok(port), START_LIMIT, "start of zookeeper")
    return server


def _says_ok(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(b"ruok")
            return connection.recv(4) == b"imok"
    except OSError:
        return False


def nginx(
    fleet: Fleet,
    locations: str,
    addresses: int = 1,
    core: int | None = None,
    settings: str = "",
) -> Server:
    """Return an nginx with one worker and these locations.

    It listens on so many loopback ``addresses``, from 127.0.0.1 on. The ``settings``
    go into its ``http`` block.
    """
    port = free_port()
    folder = fleet.folder / f"nginx-{port}"
    folder.mkdir()
    listen = "".join(f"listen 127.0.0.{n + 1}:{port};" for n in range(addresses))
    config = folder / "nginx.conf"
    values = {"listen": listen, "locations": locations, "settings": settings}
    config.write_text(NGINX % values)
    command = [program_path("nginx", "nginx-light"), "-p", str(folder), "-e", "stderr"]
    command += ["-c", str(config)]
    cores = () if core is None else (core,)
    return fleet.launch("nginx", command, port, cores=cores).ready("/")


def consul_binary() -> str:
    """Return the path of Consul, which get-consul fetches the first time."""
    command = [str(PROGRAMS / "get-consul")]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300
    )
    if run.returncode != 0:
        raise BenchmarkError(f"no Consul: {run.stderr.strip()}")
    return run.stdout.strip()


def program_path(name: str, package: str) -> str:
    """Return its path; Debian keeps some in /usr/sbin, which only root's PATH has."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if path is None:
        raise BenchmarkError(f"no {name}: apt-get install {package}")
    return path


def versions() -> dict[str, str]:
    """Return the version of each system and tool, or "missing"."""
    commands: Mapping[str, Callable[[], list[str]]] = {
        "consul": lambda: [consul_binary(), "version"],
        "etcd": lambda: [program_path("etcd", "etcd-server"), "--version"],
        "nginx": lambda: [program_path("nginx", "nginx-light"), "-v"],
        "wrk": lambda: [program_path("wrk", "wrk"), "-v"],
    }
    lines = {}
    for name, command in commands.items():
        try:
            run = subprocess.run(
                command(), capture_output=True, text=True, check=False, timeout=10
            )
            lines[name] = (run.stdout + run.stderr).splitlines()[0].strip()
        except BenchmarkError:
            lines[name] = "missing"
    return lines
