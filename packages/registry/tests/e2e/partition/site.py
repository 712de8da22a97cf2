"""Three replicas over one store, on hosts of their own, and 200 services."""

import selectors
import socket
import threading
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import requests

from support.faults.namespaces import Host, Network
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
        self._process = host.start_registry(settings)
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


def own(replica: Replica, network: str) -> dict[str, Any]:
    """The evidence of the services in a network that this replica checks, by id."""
    replica_id = replica.get("/health")["replica"]
    ids = [f"{network}.{number}" for number in range(1, SERVICES // 2 + 1)]
    found = {each: replica.get(f"/api/services/{each}")["evidence"] for each in ids}
    return {k: v for k, v in found.items() if v["checked_by"] == replica_id}
