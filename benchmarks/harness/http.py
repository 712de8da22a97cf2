"""A small HTTP client on plain sockets, to fill servers and to verify replies.

The load itself comes from wrk, which reads no replies. A full HTTP client in Python
would be too slow to register 100,000 services.
"""

import json
import re
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self, TypeVar

from benchmarks.harness.results import BenchmarkError

T = TypeVar("T")
TIMEOUT = 30.0
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


def request(
    method: str, path: str, body: str | bytes | None = None, headers: str = ""
) -> bytes:
    """Return the bytes of an HTTP/1.1 request; each of the headers ends its line."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}"
    if body is None:
        return f"{head}\r\n".encode()
    raw = body.encode() if isinstance(body, str) else body
    # An empty body still has a length, as HTTP clients send it.
    content_type = "Content-Type: application/json\r\n" if raw else ""
    return f"{head}{content_type}Content-Length: {len(raw)}\r\n\r\n".encode() + raw


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply; ``size`` is in bytes, with the head."""

    status: int
    head: bytes
    body: bytes
    size: int

    def json(self) -> Any:
        """Return the body's JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str:
        """Return a header's value; raises when there is none."""
        pattern = rb"\r\n" + re.escape(name.encode()) + rb": *([^\r\n]*)"
        match = re.search(pattern, self.head, re.IGNORECASE)
        if match is None:
            raise BenchmarkError(f"the reply has no {name} header")
        return match[1].decode()


class Connection:
    """A kept-alive connection to a server on loopback."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, raw: bytes) -> None:
        """Send a request without waiting for its reply."""
        self._socket.sendall(raw)

    def receive(self) -> Reply:
        """Return the next reply once it is complete."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._fill()
        head = self._take(end + 4)
        status = int(head.split(b" ", 2)[1])
        length = LENGTH.search(head)
        if length is not None:
            body = self._take(int(length[1]))
            return Reply(status, head, body, len(head) + len(body))
        if CHUNKED.search(head) is None:
            raise BenchmarkError("a reply has neither a length nor chunks")
        body, size = self._chunks()
        return Reply(status, head, body, len(head) + size)

    def _chunks(self) -> tuple[bytes, int]:
        parts: list[bytes] = []
        size = 0
        while True:
            while (end := self._buffer.find(b"\r\n")) < 0:
                self._fill()
            line = self._take(end + 2)
            length = int(line.strip(), 16)
            chunk = self._take(length + 2)
            size += len(line) + len(chunk)
            if length == 0:
                return b"".join(parts), size
            parts.append(chunk[:-2])

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _fill(self) -> None:
        data = self._socket.recv(1 << 18)
        if not data:
            raise BenchmarkError("the server closed the connection")
        self._buffer += data


def call(port: int, raw: bytes) -> Reply:
    """Return the reply to one request on a new connection."""
    with Connection(port) as connection:
        connection.send(raw)
        return connection.receive()


def get(port: int, path: str) -> Any:
    """Return the JSON at ``path``; raises `BenchmarkError` unless the status is 200."""
    reply = call(port, request("GET", path))
    if reply.status != 200:
        raise BenchmarkError(
            f"GET {path} answered {reply.status}: {reply.body[:200]!r}"
        )
    return reply.json()


def send_all(
    port: int,
    requests: Iterable[bytes],
    connections: int = 32,
    expect: Collection[int] = (200, 201),
) -> int:
    """Send every request over several connections, and return how many there were.

    Raises `BenchmarkError` at the first reply whose status is not in ``expect``.
    """
    return sum(1 for _ in replies(port, requests, connections, expect))


def replies(
    port: int,
    requests: Iterable[bytes],
    connections: int = 32,
    expect: Collection[int] = (200, 201),
) -> Iterator[Reply]:
    """Send every request over several connections, and yield the replies in order.

    Raises `BenchmarkError` at the first whose status is not in ``expect``.
    """
    with ExitStack() as stack:
        pool = [stack.enter_context(Connection(port)) for _ in range(connections)]
        for batch in in_batches(requests, connections):
            for connection, raw in zip(pool, batch, strict=False):
                connection.send(raw)
            for connection in pool[: len(batch)]:
                reply = connection.receive()
                if reply.status not in expect:
                    text = reply.body[:200].decode(errors="replace")
                    raise BenchmarkError(f"a request got {reply.status}: {text}")
                yield reply


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items, so many at a time."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
