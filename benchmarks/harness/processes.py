"""Starts and stops the servers under test: a free port and a core for each."""

import http.client
import os
import resource
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
from typing import Protocol, Self

from benchmarks.harness.results import BenchmarkError

START_LIMIT = 60.0
# Enough to write a snapshot of a million services.
STOP_LIMIT = 120.0
TICKS = os.sysconf("SC_CLK_TCK")
# Settings of the caller's own environment must not change what is measured.
DROPPED_SETTINGS = ("REGISTRY_", "HEALTH_CHECK_", "CONSUL_", "ETCD_")


def wait_until(condition: Callable[[], bool], limit: float, event: str) -> None:
    """Return once the condition holds; raises an error after ``limit`` seconds.

    The error, a `BenchmarkError`, names the event that did not happen.
    """
    pause, began = threading.Event(), time.perf_counter()
    while not condition():
        if time.perf_counter() - began > limit:
            raise BenchmarkError(f"timed out after {limit:.0f} s: {event}")
        pause.wait(0.003)


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def process_tree(pid: int) -> list[int]:
    """Return the pids of a process and of its descendants, its own first."""
    pids, unvisited = [], [pid]
    while unvisited:
        pid = unvisited.pop()
        pids.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                unvisited += [int(child) for child in task.read_text().split()]
    return pids


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time that these processes have used so far."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            fields = stat.rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def children_cpu_seconds() -> float:
    """Return the processor time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class HasCpuTime(Protocol):
    """A server or program that knows how much processor time it has used."""

    def cpu_seconds(self) -> float:
        """Return the seconds used so far."""


class CpuMeter:
    """Measures processor time from its creation on.

    It tells the benchmark's own processes from foreign ones: whatever else runs on
    this machine, on any core. wrk and this process belong to the benchmark.
    """

    def __init__(self, *own: HasCpuTime) -> None:
        self._own = own
        self._foreign_before = self._foreign_total()
        self._before = [process.cpu_seconds() for process in own]
        self._began = time.perf_counter()

    def used(self) -> list[float]:
        """Return the seconds that each of the benchmark's processes has used."""
        pairs = zip(self._own, self._before, strict=True)
        return [process.cpu_seconds() - before for process, before in pairs]

    def foreign_share(self) -> float:
        """Return the share of a core that foreign processes have taken."""
        foreign = self._foreign_total() - self._foreign_before
        return max(0.0, foreign) / (time.perf_counter() - self._began)

    def _foreign_total(self) -> float:
        user, nice, system = Path("/proc/stat").read_text().split(maxsplit=4)[1:4]
        total = (int(user) + int(nice) + int(system)) / TICKS
        own = sum(process.cpu_seconds() for process in self._own)
        return total - own - children_cpu_seconds() - time.process_time()


@dataclass(frozen=True, slots=True)
class Server:
    """A running server with its children, which share its process group."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def pids(self) -> list[int]:
        """Return the pids of the server and of its descendants."""
        return process_tree(self.process.pid)

    def cpu_seconds(self) -> float:
        """Return the processor time that the server has used so far."""
        return cpu_seconds(self.pids())

    def worker_rss(self) -> int:
        """Return the resident bytes of its workers, without a parent if it has one."""
        return self._worker_memory("VmRSS")

    def worker_peak(self) -> int:
        """Return the most resident bytes that its workers have had so far."""
        return self._worker_memory("VmHWM")

    def _worker_memory(self, name: str) -> int:
        kilobytes, pids = 0, self.pids()
        for pid in pids[1:] or pids:
            with suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                kilobytes += int(status.partition(f"{name}:")[2].split()[0])
        return kilobytes * 1024

    def answers(self, path: str) -> bool:
        """Say whether ``GET path`` answers 200; raises when the server has ended."""
        if self.process.poll() is not None:
            raise BenchmarkError(f"{self.name} did not start: {self.last_log_line()}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def ready(self, path: str, limit: float = START_LIMIT) -> "Server":
        """Return itself once ``path`` answers 200; raises after ``limit`` seconds."""
        wait_until(lambda: self.answers(path), limit, f"start of {self.name}")
        return self

    def last_log_line(self) -> str:
        """Return the last line of its output, which says why it ended."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and its descendants."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop(self, graceful: bool = False) -> None:
        """Stop it; ``graceful`` when its data is used again."""
        if graceful and self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_LIMIT)
        # A paused process ignores SIGTERM, and no data here is worth keeping.
        self.signal(signal.SIGKILL)
        self.process.wait(15)


class Fleet:
    """All servers of one scenario, and the folder with their data.

    Leaving the ``with`` block stops every server and removes the folder.
    """

    def __init__(self, core: int, data: Path) -> None:
        self.core = core
        self._data = data
        self._servers: list[Server] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        folder = tempfile.TemporaryDirectory(prefix="bench-", dir=self._data)
        self.folder = Path(self._stack.enter_context(folder))
        # nginx drops its rights after the start and still has to reach its folder.
        self.folder.chmod(0o755)
        self._stack.callback(self._stop_all)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _stop_all(self) -> None:
        while self._servers:
            self._servers.pop().stop()

    @contextmanager
    def pausing_others(self, measured: Server) -> Iterator[None]:
        """Pause all other servers, so that their idle work takes no processor time."""
        others = [server for server in self._servers if server is not measured]
        for other in others:
            other.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for other in others:
                other.signal(signal.SIGCONT)

    @contextmanager
    def stopping(self, server: Server, graceful: bool = False) -> Iterator[Server]:
        """Yield the server, and stop it at the end of the block."""
        try:
            yield server
        finally:
            self._servers.remove(server)
            server.stop(graceful)

    def launch(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        env: Mapping[str, str] | None = None,
        cores: Sequence[int] = (),
    ) -> Server:
        """Start a command on the servers' core, or on ``cores``; return at once."""
        log = self.folder / f"{name}-{port}.log"
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(DROPPED_SETTINGS)
        }
        core_list = ",".join(map(str, cores or (self.core,)))
        # The kernel kills it if this process is killed.
        prefix = ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", core_list]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*prefix, *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env={**inherited, **(env or {})},
                # Ctrl-C reaches this process only, which then stops all in order.
                start_new_session=True,
            )
        server = Server(name, port, process, log)
        self._servers.append(server)
        return server
