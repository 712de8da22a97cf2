"""Holds thousands of watchers in one loop, and makes the changes that they watch.

``python watchers.py`` is a separate program, so nothing else delays its reading. It
reads commands on stdin and writes replies on stdout, one JSON object a line. It ends
when stdin does. One clock tells when a change was sent and when each watcher received
it. The same code reads streams of events and blocking queries, which are sent again
after each reply. It is nothing but epoll on sockets: what it costs is in every figure.
"""

import gc
import json
import os
import re
import resource
import select
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# Connections that may be opening at once, well below any server's backlog.
OPENING = 200
OPEN_LIMIT = 120.0
CHANGE_LIMIT = 60.0
# Loopback addresses that the watchers come from: each counts as one client.
ADDRESSES = 200
READ_SIZE = 16_384
# The placeholder in a query for the index after which it waits.
INDEX = b"{index}"

STATUS = re.compile(rb"HTTP/1\.1 2\d\d ")
LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
CONSUL_INDEX = re.compile(rb"\r\nX-Consul-Index: *(\d+)", re.IGNORECASE)
TICKS = os.sysconf("SC_CLK_TCK")


class MeasurementFailed(Exception):
    """The measurement can't go on; the text says why."""


class Connection:
    """A connection with the part of the reply that it has received."""

    __slots__ = (
        "buffer",
        "flowing",
        "number",
        "opened",
        "receive",
        "request",
        "socket",
    )

    def __init__(self, port: int, number: int, request: bytes) -> None:
        source = (f"127.0.0.{2 + number % ADDRESSES}", 0)
        self.socket = socket.create_connection(("127.0.0.1", port), 30, source)
        self.receive = self.socket.recv
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = number
        self.request = request
        self.buffer = b""
        self.opened = False
        # Whether it is a stream of which every chunk is complete in itself.
        self.flowing = False

    def begin(self) -> None:
        """Send the request that makes it a watcher."""
        self.socket.sendall(self.request)

    def complete(self) -> bool:
        """Say whether the reply in the buffer is complete."""
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return False
        length = LENGTH.search(head)
        if length is not None:
            return len(body) >= int(length[1])
        return body.endswith(b"0\r\n\r\n")

    def proceed(self) -> None:
        """Do what follows a complete reply."""
        self.require_success()
        self.buffer = b""
        self.opened = True

    def require_success(self) -> None:
        """Raise unless the reply in the buffer is a 2xx."""
        if STATUS.match(self.buffer) is None:
            raise MeasurementFailed(f"a watcher got {self.buffer[:200]!r}")


class Stream(Connection):
    """A stream of events: its reply never ends, but each of its chunks does."""

    __slots__ = ()

    def complete(self) -> bool:
        if not self.buffer.endswith(b"\r\n"):
            return False
        return b"event: connected" in self.buffer or STATUS.match(self.buffer) is None

    def proceed(self) -> None:
        super().proceed()
        self.flowing = True


class Query(Connection):
    """A blocking query, which is sent again with the index of the last reply."""

    __slots__ = ()

    def begin(self) -> None:
        self.socket.sendall(self.request.replace(INDEX, b"0"))

    def proceed(self) -> None:
        self.require_success()
        index = CONSUL_INDEX.search(self.buffer)
        if index is None:
            raise MeasurementFailed("a reply has no index")
        self.buffer = b""
        self.opened = True
        self.socket.sendall(self.request.replace(INDEX, index[1]))


