"""How each system is started: the registry as a user does, the peers at their best."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.harness.http import call, request
from benchmarks.harness.processes import (
    START_LIMIT,
    Fleet,
    Server,
    free_port,
    wait_until,
)
from benchmarks.harness.results import BenchmarkError

HERE = Path(__file__).resolve().parents[1]
REGISTRY = HERE.parent / "packages" / "registry" / "registry_service.py"

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


def launch_registry(
    fleet: Fleet,
    store: str = "memory://",
    env: Mapping[str, str] | None = None,
    script: Path = REGISTRY,
    workers: int = 1,
    cores: Sequence[int] = (),
) -> Server:
    """Start the registry, on the servers' core if none is named; return at once."""
    if not script.is_file():
        raise BenchmarkError(f"no registry at {script}")
    port = free_port()
    command = [sys.executable, str(script), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--store", store]
    if workers > 1:
        command += ["--workers", str(workers)]
    return fleet.launch("registry", command, port, env, cores)


def consul(fleet: Fleet, dev: bool) -> Server:
    """Start a Consul server of one node: in memory (``dev``), or on disk.

    Only the one on disk answers in compact JSON: ``-dev`` indents every reply, which
    costs it a good part of its speed. So reads are compared with the one on disk and
    writes with the one in memory, each the faster of the two.
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
    # It answers before it leads. Its own node in the catalog shows that it does.
    server.ready("/v1/status/leader")
    wait_until(lambda: _consul_leads(server), START_LIMIT, "Consul's election")
    return server


def _consul_leads(server: Server) -> bool:
    reply = call(server.port, request("GET", "/v1/health/node/bench"))
    return reply.status == 200 and b"serfHealth" in reply.body


def etcd(fleet: Fleet) -> Server:
    """Start an etcd of one node, which syncs to the disk as it always does."""
    port, peer = free_port(), free_port()
    here, there = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    command = [_program("etcd", "etcd-server"), "--name", "bench"]
    command += [
        "--log-level",
        "error",
        "--data-dir",
        str(fleet.folder / f"etcd-{port}"),
    ]
    command += ["--listen-client-urls", here, "--advertise-client-urls", here]
    command += ["--listen-peer-urls", there, "--initial-advertise-peer-urls", there]
    command += ["--initial-cluster", f"bench={there}"]
    command += ["--quota-backend-bytes", str(8 << 30)]
    return fleet.launch("etcd", command, port).ready("/health")


def nginx(
    fleet: Fleet,
    locations: str,
    addresses: int = 1,
    core: int | None = None,
    settings: str = "",
) -> Server:
    """Start an nginx of one worker with these locations in its only server.

    It listens on that many addresses of loopback, from 127.0.0.1 on. The ``settings``
    are for all its HTTP.
    """
    port = free_port()
    folder = fleet.folder / f"nginx-{port}"
    folder.mkdir()
    listen = "".join(f"listen 127.0.0.{n + 1}:{port};" for n in range(addresses))
    config = folder / "nginx.conf"
    filled = {"listen": listen, "locations": locations, "settings": settings}
    config.write_text(NGINX % filled)
    command = [_program("nginx", "nginx-light"), "-p", str(folder), "-e", "stderr"]
    command += ["-c", str(config)]
    cores = () if core is None else (core,)
    return fleet.launch("nginx", command, port, cores=cores).ready("/")


def consul_binary() -> str:
    """Return the path of Consul, fetched by get-consul the first time."""
    command = [str(HERE / "programs" / "get-consul")]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300
    )
    if run.returncode != 0:
        raise BenchmarkError(f"no Consul: {run.stderr.strip()}")
    return run.stdout.strip()


def _program(name: str, package: str) -> str:
    """Return its path; Debian keeps some where only root's PATH looks."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        raise BenchmarkError(f"no {name}: apt-get install {package}")
    return found


def versions() -> dict[str, str]:
    """Return what each peer and tool says of its own version; "missing" if none."""
    commands: Mapping[str, Callable[[], list[str]]] = {
        "consul": lambda: [consul_binary(), "version"],
        "etcd": lambda: [_program("etcd", "etcd-server"), "--version"],
        "nginx": lambda: [_program("nginx", "nginx-light"), "-v"],
        "wrk": lambda: [_program("wrk", "wrk"), "-v"],
    }
    found = {}
    for name, command in commands.items():
        try:
            run = subprocess.run(
                command(), capture_output=True, text=True, check=False, timeout=10
            )
            found[name] = (run.stdout + run.stderr).splitlines()[0].strip()
        except BenchmarkError:
            found[name] = "missing"
    return found
