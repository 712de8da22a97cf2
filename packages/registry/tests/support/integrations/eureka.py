"""A registry with Eureka's API, and real applications that use it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from support import PROGRAMS
from support.registry import registration
from support.servers.node import node, package
from support.servers.registry import Registered
from support.serving import HOST

JSON = {"Accept": "application/json"}


def instance(
    instance_id: Any = "web1", app: Any = "WEB", **changes: Any
) -> dict[str, Any]:
    """An instance as py-eureka-client registers it, with ``changes`` made to it."""
    vip = str(app).lower()
    content: dict[str, Any] = {
        "instanceId": instance_id,
        "hostName": HOST,
        "app": app,
        "ipAddr": HOST,
        "port": {"$": 24000, "@enabled": "true"},
        "securePort": {"$": 9443, "@enabled": "false"},
        "countryId": 1,
        "dataCenterInfo": {
            "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
            "name": "MyOwn",
        },
        "leaseInfo": {
            "renewalIntervalInSecs": 2,
            "durationInSecs": 6,
            "registrationTimestamp": 0,
            "lastRenewalTimestamp": 0,
            "evictionTimestamp": 0,
            "serviceUpTimestamp": 0,
        },
        "metadata": {"management.port": "24000", "zone": "default", "a": "b"},
        "homePageUrl": f"http://{HOST}:24000/",
        "statusPageUrl": f"http://{HOST}:24000/info",
        "healthCheckUrl": f"http://{HOST}:24000/health",
        "secureHealthCheckUrl": "",
        "vipAddress": vip,
        "secureVipAddress": vip,
        "isCoordinatingDiscoveryServer": "false",
        "status": "UP",
        "overriddenstatus": "UNKNOWN",
        "lastUpdatedTimestamp": "1795888239976",
        "lastDirtyTimestamp": "1795888239976",
    }
    content.update(changes)
    return {key: value for key, value in content.items() if value is not ...}


class Eureka(Registered):
    """A registry that answers as Eureka does, and what is called of it."""

    def __init__(self, port: int | None = None, **settings: Any) -> None:
        super().__init__(port, integrations=["eureka"], **settings)
        self.eureka = f"{self.url}/eureka"

    def call(self, method: str, path: str, **given: Any) -> requests.Response:
        """Make one call of Eureka's API."""
        return requests.request(method, f"{self.eureka}/{path}", timeout=10, **given)

    def json(self, path: str) -> Any:
        """Return what a client that wants JSON reads."""
        reply = self.call("GET", path, headers=JSON)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def register_instance(self, instance_id: str = "web1", **changes: Any) -> None:
        """Register an instance, as a client does."""
        body = {"instance": instance(instance_id, **changes)}
        app = body["instance"]["app"]
        assert self.call("POST", f"apps/{app}", json=body).status_code == 204

    def statuses(self) -> dict[str, dict[str, str]]:
        """Return the statuses of all instances, by application."""
        applications = self.json("apps")["applications"]["application"]
        return {
            application["name"]: {
                one["instanceId"]: one["status"] for one in application["instance"]
            }
            for application in applications
        }

    def service(self, service_id: str) -> dict[str, Any] | None:
        """Return a service as our own API shows it; None if there is none."""
        url = f"{self.url}/api/services/{service_id}"
        reply = requests.get(url, timeout=5)
        return reply.json() if reply.status_code == 200 else None

    def register_own(self, service_id: str, **changes: Any) -> None:
        """Register a service by our own API."""
        body = registration(service_id, **{"health": {"enabled": False}, **changes})
        reply = requests.post(f"{self.url}/api/register", json=body, timeout=5)
        assert reply.status_code in (200, 201), reply.text

    def reads(self, route: str) -> int:
        """Return how often a route was read."""
        lines = self.metrics().splitlines()
        wanted = f'route="{route}"'
        counts = (
            float(line.rpartition(" ")[2])
            for line in lines
            if "_count" in line.partition("{")[0] and wanted in line
        )
        return int(sum(counts))


@contextmanager
def running(**settings: Any) -> Iterator[Eureka]:
    """A registry with Eureka's API, until the end of the block."""
    registry = Eureka(**settings)
    try:
        yield registry
    finally:
        registry.stop()


class Client:
    """A process with a client of Eureka, which answers commands."""

    def __init__(self, *command: str | Path) -> None:
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, command: str) -> Any:
        """Give a command and return the answer to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self.answer()

    def leave(self) -> None:
        """Have it leave the registry and end."""
        assert self._process.stdin is not None
        self._process.stdin.write("stop\n")
        self._process.stdin.flush()
        self._process.wait(30)

    def answer(self) -> Any:
        """Return the next answer."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def kill(self) -> None:
        """End it at once, as a crash would. Idempotent."""
        with self._process:
            self._process.kill()


@contextmanager
def py_client(url: str, instance_id: str, **settings: Any) -> Iterator[Client]:
    """An application WEB with py-eureka-client."""
    given = {
        "eureka_server": url,
        "app_name": "web",
        "instance_id": instance_id,
        "instance_host": HOST,
        "instance_ip": HOST,
        "instance_port": 24000,
        "renewal_interval_in_secs": 1,
        "duration_in_secs": 3,
        **settings,
    }
    program = PROGRAMS / "eureka_client.py"
    client = Client(sys.executable, program, json.dumps(given))
    try:
        yield client
    finally:
        client.kill()


@contextmanager
def js_client(port: int, **content: Any) -> Iterator[Client]:
    """An application with eureka-js-client."""
    given = {
        "instance": {
            "app": "js",
            "hostName": HOST,
            "ipAddr": HOST,
            "port": {"$": 24001, "@enabled": True},
            "vipAddress": "js",
            "dataCenterInfo": {
                "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
                "name": "MyOwn",
            },
            **content,
        },
        "eureka": {
            "host": HOST,
            "port": port,
            "servicePath": "/eureka/apps/",
            "heartbeatInterval": 500,
            "registryFetchInterval": 500,
            "shouldUseDelta": True,
            "maxRetries": 1,
        },
    }
    library = package("eureka-js-client", "4.5.0")
    program = PROGRAMS / "eureka_client.js"
    client = Client(node(), program, library, json.dumps(given))
    try:
        assert client.answer() == {"started": True}
        yield client
    finally:
        client.kill()
