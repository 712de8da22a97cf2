"""A service with its sidecar, as `modularity-registry mesh run` runs it."""

import http.client
import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

from cryptography import x509

from support import PROGRAMS
from support.cli import environ
from support.registry import eventually
from support.servers import program
from support.serving import HOST, alive, free_port

CLI = PROGRAMS / "cli.py"


def require_envoy() -> Path:
    """Return Envoy's program; skips the test if there is none."""
    return program.find(["envoy"], ("envoy", "_bin"), "envoy")


class _Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the headers that it got, in lower case."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        got = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps(got).encode()
        # In one write: in two, the second may wait for an acknowledgement.
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def setup(self) -> None:
        super().setup()
        self.wfile = self.connection.makefile("wb", 65_536)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


class MeshService:
    """A service on loopback and its sidecar, which others reach at ``inbound``."""

    def __init__(
        self,
        url: str,
        service_id: str,
        folder: Path,
        token: str,
        capability: str | None = None,
    ) -> None:
        self.id = service_id
        self.inbound, self.outbound = free_port(), free_port()
        self.log = folder / f"{service_id}.log"
        self._app = _Server((HOST, free_port()), _Echo)
        threading.Thread(target=self._app.serve_forever, args=(0.05,)).start()
        command = [
            *(sys.executable, str(CLI), "mesh", "run", "--mtls", "--id", service_id),
            *("--port", str(self._app.server_address[1])),
            *("--inbound-port", str(self.inbound)),
            *("--outbound-port", str(self.outbound)),
            *("--capability", capability or service_id),
            *("--envoy", str(require_envoy())),
        ]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=out,
                env=environ(REGISTRY_URL=url, REGISTRY_TOKEN=token),
                start_new_session=True,
            )

    def wait_until_up(self) -> None:
        """Return once it says that it runs."""
        eventually(lambda: self.process.poll() is not None or "runs at" in self.said())
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        """Return what it and Envoy have said."""
        return self.log.read_text(errors="replace")

    @property
    def envoy(self) -> int:
        """The process id of its Envoy; 0 if there is none."""
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            return 0
        return int(children[0]) if children else 0

    def call(
        self,
        capability: str,
        method: str = "GET",
        connection: http.client.HTTPConnection | None = None,
    ) -> tuple[int, bytes]:
        """Call a capability as this service; return status and body."""
        used = connection or self.connect()
        try:
            body = b"x" if method == "POST" else None
            used.request(method, "/", body, {"Host": capability})
            response = used.getresponse()
            return response.status, response.read()
        finally:
            if connection is None:
                used.close()

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection to its outbound listener, which can be used again."""
        return http.client.HTTPConnection(HOST, self.outbound, timeout=10)

    def certificate(self) -> x509.Certificate:
        """Return what its inbound listener shows."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(_connected(self.inbound)) as tls:
            shown = tls.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown)

    def stop(self) -> int:
        """Ask it to end, and return its exit code. Idempotent."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(30)
        self._app.shutdown()
        self._app.server_close()
        return code

    def kill(self) -> None:
        """End the command at once, as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def folder(self) -> Path:
        """Return where it keeps its key."""
        return Path(os.readlink(f"/proc/{self.envoy}/cwd"))

    def ended(self, envoy: int) -> bool:
        """Say whether neither the command nor this Envoy of it runs any more."""
        return self.process.poll() is not None and not alive(envoy)


def _connected(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), 10)


class Load:
    """Calls on kept and on fresh connections, until the end of the block."""

    def __init__(self, service: MeshService, capability: str) -> None:
        self._service, self._capability = service, capability
        self._over = threading.Event()
        self._began = time.monotonic()
        self.calls = 0
        self.failures: list[str] = []
        runs = ((True, "GET"), (True, "POST"), (False, "GET"), (False, "POST"))
        self._threads = [threading.Thread(target=self._run, args=run) for run in runs]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, keeps: bool, method: str) -> None:
        connection = self._service.connect() if keeps else None
        while not self._over.wait(0.01):
            began = time.monotonic()
            try:
                status, body = self._service.call(self._capability, method, connection)
                failure = "" if status == 200 else f"{status} {body!r}"
            except (OSError, http.client.HTTPException) as error:
                failure = repr(error)
            self.calls += 1
            if failure:
                at, took = began - self._began, time.monotonic() - began
                self.failures.append(
                    f"at {at:.1f} s, {method}, {took:.2f} s: {failure}"
                )
        if connection is not None:
            connection.close()


def uris(certificate: x509.Certificate) -> list[str]:
    """Return the SPIFFE ids in a certificate."""
    names = certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)
