"""Starts and stops what is measured: each on a free port, on one core, by its pid."""

import http.client
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.harness.results import BenchmarkError

START_LIMIT = 60.0
TICKS = os.sysconf("SC_CLK_TCK")
# Nothing that the caller has set may change what is measured.
FOREIGN = ("REGISTRY_", "HEALTH_CHECK_", "CONSUL_", "ETCD_")


def wait_until(condition: Callable[[], bool], limit: float, what: str) -> float:
    """Return the seconds until the condition held; raises after ``limit``."""
    pause, began = threading.Event(), time.perf_counter()
    while not condition():
        if time.perf_counter() - began > limit:
            raise BenchmarkError(f"{what} did not happen within {limit:.0f} s")
        pause.wait(0.003)
    return time.perf_counter() - began


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def family(pid: int) -> list[int]:
    """Return the pids of a process and of all that it started."""
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                todo += [int(child) for child in task.read_text().split()]
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time that these processes have used so far."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            fields = stat.rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


@dataclass(frozen=True, slots=True)
class Server:
    """A running server with its children, which share its process group."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def pids(self) -> list[int]:
        """Return the pids of the server and of all that it started."""
        return family(self.process.pid)

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used so far."""
        return cpu_seconds(self.pids())

    def worker_rss(self) -> int:
        """Return the bytes of memory that its children hold, itself left out."""
        pages = 0
        for pid in self.pids()[1:]:
            with suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def answers(self, path: str) -> bool:
        """Say whether ``path`` is answered with 200."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            line.request("GET", path)
            return line.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            line.close()

    def answers_or_died(self, path: str) -> bool:
        """Say whether ``path`` is answered with 200; raises when the server is gone."""
        if self.process.poll() is not None:
            raise BenchmarkError(f"{self.name} did not start: {self.tail()}")
        return self.answers(path)

    def ready(self, path: str) -> "Server":
        """Return itself once ``path`` answers 200; raises when that takes too long."""
        what = f"the start of {self.name}"
        wait_until(lambda: self.answers_or_died(path), START_LIMIT, what)
        return self

    def tail(self) -> str:
        """Return the last line that it has printed, which says why it ended."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop(self, gently: bool = False) -> None:
        """End it; ``gently`` when its data is used again."""
        if gently and self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        # A paused process does not take SIGTERM, and nothing here is worth keeping.
        self.signal(signal.SIGKILL)
        self.process.wait(15)


class Fleet:
    """All the servers of one scenario, and the folder with their data.

    Leaving it stops every one and removes the folder, whatever happened.
    """

    def __init__(self, core: int, data: Path) -> None:
        self.core = core
        self._data = data
        self._servers: list[Server] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        folder = tempfile.TemporaryDirectory(prefix="bench-", dir=self._data)
        self.folder = Path(self._stack.enter_context(folder))
        # nginx drops its rights after the start and still has to get at its folder.
        self.folder.chmod(0o755)
        self._stack.callback(self._stop_all)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _stop_all(self) -> None:
        while self._servers:
            self._servers.pop().stop()

    @contextmanager
    def only(self, chosen: Server) -> Iterator[None]:
        """Pause the others, so that no one's idle work takes from the one measured."""
        others = [each for each in self._servers if each is not chosen]
        for other in others:
            other.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for other in others:
                other.signal(signal.SIGCONT)

    @contextmanager
    def lent(self, server: Server, gently: bool = False) -> Iterator[Server]:
        """Return a server that is stopped at the end of the block."""
        try:
            yield server
        finally:
            self._servers.remove(server)
            server.stop(gently)

    def launch(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        env: Mapping[str, str] | None = None,
        cores: Sequence[int] = (),
    ) -> Server:
        """Start a command on the servers' core, or on others, and return at once."""
        log = self.folder / f"{name}-{port}.log"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        on = ",".join(map(str, cores or (self.core,)))
        # The kernel ends it should this process be killed outright.
        prefix = ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", on]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*prefix, *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env={**kept, **(env or {})},
                # Ctrl-C reaches this process alone, which then stops all in order.
                start_new_session=True,
            )
        server = Server(name, port, process, log)
        self._servers.append(server)
        return server
