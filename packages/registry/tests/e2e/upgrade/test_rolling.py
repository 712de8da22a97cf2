"""Three replicas of the previous release, replaced one by one while they are in use."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from modularity_client import Registry
from modularity_client.errors import RegistryError, ServiceNotFound
from modularity_registry import __version__
from support import REPOSITORY
from support.registry import eventually
from support.servers.stores.etcd import Cluster
from support.serving import free_port

PREVIOUS, PREVIOUS_VERSION = "d383bb3", "0.1.0"
"""The commit of the release before this one: change both with each release."""

SERVICES = 50
TTL = 6.0
KNOWN_WITHIN = 5.0
"""Seconds after which each replica must have seen what another one wrote."""

ResultT = TypeVar("ResultT")


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the previous release, from its wheels."""
    folder = tmp_path_factory.mktemp("previous")
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed; PyPI has it in the package uv")

    def run(*command: str | Path) -> None:
        result = subprocess.run(command, capture_output=True, timeout=180)
        assert result.returncode == 0, result.stderr.decode()

    git = ("git", "-C", REPOSITORY)
    tree = folder / "tree.tar"
    run(*git, "archive", "--output", tree, PREVIOUS, "packages")
    source = folder / "source"
    source.mkdir()
    run("tar", "--extract", "--file", tree, "--directory", source)
    wheels = folder / "wheels"
    for name in ("registry", "client"):
        package = source / "packages" / name
        run(uv, "build", "--wheel", "--out-dir", wheels, "--directory", package)
    venv = folder / "venv"
    run(uv, "venv", "--no-project", "--python", sys.executable, venv)
    registry, client = sorted(wheels.glob("*.whl"), reverse=True)
    what = (f"{registry}[etcd]", client)
    run(uv, "pip", "install", "--python", venv / "bin" / "python", *what)
    return venv / "bin" / "modularity-registry"


class Replica:
    """A replica on a port of its own, of one release and then of the other."""

    def __init__(self, store: str, log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._store = store
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *program: str | Path) -> None:
        serve = ("serve", "--port", str(self.port), "--store", self._store)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*program, *serve], stderr=log, stdout=log)
        eventually(self._is_ready, 60)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(30) == 0
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def get(self, path: str) -> Any:
        return requests.get(f"{self.url}{path}", timeout=10).json()

    def _is_ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None
        try:
            return requests.get(f"{self.url}/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False


class Callers:
    """Threads that use the replicas all the while, through the client."""

    def __init__(self, urls: list[str]) -> None:
        self.failures: list[str] = []
        self.calls = 0
        self._urls = urls
        self._ending = threading.Event()
        turns = (self._look_up, self._come_and_go, self._beat)
        self._threads = [
            threading.Thread(target=self._repeat, args=(turn, number))
            for number, turn in enumerate(turns * 2)
        ]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, turn: Callable[[Registry, int, int], None], caller: int) -> None:
        # Each caller prefers another replica.
        first = caller % len(self._urls)
        urls = self._urls[first:] + self._urls[:first]
        with Registry(urls, timeout=10) as registry:
            number = 0
            while not self._ending.wait(0.02):
                number += 1
                self.calls += 1
                try:
                    turn(registry, caller, number)
                except RegistryError as error:
                    self.failures.append(f"{turn.__name__}: {error}")

    def _look_up(self, registry: Registry, caller: int, number: int) -> None:
        assert registry.capability("greet").status == "healthy"

    def _come_and_go(self, registry: Registry, caller: int, number: int) -> None:
        service_id = f"guest-{caller}-{number}"
        registry.put(**fields(service_id))
        # The replica may stop between two calls; another learns of the guest later.
        assert known(lambda: registry.service(service_id)).id == service_id
        known(lambda: registry.unregister(service_id))

    def _beat(self, registry: Registry, caller: int, number: int) -> None:
        registry.heartbeat(f"leased-{number % SERVICES}")


def known(call: Callable[[], ResultT]) -> ResultT:
    """Return the result of a call that is made until a replica knows its service."""
    deadline = time.monotonic() + KNOWN_WITHIN
    while True:
        try:
            return call()
        except ServiceNotFound:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def fields(service_id: str, **more: Any) -> Any:
    place = {"mode": "standalone", "location": "here", "capabilities": ["greet"]}
    return {"id": service_id, "name": service_id, **place, **more}


@contextmanager
def store_of(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/registry.db"
        return
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield f"etcd://{cluster.hosts[0]}"
    finally:
        cluster.kill()


@pytest.mark.parametrize("kind", ["sqlite", "etcd"])
def test_no_call_fails_and_no_registration_is_lost(
    previous: Path, tmp_path: Path, kind: str
) -> None:
    current = (sys.executable, "-m", "modularity_registry")
    with store_of(kind, tmp_path) as store, ExitStack() as stack:
        replicas = [Replica(store, tmp_path / f"{n}.log") for n in range(3)]
        for replica in replicas:
            stack.callback(replica.kill)
            replica.start(previous)
        urls = [replica.url for replica in replicas]
        with Registry(urls) as registry:
            for number in range(SERVICES):
                registry.put(**fields(f"steady-{number}"))
                registry.put(**fields(f"leased-{number}", ttl=TTL))
            registry.drain("steady-0", reason="upgrade")
        epoch = replicas[0].get("/health").get("epoch")
        with Callers(urls) as callers:
            for done, replica in enumerate(replicas):
                replica.stop()
                replica.start(*current)
                versions = [other.get("/health")["version"] for other in replicas]
                old, new = [PREVIOUS_VERSION] * (2 - done), [__version__] * (done + 1)
                assert versions == new + old
            before = callers.calls
            eventually(lambda: callers.calls > before + 500, 60)
        assert callers.failures == []
        for replica in replicas:
            services = replica.get("/api/services?limit=1000")["services"]
            by_id = {service["id"]: service["status"] for service in services}
            kept = {service_id for service_id in by_id if "guest" not in service_id}
            assert len(kept) == 2 * SERVICES
            assert by_id.pop("steady-0") == "draining"
            assert set(by_id.values()) == {"healthy"}
            assert replica.get("/health").get("epoch") == epoch


def test_the_previous_release_reads_warnings_and_priorities(
    previous: Path, tmp_path: Path
) -> None:
    current = (sys.executable, "-m", "modularity_registry")
    with store_of("sqlite", tmp_path) as store, ExitStack() as stack:
        replica = Replica(store, tmp_path / "replica.log")
        stack.callback(replica.kill)
        replica.start(*current)
        with Registry(replica.url) as registry:
            for service_id, priority in (("a", 0), ("b", 7), ("c", 7)):
                registry.put(**fields(service_id, priority=priority))
            registry.heartbeat("c", warning=True, note="queue is long")
            replica.stop()
            replica.start(previous)
            listed = replica.get("/api/services")["services"]
            assert {service["status"] for service in listed} == {"healthy"}
            assert {registry.capability("greet").id for _ in listed} == {"a", "b", "c"}
            registry.drain("b")
            registry.undrain("b")
            replica.stop()
            replica.start(*current)
            assert registry.service("c").status == "warning"
            assert registry.service("c").priority == 7
            # What the previous release has changed lost what it did not know.
            assert registry.service("b").priority == 0
