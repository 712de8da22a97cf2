"""The stores that the registry runs on, each with its server if it needs one."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.harness.fill import sqlite_url
from benchmarks.harness.paths import PROGRAMS
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet
from benchmarks.harness.programs import Program
from benchmarks.harness.results import BenchmarkError

KINDS = ("sqlite", "postgresql", "redis", "etcd", "zookeeper", "consul")


class BackendMissing(BenchmarkError):
    """This machine can't run the store; the text says what is missing."""


class Backend:
    """A kind of store that can be used, with its server on the core of the load."""

    def __init__(self, kind: str, fleet: Fleet, program: Program | None) -> None:
        self.kind = kind
        self.base_url = ""
        self._fleet = fleet
        self._program = program
        self._prefixes = count(1)
        if program is not None:
            reply = program.reply()
            if "missing" in reply:
                raise BackendMissing(f"{kind}: {reply['missing']}")
            self.base_url = reply["url"]

    def empty_store(self) -> str:
        """Return the URL of a store that is empty, a different one each time."""
        if self._program is None:
            return sqlite_url(self._fleet)
        return f"{self.base_url}?prefix=bench-{next(self._prefixes)}"

    def cpu_seconds(self) -> float:
        """Return the processor time that its server has used so far."""
        return 0.0 if self._program is None else self._program.cpu_seconds()

    def ask(self, **command: object) -> Mapping[str, object]:
        """Send a command to the program that runs its server; return the reply."""
        if self._program is None:
            raise BenchmarkError(f"{self.kind} has no server")
        return self._program.ask(**command)


@contextmanager
def backend(plan: Plan, fleet: Fleet, kind: str, size: int = 1) -> Iterator[Backend]:
    """Yield a store of this kind; raises `BackendMissing` if it can't run here."""
    with ExitStack() as stack:
        program = None
        if kind != "sqlite":
            folder = mkdtemp(prefix=f"{kind}-", dir=fleet.folder)
            # Some servers run as another user, who has to reach their files.
            Path(folder).chmod(0o755)
            script, arguments = PROGRAMS / "backend.py", (kind, folder, str(size))
            program = stack.enter_context(
                Program(plan.load_core, script, arguments, graceful=True)
            )
        yield Backend(kind, fleet, program)


def first_available(
    plan: Plan, fleet: Fleet, kinds: tuple[str, ...], stack: ExitStack
) -> Backend:
    """Return the first of these kinds that can run here; the stack closes it."""
    missing = []
    for kind in kinds:
        try:
            return stack.enter_context(backend(plan, fleet, kind))
        except BackendMissing as error:
            missing.append(str(error))
    raise BenchmarkError("; ".join(missing))
