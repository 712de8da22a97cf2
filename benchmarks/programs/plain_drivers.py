"""Plain writes with the driver of each store, as a measure for the registry's own.

A program of its own, on the core where the registry would be. It takes orders on stdin
and answers on stdout, a line of JSON each, and ends when stdin does.
"""

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from urllib.parse import urlsplit

Write = Callable[[str, bytes], object]
"""Stores a value under a key that is not there yet; returns when it is stored."""

Connect = Callable[[], Write]
"""Called by each thread, for what it writes with."""


def sqlite(url: str) -> Connect:
    """Return how to write to a file: a commit each, on the disk, one after another.

    The threads take turns by a lock: SQLite's own way to wait is to sleep, which with
    this many is several times slower.
    """
    path = urlsplit(url).path.removeprefix("/")
    line = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    line.execute("PRAGMA journal_mode=WAL")
    line.execute("PRAGMA synchronous=FULL")
    line.execute("CREATE TABLE plain (key TEXT PRIMARY KEY, value BLOB)")
    turn = threading.Lock()

    def write(key: str, value: bytes) -> None:
        with turn:
            line.execute("INSERT INTO plain VALUES (?, ?)", (key, value))

    return lambda: write


def postgresql(url: str) -> Connect:
    """Return how to write to PostgreSQL: a connection a thread, a commit each."""
    psycopg = import_module("psycopg")
    plain = url.partition("?")[0]

    def connect() -> Write:
        line = psycopg.connect(plain, autocommit=True)
        text = "INSERT INTO plain VALUES (%s, %s)"
        return lambda key, value: line.execute(text, (key, value))

    with psycopg.connect(plain, autocommit=True) as first:
        first.execute(
            "CREATE TABLE IF NOT EXISTS plain (key TEXT PRIMARY KEY, v BYTEA)"
        )
    return connect


def redis(url: str) -> Connect:
    """Return how to write to Redis: one client, whose pool has a line a thread."""
    parts = urlsplit(url)
    client = import_module("redis").Redis(parts.hostname, parts.port)
    write: Write = client.set
    return lambda: write


def etcd(url: str) -> Connect:
    """Return how to write to etcd: one client, whose line takes many calls at once."""
    parts = urlsplit(url)
    client = import_module("pyetcd").client(parts.hostname, parts.port)
    write: Write = client.put
    return lambda: write


def zookeeper(url: str) -> Connect:
    """Return how to write to ZooKeeper: one client, whose line takes many calls."""
    parts = urlsplit(url)
    client = import_module("kazoo.client").KazooClient(parts.netloc)
    client.start(30)
    client.ensure_path("/plain")
    return lambda: lambda key, value: client.create(f"/plain/{key}", value)


def consul(url: str) -> Connect:
    """Return how to write to Consul: a client a thread, since its pool is small."""
    parts = urlsplit(url)
    module = import_module("consul")

    def connect() -> Write:
        client = module.Consul(parts.hostname, parts.port)

        def write(key: str, value: bytes) -> None:
            if not client.kv.put(f"plain/{key}", value):
                raise RuntimeError("Consul did not take a key")

        return write

    return connect


DRIVERS: dict[str, Callable[[str], Connect]] = {
    "sqlite": sqlite,
    "postgresql": postgresql,
    "redis": redis,
    "etcd": etcd,
    "zookeeper": zookeeper,
    "consul": consul,
}


class Writers:
    """Threads that write as fast as they can, each waiting for its last write."""

    def __init__(self, connect: Connect, threads: int, size: int) -> None:
        self._value = b"v" * size
        self._lines = [connect() for _ in range(threads)]
        self._rounds = 0

    def run(self, seconds: float) -> dict[str, object]:
        """Write for so long, and return each write's seconds with the time taken."""
        self._rounds += 1
        took: list[list[float]] = [[] for _ in self._lines]
        faults: list[BaseException] = []
        began = time.perf_counter()
        until = began + seconds

        def work(number: int) -> None:
            write, taken = self._lines[number], took[number]
            try:
                while (start := time.perf_counter()) < until:
                    key = f"{self._rounds:03d}-{number:02d}-{len(taken):07d}"
                    write(key, self._value)
                    taken.append(time.perf_counter() - start)
            except Exception as error:  # a driver may raise anything
                faults.append(error)

        threads = [
            threading.Thread(target=work, args=(n,)) for n in range(len(self._lines))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if faults:
            return {"error": f"{type(faults[0]).__name__}: {faults[0]}"}
        every = sorted(one for taken in took for one in taken)
        return {
            "writes": len(every),
            "seconds": time.perf_counter() - began,
            "p50": every[len(every) // 2],
            "p99": every[len(every) * 99 // 100],
        }


def answer(data: dict[str, object]) -> None:
    """Write a line of JSON."""
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Return 0 when stdin ended, 1 when the driver failed, its reason answered."""
    kind, url, threads, size = sys.argv[1:]
    try:
        writers = Writers(DRIVERS[kind](url), int(threads), int(size))
    except Exception as error:  # a driver may raise anything
        answer({"error": f"{type(error).__name__}: {error}"})
        return 1
    for line in sys.stdin:
        answer(writers.run(json.loads(line)["seconds"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
