"""Runs the server of one kind of store, with the fixtures of the registry's tests.

``python backend.py KIND FOLDER SIZE`` reads commands on stdin and writes replies on
stdout, one JSON object a line. It ends when stdin does or at SIGTERM, and stops its
server.
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

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "packages" / "registry" / "tests"


class Running(NamedTuple):
    """A server that is ready: its URL as a store, and the fixture of the tests."""

    url: str
    fixture: Any


Start = Callable[[Path, int], AbstractContextManager[Running]]


@contextmanager
def postgresql(folder: Path, _size: int) -> Iterator[Running]:
    """Yield a server that syncs to the disk, as it does by default."""
    from support.servers.stores import postgres

    # The fixture makes its own folder, for the user that PostgreSQL runs as.
    tempfile.tempdir = str(folder)
    fixture = postgres.Postgres(
        fsync="on", max_connections="100", shared_buffers="128MB", max_wal_size="1GB"
    )
    try:
        fixture.start()
        fixture.sql(f"CREATE DATABASE {postgres.DATABASE}", database="postgres")
        credentials = f"{postgres.USER}:{quote(postgres.PASSWORD, safe='')}"
        address = f"127.0.0.1:{fixture.port}/{postgres.DATABASE}"
        yield Running(f"postgresql://{credentials}@{address}", fixture)
    finally:
        fixture.close()


@contextmanager
def redis(folder: Path, _size: int) -> Iterator[Running]:
    """Yield a server with an append-only file, synced every second by default."""
    from support.servers.stores.redis import running

    with running(folder) as fixture:
        yield Running(f"redis://127.0.0.1:{fixture.port}/0", fixture)


@contextmanager
def etcd(folder: Path, size: int) -> Iterator[Running]:
    """Yield a cluster of that size, which syncs to the disk as it always does."""
    from support.servers.stores.etcd import running

    options = ("--quota-backend-bytes", str(4 << 30))
    with running(folder, size, options) as fixture:
        yield Running(f"etcd://{','.join(map(str, fixture.hosts))}", fixture)


@contextmanager
def zookeeper(folder: Path, _size: int) -> Iterator[Running]:
    """Yield a server that syncs to the disk as it always does."""
    from support.servers.stores.zookeeper import running

    with running(folder) as fixture:
        yield Running(f"zookeeper://127.0.0.1:{fixture.port}", fixture)


@contextmanager
def consul(folder: Path, _size: int) -> Iterator[Running]:
    """Yield a server of one node that keeps its data on the disk."""
    from support.servers.stores.consul import Agent, running

    with running(Agent(folder)) as fixture:
        yield Running(f"consul://127.0.0.1:{fixture.port}", fixture)


STARTS: dict[str, Start] = {
    "postgresql": postgresql,
    "redis": redis,
    "etcd": etcd,
    "zookeeper": zookeeper,
    "consul": consul,
}


def kill_leader(running: Running) -> dict[str, Any]:
    """Kill the leader of an etcd cluster; return the member's name."""
    member = running.fixture.leader()
    member.kill()
    return {"member": member.name}


def revive(running: Running, name: str) -> dict[str, Any]:
    """Start a member again; return when it has caught up and there is a leader."""
    cluster = running.fixture
    (dead,) = (member for member in cluster.members if member.name == name)
    cluster.start(dead)
    return {"leader": cluster.leader().name}


def serve(running: Running) -> None:
    """Run commands until there are no more."""
    reply({"url": running.url})
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "kill_leader":
            reply(kill_leader(running))
        elif command["do"] == "revive":
            reply(revive(running, command["member"]))
        else:
            reply({"error": f"no such command: {command['do']}"})


def reply(data: dict[str, Any]) -> None:
    """Write a line of JSON."""
    print(json.dumps(data), flush=True)


def stop(_number: int, _frame: FrameType | None) -> None:
    """End in order, the server first."""
    raise SystemExit(0)


def main() -> int:
    """Return 0 when stdin ends, 1 when something fails; the reply says why."""
    kind, folder, size = sys.argv[1:]
    signal.signal(signal.SIGTERM, stop)
    # The fixtures are imported only once their folder is on the path.
    sys.path[0] = str(TESTS)
    try:
        # A fixture whose program is missing skips its test, and says why.
        skipped: type[BaseException] = import_module("pytest").skip.Exception
    except ImportError as error:
        reply({"missing": f"{error.name}, which the fixtures need, is not installed"})
        return 1
    try:
        with STARTS[kind](Path(folder), int(size)) as running:
            serve(running)
    except skipped as reason:
        reply({"missing": str(reason)})
        return 1
    except ModuleNotFoundError as error:
        reply({"missing": f"the module {error.name} is not installed"})
        return 1
    except (OSError, AssertionError, LookupError) as error:
        reply({"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
