"""The stores under the registry, each with its server where it has one."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.harness.fill import sqlite_url
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet
from benchmarks.harness.programs import Program
from benchmarks.harness.results import BenchmarkError

PROGRAM = Path(__file__).resolve().parents[1] / "programs" / "backend.py"
KINDS = ("sqlite", "postgresql", "redis", "etcd", "zookeeper", "consul")


class Missing(BenchmarkError):
    """A store that can't be had on this machine; its text says what is missing."""


class Backend:
    """A kind of store that can be used, with its server on the core of the load."""

    def __init__(self, kind: str, fleet: Fleet, program: Program | None) -> None:
        self.kind = kind
        self.base = ""
        self._fleet = fleet
        self._program = program
        self._places = count(1)
        if program is not None:
            started = program.answer()
            if "missing" in started:
                raise Missing(f"{kind}: {started['missing']}")
            self.base = started["url"]

    def place(self) -> str:
        """Return the URL of a store that nothing is in, another one each time."""
        if self._program is None:
            return sqlite_url(self._fleet)
        return f"{self.base}?prefix=bench-{next(self._places)}"

    def cpu_seconds(self) -> float:
        """Return the processor time that its server has used so far."""
        return 0.0 if self._program is None else self._program.cpu_seconds()

    def order(self, **order: object) -> Mapping[str, object]:
        """Have something done to its server, and return what came of it."""
        if self._program is None:
            raise BenchmarkError(f"{self.kind} has no server")
        return self._program.ask(**order)


@contextmanager
def backend(plan: Plan, fleet: Fleet, kind: str, size: int = 1) -> Iterator[Backend]:
    """Yield a store of this kind; raises `Missing` when there can be none here."""
    with ExitStack() as stack:
        program = None
        if kind != "sqlite":
            folder = mkdtemp(prefix=f"{kind}-", dir=fleet.folder)
            # Some servers run as another user, who has to get at what is in there.
            Path(folder).chmod(0o755)
            arguments = (kind, folder, str(size))
            program = stack.enter_context(
                Program(plan.load_core, PROGRAM, arguments, orderly=True)
            )
        yield Backend(kind, fleet, program)


def first_of(
    plan: Plan, fleet: Fleet, kinds: tuple[str, ...], stack: ExitStack
) -> Backend:
    """Return the first of these that can be had, until the stack is left."""
    missing = []
    for kind in kinds:
        try:
            return stack.enter_context(backend(plan, fleet, kind))
        except Missing as error:
            missing.append(str(error))
    raise BenchmarkError("; ".join(missing))
