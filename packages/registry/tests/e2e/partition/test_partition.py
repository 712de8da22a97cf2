"""Three replicas over one store; one of them is cut off from half of the services."""

import json
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from e2e.partition.namespaces import Host, Network
from support import PROGRAMS
from support.registry import eventually, registration

SERVICES = 200
PORT = 9000
NEAR, FAR = "10.213.1", "10.213.2"
"""The two networks of the services, a hundred in each, all at their own addresses."""

INTERVAL, TIMEOUT = 2.0, 2.0


class Services:
    """Services that take connections, until they die."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._listening: dict[str, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def start(self, address: str) -> None:
        self._network.add_address(address)
        listener = self._network.run(
            partial(socket.create_server, (address, PORT), backlog=64)
        )
        self._listening[address] = listener
        self._selector.register(listener, selectors.EVENT_READ)

    def die(self, address: str) -> None:
        listener = self._listening.pop(address)
        self._selector.unregister(listener)
        listener.close()

    def close(self) -> None:
        self._ending.set()
        self._thread.join(20)
        for address in list(self._listening):
            self.die(address)
        self._selector.close()

    def _serve(self) -> None:
        while not self._ending.is_set():
            for key, _ in self._selector.select(0.1):
                with suppress(OSError):
                    assert isinstance(key.fileobj, socket.socket)
                    key.fileobj.accept()[0].close()


class Replica:
    """A registry on a host of its own."""

    def __init__(self, network: Network, host: Host, store: str, confirm: int) -> None:
        self.host = host
        self._network = network
        self._url = f"http://{host.address}:5000"
        settings = {
            "host": host.address,
            "port": 5000,
            "store": store,
            "confirm": confirm,
            "health_check_interval": INTERVAL,
            "health_check_timeout": TIMEOUT,
        }
        program = str(PROGRAMS / "registry.py")
        command = host.command(sys.executable, program, json.dumps(settings))
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        eventually(self._is_ready, 60)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None
        with suppress(requests.ConnectionError):
            return self.call("GET", "/ready").status_code == 200
        return False

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        url = self._url + path
        return self._network.run(
            lambda: requests.request(method, url, json=body, timeout=20)
        )

    def get(self, path: str) -> Any:
        reply = self.call("GET", path)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def unhealthy(self) -> set[str]:
        services = self.get("/api/services?status=unhealthy&limit=1000")["services"]
        return {service["id"] for service in services}


class Site:
    """The network, the services, and three replicas over one store."""

    def __init__(self, folder: Path) -> None:
        self.network = Network()
        self.services = Services(self.network)
        self.replicas: list[Replica] = []
        self._store = f"sqlite:///{folder / 'registry.db'}"

    def start(self, confirm: int) -> tuple[Replica, Replica, Replica]:
        for name in ("one", "two", "three"):
            host = self.network.add_host(name)
            self.replicas.append(Replica(self.network, host, self._store, confirm))
        one, two, three = self.replicas
        for number in range(SERVICES):
            address = f"{(NEAR, FAR)[number % 2]}.{1 + number // 2}"
            self.services.start(address)
            changes = {"location": f"tcp://{address}:{PORT}", "mode": "tcp"}
            body = registration(address, **changes)
            assert two.call("POST", "/api/register", body).status_code == 201
        eventually(lambda: all(own(each, NEAR) for each in self.replicas))
        return one, two, three

    def cut_off(self, replica: Replica, network: str) -> None:
        self.network.cut_off(replica.host, network)

    def close(self) -> None:
        with ExitStack() as stack:
            stack.callback(self.network.close)
            stack.callback(self.services.close)
            for replica in self.replicas:
                stack.callback(replica.stop)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def own(replica: Replica, network: str) -> dict[str, Any]:
    """The evidence of the services in a network that this replica checks, by id."""
    replica_id = replica.get("/health")["replica"]
    ids = [f"{network}.{number}" for number in range(1, SERVICES // 2 + 1)]
    found = {each: replica.get(f"/api/services/{each}")["evidence"] for each in ids}
    return {k: v for k, v in found.items() if v["checked_by"] == replica_id}


def are_held(replica: Replica) -> bool:
    """Say whether every service out of reach is one whose verdict is held back."""
    states = [
        evidence.get("second_opinion", {}).get("state")
        for evidence in own(replica, FAR).values()
    ]
    assert "alone" not in states
    return len(states) > 10 and set(states) == {"held"}


def test_a_replica_that_is_cut_off_takes_nobody_for_dead(site: Site) -> None:
    one, two, three = site.start(confirm=2)
    site.cut_off(one, f"{FAR}.0/24")
    eventually(lambda: are_held(one), 120)
    evidence = next(iter(own(one, FAR).values()))
    replicas = [each.get("/health")["replica"] for each in (one, two, three)]
    assert evidence["outcome"] == "timeout"
    assert evidence["second_opinion"]["message"] == (
        f"unreachable from replica {replicas[0]},"
        f" reachable from {', '.join(sorted(replicas[1:]))}"
    )
    assert "to connect from this replica" in one.get("/health")["reasons"][-1]
    assert two.unhealthy() == set()
    # One that the cut-off replica reaches, one that it doesn't, both its own; and one
    # of another replica.
    dead = {next(iter(own(one, NEAR))), next(iter(own(one, FAR)))}
    dead.add(next(iter(own(three, FAR))))
    for address in dead:
        site.services.die(address)
    eventually(lambda: two.unhealthy() == dead, 60)
    eventually(lambda: are_held_but(one, dead), 60)
    for number in range(SERVICES):
        address = f"{(NEAR, FAR)[number % 2]}.{1 + number // 2}"
        history = two.get(f"/api/services/{address}/history")["history"]
        statuses = {verdict["status"] for verdict in history}
        assert ("unhealthy" in statuses) == (address in dead), address


def are_held_but(replica: Replica, dead: set[str]) -> bool:
    """Say whether all but the dead are still held back."""
    return all(
        evidence.get("second_opinion", {}).get("state") == "held"
        for address, evidence in own(replica, FAR).items()
        if address not in dead
    )


def test_without_a_second_opinion_it_does(site: Site) -> None:
    one, two, _ = site.start(confirm=1)
    # Less than half of its hosts, or it would doubt itself.
    site.cut_off(one, f"{FAR}.0/26")
    eventually(lambda: bool(two.unhealthy()), 60)
    assert two.unhealthy() <= own(one, FAR).keys()
