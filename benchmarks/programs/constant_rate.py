"""Makes calls at a constant rate, whatever the server does: an open loop.

``python constant_rate.py PORT PROTOCOL FILE`` makes the calls in FILE, a JSON list of
texts, over and over. It reads commands on stdin and writes replies on stdout, one JSON
object a line. It ends when stdin does.

Each call has a moment at which it is due. Its latency counts from then, even if no
connection was free and it had to wait: a slow reply delays the calls behind it, and
that delay is part of what a caller sees ("coordinated omission" is leaving it out).
The loop never sleeps while it measures, so its core must have nothing else to do. A
rate of 0 makes the next call of a connection when the last is answered: a closed loop.
"""

import gc
import json
import re
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

READ_SIZE = 1 << 18
DRAIN_LIMIT = 10.0
"""Seconds after the last call was due until which calls may be answered."""

SETUP_LIMIT = 30.0
OK = b"HTTP/1.1 200 "
LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
# ZooKeeper's operations, and the type of an error in a reply to several.
GET_CHILDREN, GET_DATA, MULTI_READ = 8, 4, 22
PREFIX = "/services/"
NO_ERROR = bytes(4)


class MeasurementFailed(Exception):
    """The measurement can't go on; the text says why."""


class Connection:
    """A connection to an HTTP server, with at most one call under way."""

    __slots__ = ("_parts", "buffer", "due", "free_since", "receive", "send", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SETUP_LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send, self.receive = self.socket.send, self.socket.recv
        self.buffer = b""
        self.due = self.free_since = 0.0

    @staticmethod
    def calls(texts: Sequence[str]) -> list[Any]:
        """Return what `begin` takes, for each of the texts."""
        return [text.encode() for text in texts]

    def begin(self, call: Any) -> None:
        """Send a call."""
        self.send(call)

    def complete(self) -> bool:
        """Say whether the reply is complete; raises unless it is a success."""
        data = self.buffer
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not data.startswith(OK):
            raise MeasurementFailed(f"a call got {data[:200]!r}")
        length = LENGTH.search(data, 0, end + 2)
        if length is not None:
            return len(data) - end - 4 >= int(length[1])
        return data.endswith(b"0\r\n\r\n")


class ZooKeeperSession(Connection):
    """A session of ZooKeeper. A call lists a node's children and then reads them all.

    The names are known beforehand, so nothing is parsed; the second request still waits
    for the reply to the first, as it has to.
    """

    __slots__ = ()

    def __init__(self, port: int) -> None:
        super().__init__(port)
        timeout = (30_000).to_bytes(4, "big")
        # Version, last transaction seen, timeout, no session yet, an empty password.
        self.send(_framed(bytes(12) + timeout + bytes(8) + _text(bytes(16)) + b"\0"))
        self._parts: deque[bytes] = deque()
        while not self._framed_reply():
            self.buffer += self.receive(READ_SIZE)
        self.buffer = b""

    @staticmethod
    def calls(texts: Sequence[str]) -> list[Any]:
        """``texts`` are JSON: the name of a node, then those of its children."""
        return [_lookup(*json.loads(text)) for text in texts]

    def begin(self, call: Any) -> None:
        first, second = call
        self._parts.append(second)
        self.send(first)

    def complete(self) -> bool:
        if not self._framed_reply():
            return False
        # The header: the request's number, the transaction's, and an error.
        if self.buffer[16:20] != NO_ERROR:
            raise MeasurementFailed(f"ZooKeeper answered {self.buffer[:60]!r}")
        if not self._parts:
            return True
        self.buffer = b""
        self.send(self._parts.popleft())
        return False

    def _framed_reply(self) -> bool:
        length = int.from_bytes(self.buffer[:4], "big")
        return len(self.buffer) >= 4 and len(self.buffer) >= 4 + length


def _lookup(node: str, *children: str) -> tuple[bytes, bytes]:
    path = PREFIX + node
    listing = _number(1) + _number(GET_CHILDREN) + _text(path.encode()) + b"\0"
    reads = b"".join(
        _operation(GET_DATA, False) + _text(f"{path}/{child}".encode()) + b"\0"
        for child in children
    )
    reading = _number(2) + _number(MULTI_READ) + reads + _operation(-1, True)
    return _framed(listing), _framed(reading)


def _operation(kind: int, last: bool) -> bytes:
    return _number(kind) + bytes((last,)) + _number(-1)


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big", signed=True)


def _text(value: bytes) -> bytes:
    return _number(len(value)) + value


def _framed(payload: bytes) -> bytes:
    return _number(len(payload)) + payload


PROTOCOLS: dict[str, type[Connection]] = {
    "http": Connection,
    "zookeeper": ZooKeeperSession,
}


class Load:
    """The calls of one run, and what was measured of them."""

    def __init__(self, connections: Sequence[Connection], calls: Sequence[Any]) -> None:
        self._calls = calls
        self._poll = select.epoll()
        self._by_number = {each.socket.fileno(): each for each in connections}
        for each in connections:
            each.socket.setblocking(False)
            self._poll.register(each.socket, select.EPOLLIN)
        self._free = deque(connections)
        self._sent = 0
        self._bytes = 0
        self.latencies: list[float] = []
        self.lags: list[float] = []

    def run(self, rate: float, seconds: float) -> dict[str, Any]:
        """Make the calls; return the figures, in seconds, when all are answered."""
        gc.collect()
        gc.freeze()
        cpu, began = time.process_time(), time.perf_counter()
        count = self._open(rate, seconds) if rate else self._closed(seconds)
        took = time.perf_counter() - began
        ordered, lags = sorted(self.latencies), sorted(self.lags)
        return {
            "calls": count,
            "answered": len(ordered),
            "seconds": took,
            "cpu": time.process_time() - cpu,
            "reply_bytes": self._bytes / max(1, len(ordered)),
            "p50": _percentile(ordered, 0.5),
            "p99": _percentile(ordered, 0.99),
            "p999": _percentile(ordered, 0.999),
            "lag": _percentile(lags, 0.99),
        }

    def _open(self, rate: float, seconds: float) -> int:
        """Make each call when it is due; return how many there were."""
        count, free, clock = round(rate * seconds), self._free, time.perf_counter
        began = clock()
        give_up = began + seconds + DRAIN_LIMIT
        while len(self.latencies) < count:
            now = clock()
            while free and self._sent < count and began + self._sent / rate <= now:
                self._begin(began + self._sent / rate, now)
                now = clock()
            if now > give_up:
                break
            self._read(0)
        return count

    def _closed(self, seconds: float) -> int:
        free, clock = self._free, time.perf_counter
        until = clock() + seconds
        while (now := clock()) < until or len(self.latencies) < self._sent:
            while free and now < until:
                self._begin(now, now)
            self._read(1)
            if now > until + DRAIN_LIMIT:
                raise MeasurementFailed("calls were not answered")
        return self._sent

    def _begin(self, due: float, now: float) -> None:
        connection = self._free.popleft()
        connection.due = due
        # What this program adds: the call was due and the connection free.
        self.lags.append(now - max(due, connection.free_since))
        connection.begin(self._calls[self._sent % len(self._calls)])
        self._sent += 1

    def _read(self, timeout: float) -> None:
        clock = time.perf_counter
        for number, _ in self._poll.poll(timeout):
            connection = self._by_number[number]
            data = connection.receive(READ_SIZE)
            if not data:
                raise MeasurementFailed("the server closed a connection")
            self._bytes += len(data)
            connection.buffer += data
            if connection.complete():
                now = clock()
                connection.buffer = b""
                connection.free_since = now
                self.latencies.append(now - connection.due)
                self._free.append(connection)


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def serve(port: int, protocol: type[Connection], calls: Sequence[Any]) -> None:
    """Run commands until there are no more."""
    reply({"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        connections = [protocol(port) for _ in range(command["connections"])]
        reply(Load(connections, calls).run(command["rate"], command["seconds"]))
        for each in connections:
            each.socket.close()


def reply(data: dict[str, Any]) -> None:
    """Write a line of JSON."""
    print(json.dumps(data), flush=True)


def main() -> int:
    """Return 0 when stdin ends, 1 when something fails; the reply says why."""
    port, name, file = sys.argv[1:]
    protocol = PROTOCOLS[name]
    try:
        calls = protocol.calls(json.loads(Path(file).read_text()))
        serve(int(port), protocol, calls)
    except (MeasurementFailed, OSError) as error:
        reply({"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