class GrpcStream(Connection, ABC):
    """A connection with one stream of gRPC, which asks and then hears.

    Just enough of HTTP/2 (RFC 9113) for that.
    """

    __slots__ = ("_accepted", "_data", "_replies")

    PATH = b""

    def __init__(self, port: int, number: int, request: bytes) -> None:
        super().__init__(port, number, request)
        self._data = self._replies = b""
        self._accepted = 0

    def begin(self) -> None:
        start = [frame(4, 0, 0), frame(8, 0, 0, WINDOW)]
        start.append(frame(1, 4, 1, head(self.PATH)))
        start += [frame(8, 0, 1, WINDOW), message(self.first())]
        self.socket.sendall(PREFACE + b"".join(start))

    @abstractmethod
    def first(self) -> bytes:
        """Return the message that says what it wants to hear."""

    def answer(self, response: bytes) -> bytes:
        """Return the message that answers a response; empty for none."""
        return b""

    def complete(self) -> bool:
        while len(self.buffer) >= 9:
            end = 9 + int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < end:
                break
            self._take(self.buffer[3], self.buffer[4], self.buffer[9:end])
            self.buffer = self.buffer[end:]
        while len(self._data) >= 5:
            end = 5 + int.from_bytes(self._data[1:5], "big")
            if len(self._data) < end:
                break
            answer = self.answer(self._data[5:end])
            self._accepted += 1
            self._replies += message(answer) if answer else b""
            self._data = self._data[end:]
        return bool(self._replies) or (self._accepted > 0 and not self.opened)

    def proceed(self) -> None:
        replies, self._replies = self._replies, b""
        self.opened = self._accepted > 0
        self.socket.sendall(replies)

    def _take(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == 0:
            self._data += payload
        elif kind in (4, 6) and not flags & 1:
            self._replies += frame(kind, 1, 0, payload if kind == 6 else b"")
        elif kind in (3, 7) or (kind == 1 and flags & 1):
            raise MeasurementFailed(f"a stream of gRPC ended: {payload[:200]!r}")


class Node(GrpcStream):
    """A node of xDS: it asks for one cluster's endpoints, and accepts them."""

    __slots__ = ()

    PATH = (
        b"/envoy.service.discovery.v3.AggregatedDiscoveryService"
        b"/StreamAggregatedResources"
    )

    def first(self) -> bytes:
        return self._ask(field(2, field(1, b"node-%d" % self.number)))

    def answer(self, response: bytes) -> bytes:
        nonce = NONCE.search(response)
        if nonce is None:
            raise MeasurementFailed("a response has no nonce at its end")
        return self._ask(field(5, nonce[1]))

    def _ask(self, more: bytes) -> bytes:
        """Return a request for the endpoints; ``more`` is what it says beside that."""
        return field(3, self.request) + field(4, ENDPOINTS) + more


class EtcdWatch(GrpcStream):
    """A watch of etcd on all keys that begin with the request."""

    __slots__ = ()

    PATH = b"/etcdserverpb.Watch/Watch"

    def first(self) -> bytes:
        end = self.request[:-1] + bytes((self.request[-1] + 1,))
        return field(1, field(1, self.request) + field(2, end))


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW = (1 << 30).to_bytes(4, "big")
ENDPOINTS = b"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
NONCE = re.compile(rb"\x2a[\x01-\x10]([0-9a-f]+)\Z", re.DOTALL)


def field(number: int, content: bytes) -> bytes:
    """Return a field of a message of Protocol Buffers, of at most 127 bytes."""
    return bytes((number << 3 | 2, len(content))) + content


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags))
    return head + stream.to_bytes(4, "big") + payload


def message(content: bytes) -> bytes:
    """Return a message of gRPC in a frame of the stream."""
    return frame(0, 0, 1, b"\0%b%b" % (len(content).to_bytes(4, "big"), content))


def literal(name: bytes, value: bytes) -> bytes:
    """Return a header that no table has (RFC 7541, section 6.2.2)."""
    return b"\0%c%b%c%b" % (len(name), name, len(value), value)


