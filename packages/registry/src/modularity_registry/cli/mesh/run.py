"""Runs a sidecar: Envoy, its certificate, and the registration of the service."""

import json
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from modularity_client import Membership, Registry
from modularity_client.membership.membership import REFUSALS
from modularity_registry.cli.mesh.bootstrap import Plan, RegistryAccess, bootstrap
from modularity_registry.cli.mesh.envoy_process import (
    CONFIG,
    EnvoyFailed,
    EnvoyProcess,
)
from modularity_registry.cli.mesh.identity import Identity
from modularity_registry.model.sidecar import INBOUND, MESH, MTLS, OUTBOUND

log = logging.getLogger(__name__)

TURN: Final = 0.1
"""Seconds between two looks at Envoy."""

FIRST_TRY: Final = 10.0
"""Seconds within which the first registration should succeed."""

GRACE: Final = 1.0
"""Seconds that callers have to go to other providers before this one unregisters."""


class SidecarFailed(Exception):
    """The sidecar can't be run; the message says why, and what to do."""


def own_address(registry_url: str) -> str:
    """Return the address of this machine from which the registry is reached."""
    parts = urlsplit(registry_url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)  # sends nothing
            found: str = probe.getsockname()[0]
    except OSError as error:
        raise SidecarFailed(
            f"can't tell how others reach this machine ({error.strerror}); say it with"
            " --address"
        ) from None
    return found


def port_or_free(port: int, address: str, flag: str) -> int:
    """Return a port that can be had at an address: this one, or if it is 0 any."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.create_server((address, port), family=family) as server:
            found: int = server.getsockname()[1]
            return found
    except OSError as error:
        raise SidecarFailed(
            f"can't listen at {address} port {port} ({error.strerror}); choose another"
            f" port with {flag}"
        ) from None


class Sidecar:
    """A sidecar that runs in this process's foreground until it is told to stop."""

    def __init__(
        self,
        registry: Registry,
        plan: Plan,
        access: RegistryAccess,
        envoy: str,
        joining: dict[str, Any],
    ) -> None:
        self._registry = registry
        self._plan = plan
        self._access = access
        self._program = envoy
        self._joining = joining
        self._stop = threading.Event()
        self._envoy: EnvoyProcess | None = None
        self._member: Membership | None = None

    def run(self) -> None:
        """Run until SIGTERM or Ctrl-C; raises `SidecarFailed` and `RegistryError`."""
        with self._signals(), _folder() as folder:
            identity = self._identity(folder)
            try:
                if identity is not None:
                    identity.start()
                self._run(folder)
            except EnvoyFailed as error:
                raise SidecarFailed(str(error)) from None
            finally:
                self._end(identity)

    def _identity(self, folder: Path) -> Identity | None:
        if not self._plan.mtls:
            return None
        return Identity(
            self._registry,
            folder,
            self._plan.service_id,
            self._plan.capabilities,
            self._joining.get("owner_key"),
        )

    def _run(self, folder: Path) -> None:
        _write(folder / CONFIG, bootstrap(self._plan, self._access))
        listeners = (INBOUND, OUTBOUND) if self._plan.mtls else (OUTBOUND,)
        self._envoy = envoy = EnvoyProcess(self._program, folder, listeners)
        envoy.start()
        while not envoy.poll():
            if self._stop.wait(TURN):
                return
        self._wait_for_service(envoy)
        if self._stop.is_set():
            return
        member = self._join()
        was_ready = True
        while not self._stop.wait(TURN):
            ready = envoy.poll()
            if ready != was_ready:
                was_ready = ready
                note = "" if ready else "its Envoy has ended, and is started again"
                member.report(unhealthy=not ready, note=note)

    def _wait_for_service(self, envoy: EnvoyProcess) -> None:
        address = "127.0.0.1" if self._plan.mtls else self._plan.address
        port = self._plan.app_port
        told = False
        while not self._stop.is_set() and not _listens(address, port):
            if not told:
                log.info("waits until the service listens at %s:%d", address, port)
                told = True
            envoy.poll()
            self._stop.wait(TURN)

    def _join(self) -> Membership:
        plan = self._plan
        metadata = dict(self._joining.pop("metadata", {}))
        if plan.mtls:
            metadata[MESH] = MTLS
        self._member = member = self._registry.join(
            id=plan.service_id,
            capabilities=list(plan.capabilities),
            location=plan.location,
            mode="grpc" if plan.protocol == "grpc" else "http",
            metadata=metadata,
            grace=GRACE,
            **self._joining,
        )
        member.start()
        # Its handler would end this process before Envoy has ended.
        self._take_signals()
        deadline = FIRST_TRY
        while not member.registered and deadline > 0 and not self._stop.wait(TURN):
            deadline -= TURN
            if isinstance(member.error, REFUSALS):
                raise member.error
        self._tell()
        return member

    def _tell(self) -> None:
        plan = self._plan
        log.info(
            "%s runs at %s; call others at http://127.0.0.1:%d with the capability as"
            " the host",
            plan.service_id,
            plan.location,
            plan.outbound_port,
        )

    def _end(self, identity: Identity | None) -> None:
        if self._member is not None:
            self._member.leave()
        if self._envoy is not None:
            self._envoy.drain()
            self._envoy.stop()
        if identity is not None:
            identity.stop()

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())

    @contextmanager
    def _signals(self) -> Iterator[None]:
        before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
        self._take_signals()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder that nobody else can look into, and remove it at the end."""
    # In /tmp, short enough for the name of a socket.
    folder = Path(tempfile.mkdtemp(prefix="modularity-mesh-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, content: dict[str, Any]) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(file, "w") as out:
        json.dump(content, out)


def _listens(address: str, port: int) -> bool:
    with suppress(OSError):
        socket.create_connection((address, port), 1.0).close()
        return True
    return False
