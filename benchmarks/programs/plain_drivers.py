"""Plain writes with the driver of each store, to compare the registry's writes with.

``python plain_drivers.py KIND URL THREADS SIZE`` runs on the core of the registry. It
reads commands on stdin and writes replies on stdout, one JSON object a line. It ends
when stdin does.
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
"""Stores a value under a new key; returns when it is stored."""

Connect = Callable[[], Write]
"""Called once for each thread; returns what the thread writes with."""


def sqlite(url: str) -> Connect:
    """Return a writer to SQLite: a synced commit for each value, one after another.

    The threads take turns with a lock. SQLite itself waits by sleeping, which is
    several times slower with this many threads.
    """
    path = urlsplit(url).path.removeprefix("/")
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE plain (key TEXT PRIMARY KEY, value BLOB)")
    lock = threading.Lock()

    def write(key: str, value: bytes) -> None:
        with lock:
            connection.execute("INSERT INTO plain VALUES (?, ?)", (key, value))

    return lambda: write


def postgresql(url: str) -> Connect:
    """Return a writer to PostgreSQL: a connection for each thread, a commit a value."""
    psycopg = import_module("psycopg")
    server = url.partition("?")[0]

    def connect() -> Write:
        connection = psycopg.connect(server, autocommit=True)
        text = "INSERT INTO plain VALUES (%s, %s)"
        return lambda key, value: connection.execute(text, (key, value))

    with psycopg.connect(server, autocommit=True) as first:
        first.execute(
            "CREATE TABLE IF NOT EXISTS plain (key TEXT PRIMARY KEY, v BYTEA)"
        )
    return connect


def redis(url: str) -> Connect:
    """Return a writer to Redis: one client, whose pool has a connection a thread."""
    parts = urlsplit(url)
    client = import_module("redis").Redis(parts.hostname, parts.port)
    write: Write = client.set
    return lambda: write


def etcd(url: str) -> Connect:
    """Return a writer to etcd: one client, whose connection takes many calls."""
    parts = urlsplit(url)
    client = import_module("pyetcd").client(parts.hostname, parts.port)
    write: Write = client.put
    return lambda: write


def zookeeper(url: str) -> Connect:
    """Return a writer to ZooKeeper: one client, whose connection takes many calls."""
    parts = urlsplit(url)
    client = import_module("kazoo.client").KazooClient(parts.netloc)
    client.start(30)
    client.ensure_path("/plain")
    return lambda: lambda key, value: client.create(f"/plain/{key}", value)


def consul(url: str) -> Connect:
    """Return a writer to Consul: a client for each thread, since its pool is small."""
    parts = urlsplit(url)
    module = import_module("consul")

    def connect() -> Write:
        client = module.Consul(parts.hostname, parts.port)

        def write(key: str, value: bytes) -> None:
            if not client.kv.put(f"plain/{key}", value):
                raise RuntimeError("Consul did not store a key")

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
    """Threads that write as fast as they can, each one value at a time."""

    def __init__(self, connect: Connect, threads: int, size: int) -> None:
        self._value = b"v" * size
        self._writes = [connect() for _ in range(threads)]
        self._runs = 0

    def run(self, seconds: float) -> dict[str, object]:
        """Write for so long; return the count, the seconds, and percentiles of them."""
        self._runs += 1
        durations: list[list[float]] = [[] for _ in self._writes]
        errors: list[BaseException] = []
        began = time.perf_counter()
        args = (durations, errors, began + seconds)
        threads = [
            threading.Thread(target=self._work, args=(number, *args))
            for number in range(len(self._writes))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            return {"error": f"{type(errors[0]).__name__}: {errors[0]}"}
        ordered = sorted(duration for own in durations for duration in own)
        return {
            "writes": len(ordered),
            "seconds": time.perf_counter() - began,
            "p50": ordered[len(ordered) // 2],
            "p99": ordered[len(ordered) * 99 // 100],
        }

    def _work(
        self,
        number: int,
        durations: list[list[float]],
        errors: list[BaseException],
        until: float,
    ) -> None:
        write, own = self._writes[number], durations[number]
        try:
            while (began := time.perf_counter()) < until:
                write(f"{self._runs:03d}-{number:02d}-{len(own):07d}", self._value)
                own.append(time.perf_counter() - began)
        except Exception as error:  # a driver may raise anything
            errors.append(error)


def reply(data: dict[str, object]) -> None:
    """Write a line of JSON."""
    print(json.dumps(data), flush=True)


def main() -> int:
    """Return 0 when stdin ends, 1 when the driver fails; the reply says why."""
    kind, url, threads, size = sys.argv[1:]
    try:
        writers = Writers(DRIVERS[kind](url), int(threads), int(size))
    except Exception as error:  # a driver may raise anything
        reply({"error": f"{type(error).__name__}: {error}"})
        return 1
    for line in sys.stdin:
        reply(writers.run(json.loads(line)["seconds"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
