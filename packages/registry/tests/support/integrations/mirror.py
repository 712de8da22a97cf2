"""The command mirror in a process of its own, and a stub that lists as Eureka does."""

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support import PROGRAMS
from support.cli import Served, environ
from support.serving import HOST


class MirrorProcess:
    """A mirror into a registry; it may be killed and started again."""

    def __init__(self, source: str, target: Served, *options: str, ttl: float) -> None:
        self._command = [
            *(sys.executable, str(PROGRAMS / "cli.py"), "mirror", "--from", source),
            *("--url", target.url, "--ttl", str(ttl), *options),
        ]
        self.start()

    def start(self) -> None:
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            self._command,
            env=environ(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def kill(self) -> None:
        """End it at once, as a crash would. Idempotent."""
        self._process.kill()
        self._process.wait(20)
        self._reader.join()

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(20)
        self._reader.join()
        return code

    def logged(self, text: str) -> bool:
        """Say whether a line of its log has this text."""
        return any(text in line for line in self._lines)

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                self._lines.append(line)


@contextmanager
def mirroring(
    source: str, target: Served, *options: str, ttl: float = 6
) -> Iterator[MirrorProcess]:
    """A mirror until the end of the block."""
    mirror = MirrorProcess(source, target, *options, ttl=ttl)
    try:
        yield mirror
    finally:
        mirror.kill()


def mirrored(target: Served) -> dict[str, str]:
    """Return the statuses of the services that carry a mark, by id."""
    services = target.get("/api/services?limit=500")["services"]
    return {
        service["id"]: service["status"]
        for service in services
        if "mirrored_from" in service["metadata"]
    }


def spring_instance(app: str, port: int, status: str = "UP") -> dict[str, Any]:
    """An instance as a Eureka server of Spring Cloud lists it."""
    host = "10.0.0.5"
    return {
        "instanceId": f"{host}:{app.lower()}:{port}",
        "hostName": host,
        "app": app,
        "ipAddr": host,
        "status": status,
        "overriddenStatus": "UNKNOWN",
        "port": {"$": port, "@enabled": "true"},
        "securePort": {"$": 443, "@enabled": "false"},
        "countryId": 1,
        "dataCenterInfo": {
            "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
            "name": "MyOwn",
        },
        "leaseInfo": {
            "renewalIntervalInSecs": 30,
            "durationInSecs": 90,
            "registrationTimestamp": 1795888239976,
            "lastRenewalTimestamp": 1795888299976,
            "evictionTimestamp": 0,
            "serviceUpTimestamp": 1795888239512,
        },
        "metadata": {"management.port": str(port)},
        "homePageUrl": f"http://{host}:{port}/",
        "statusPageUrl": f"http://{host}:{port}/actuator/info",
        "healthCheckUrl": f"http://{host}:{port}/actuator/health",
        "vipAddress": app.lower(),
        "secureVipAddress": app.lower(),
        "isCoordinatingDiscoveryServer": "false",
        "lastUpdatedTimestamp": "1795888239976",
        "lastDirtyTimestamp": "1795888239480",
        "actionType": "ADDED",
    }


class EurekaStub(ThreadingHTTPServer):
    """Lists ``instances``. A delta has ``changes``, and the hash of ``instances``.

    ``reads`` counts the paths that were read; ``broken`` answers 500.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self.instances: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        self.reads: Counter[str] = Counter()
        self.broken = False
        self.source = f"eureka=http://{HOST}:{self.server_port}/eureka"

    def document(self, instances: list[dict[str, Any]]) -> bytes:
        statuses = Counter(one["status"] for one in self.instances)
        hash_ = "".join(f"{name}_{count}_" for name, count in sorted(statuses.items()))
        by_app: dict[str, list[dict[str, Any]]] = {}
        for one in instances:
            by_app.setdefault(one["app"], []).append(one)
        applications = [{"name": app, "instance": by_app[app]} for app in by_app]
        return json.dumps(
            {
                "applications": {
                    "versions__delta": "1",
                    "apps__hashcode": hash_,
                    "application": applications,
                }
            }
        ).encode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        stub = self.server
        assert isinstance(stub, EurekaStub)
        stub.reads[self.path] += 1
        is_delta = self.path.endswith("/delta")
        body = stub.document(stub.changes if is_delta else stub.instances)
        self.send_response(500 if stub.broken else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