def head(path: bytes) -> bytes:
    """Return the headers of a call of gRPC."""
    # The first two are in the static table: :method POST, :scheme http.
    return b"\x83\x86" + b"".join(
        literal(name, value)
        for name, value in (
            (b":path", path),
            (b":authority", b"registry"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        )
    )


KINDS: dict[str, Callable[[int, int, bytes], Connection]] = {
    "stream": Stream,
    "query": Query,
    "xds": Node,
    "etcd": EtcdWatch,
}


class Watchers:
    """All watchers, and the writer whose changes they receive."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._poll.register(sys.stdin, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._marker: bytes | None = None
        self._expected = 0
        self._waiting: set[int] = set()
        self._received_at: list[float] = []
        self._strays = 0

    def open(self, command: dict[str, Any]) -> dict[str, Any]:
        """Open a watcher for each request; return the seconds until all were open."""
        kind, port = KINDS[command["kind"]], int(command["port"])
        began = time.monotonic()
        opening: list[Connection] = []
        for number, raw in enumerate(command["requests"]):
            connection = self._add(kind(port, number, raw.encode()))
            connection.begin()
            opening.append(connection)
            while len(opening) >= OPENING:
                opening = self._still_opening(opening, began)
        while opening:
            opening = self._still_opening(opening, began)
        # What exists by now stays: collecting garbage would only delay the reading.
        gc.collect()
        gc.freeze()
        return {"seconds": time.monotonic() - began}

    def change(self, command: dict[str, Any]) -> dict[str, Any]:
        """Make the changes one after another; return the delays of each.

        ``pause`` is from when all have a change to the next; if ``periodic``, from the
        sending of one to that of the next.
        """
        # A new connection, because the server closes one that is idle for long.
        writer = self._add(Connection(int(command["port"]), -1, b""))
        self._expected, self._strays = int(command["expected"]), 0
        made, periodic = [], command["periodic"]
        began = sent = time.monotonic()
        for change in command["changes"]:
            now = time.monotonic()
            self._read_for(change["pause"] + (sent - now if periodic else 0))
            sent = time.monotonic()
            made.append(self._make(change, writer, command["pids"]))
        fd = writer.socket.fileno()
        self._poll.unregister(fd)
        self._connections.pop(fd).socket.close()
        rate = len(made) / (time.monotonic() - began)
        return {"changes": made, "strays": self._strays, "rate": rate}

    def serve(self) -> None:
        """Run commands until there are no more."""
        commands = {"open": self.open, "change": self.change}
        pending = b""
        while True:
            while b"\n" not in pending:
                if self._read(60.0):
                    data = os.read(0, 1 << 20)
                    if not data:
                        return
                    pending += data
            text, _, pending = pending.partition(b"\n")
            command = json.loads(text)
            reply(commands[command["do"]](command))

    def _add(self, connection: Connection) -> Connection:
        connection.socket.setblocking(False)
        self._connections[connection.socket.fileno()] = connection
        self._poll.register(connection.socket, select.EPOLLIN)
        return connection

    def _still_opening(
        self, opening: list[Connection], began: float
    ) -> list[Connection]:
        self._read(1.0)
        left = [connection for connection in opening if not connection.opened]
        if time.monotonic() - began > OPEN_LIMIT:
            raise MeasurementFailed(
                f"{len(left)} watchers were not open after {OPEN_LIMIT:g} s"
            )
        return left

    def _read_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._read(left)

    def _make(
        self, change: dict[str, Any], writer: Connection, pids: Sequence[int]
    ) -> dict[str, Any]:
        """Make a change; return its delays when all expected watchers have it."""
        self._waiting = {
            fd
            for fd, connection in self._connections.items()
            if 0 <= connection.number < self._expected
        }
        self._received_at = []
        self._marker = change["marker"].encode()
        raw, writer.opened, acknowledged = change["raw"].encode(), False, 0.0
        cpu, server_cpu = time.process_time(), cpu_seconds(pids)
        sent = time.monotonic()
        writer.socket.sendall(raw)
        while self._waiting or not acknowledged:
            self._read(1.0)
            now = time.monotonic()
            if writer.opened and not acknowledged:
                acknowledged = now
            if now - sent > CHANGE_LIMIT:
                raise MeasurementFailed(
                    f"{len(self._waiting)} watchers did not receive a change"
                )
        self._marker = None
        return {
            "acknowledged": acknowledged - sent,
            "received": [at - sent for at in self._received_at],
            "seconds": time.monotonic() - sent,
            "cpu": time.process_time() - cpu,
            "server_cpu": cpu_seconds(pids) - server_cpu,
        }

    def _read(self, timeout: float) -> bool:
        """Wait for data and read it; say whether a command is on stdin."""
        connections, marker, waiting = self._connections, self._marker, self._waiting
        complete, command, monotonic = [], False, time.monotonic
        for fd, _ in self._poll.poll(timeout, len(connections) + 1):
            if fd == 0:
                command = True
                continue
            connection = connections[fd]
            data = connection.receive(READ_SIZE)
            now = monotonic()
            buffer = connection.buffer + data if connection.buffer else data
            if marker is not None and marker in buffer:
                if fd in waiting:
                    waiting.remove(fd)
                    self._received_at.append(now)
                elif connection.number >= self._expected:
                    self._strays += 1
            if not data:
                raise MeasurementFailed("the server closed a watcher's connection")
            if connection.flowing and buffer.endswith(b"\r\n"):
                connection.buffer = b""
                continue
            connection.buffer = buffer
            if not connection.flowing and connection.complete():
                complete.append(connection)
                if marker is not None and connection.number >= self._expected:
                    self._strays += 1
        # The next queries can wait until everything is read.
        for connection in complete:
            connection.proceed()
        return command


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the processor time that these processes have used so far."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def reply(data: dict[str, Any]) -> None:
    """Write a line of JSON."""
    print(json.dumps(data), flush=True)


def main() -> int:
    """Return 0 when stdin ends, 1 when something fails; the reply says why."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        Watchers().serve()
    except (MeasurementFailed, OSError) as error:
        reply({"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
