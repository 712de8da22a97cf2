"""Runs the server of one kind of store, by the fixtures of the registry's own tests.

A program of its own, since the tests' ``servers`` would be taken for the module here.
It takes orders on stdin and answers on stdout, a line of JSON each, and ends when stdin
does or at SIGTERM; its server ends with it.
"""

import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple
from urllib.parse import quote

HERE = Path(__file__).resolve().parents[1]
TESTS = HERE.parent / "packages" / "registry" / "tests"


class Running(NamedTuple):
    """A server that answers: its URL as a store, and what the tests know it as."""

    url: str
    fixture: Any


Start = Callable[[Path, int], AbstractContextManager[Running]]


@contextmanager
def postgresql(folder: Path, _size: int) -> Iterator[Running]:
    """Give a server that syncs to the disk, as one does by default."""
    tests = import_module("support.servers.postgres")
    # It makes a folder of its own, for another user than this one.
    tempfile.tempdir = str(folder)
    fixture = tests.Postgres(
        fsync="on", max_connections="100", shared_buffers="128MB", max_wal_size="1GB"
    )
    try:
        fixture.start()
        fixture.sql(f"CREATE DATABASE {tests.DATABASE}", database="postgres")
        credentials = f"{tests.USER}:{quote(tests.PASSWORD, safe='')}"
        place = f"{tests.HOST}:{fixture.port}/{tests.DATABASE}"
        yield Running(f"postgresql://{credentials}@{place}", fixture)
    finally:
        fixture.close()


@contextmanager
def redis(folder: Path, _size: int) -> Iterator[Running]:
    """Give a server with an append-only file, synced every second by default."""
    with import_module("support.servers.redis").running(folder) as fixture:
        yield Running(f"redis://127.0.0.1:{fixture.port}/0", fixture)


@contextmanager
def etcd(folder: Path, size: int) -> Iterator[Running]:
    """Give a cluster of that size, which syncs to the disk as it always does."""
    options = ("--quota-backend-bytes", str(4 << 30))
    with import_module("support.servers.etcd").running(
        folder, size, options
    ) as fixture:
        yield Running(f"etcd://{','.join(map(str, fixture.hosts))}", fixture)


@contextmanager
def zookeeper(folder: Path, _size: int) -> Iterator[Running]:
    """Give a server that syncs to the disk as it always does."""
    with import_module("support.servers.zookeeper").running(folder) as fixture:
        yield Running(f"zookeeper://127.0.0.1:{fixture.port}", fixture)


@contextmanager
def consul(folder: Path, _size: int) -> Iterator[Running]:
    """Give a server of one node that keeps its data on the disk."""
    tests = import_module("support.servers.consul")
    with tests.running(tests.Agent(folder)) as fixture:
        yield Running(f"consul://127.0.0.1:{fixture.port}", fixture)


STARTS: dict[str, Start] = {
    "postgresql": postgresql,
    "redis": redis,
    "etcd": etcd,
    "zookeeper": zookeeper,
    "consul": consul,
}


def kill_leader(running: Running) -> dict[str, Any]:
    """Kill the member of an etcd cluster that leads, and name it."""
    member = running.fixture.leader()
    member.kill()
    return {"member": member.name}


def revive(running: Running, name: str) -> dict[str, Any]:
    """Start a member again; return when it has caught up and there is a leader."""
    cluster = running.fixture
    (member,) = (each for each in cluster.members if each.name == name)
    cluster.start(member)
    return {"leader": cluster.leader().name}


def serve(running: Running) -> None:
    """Carry out orders until there are no more."""
    answer({"url": running.url})
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "kill_leader":
            answer(kill_leader(running))
        elif order["do"] == "revive":
            answer(revive(running, order["member"]))
        else:
            answer({"error": f"no such order: {order['do']}"})


def answer(data: dict[str, Any]) -> None:
    """Write a line of JSON."""
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


def leave(_number: int, _frame: FrameType | None) -> None:
    """End in order, the server first."""
    raise SystemExit(0)


def main() -> int:
    """Return 0 when stdin ended, 1 when something failed, its reason answered."""
    kind, folder, size = sys.argv[1:]
    signal.signal(signal.SIGTERM, leave)
    sys.path[0] = str(TESTS)
    try:
        # What the fixtures say when a program is missing is a reason to skip a test.
        skipped: type[BaseException] = import_module("pytest").skip.Exception
    except ImportError as error:
        answer({"missing": f"{error.name}, which its fixture needs, is not installed"})
        return 1
    try:
        with STARTS[kind](Path(folder), int(size)) as running:
            serve(running)
    except skipped as reason:
        answer({"missing": str(reason)})
        return 1
    except ModuleNotFoundError as error:
        answer({"missing": f"the module {error.name} is not there"})
        return 1
    except (OSError, AssertionError, LookupError) as error:
        answer({"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
