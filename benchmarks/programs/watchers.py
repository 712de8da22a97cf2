"""The watchers' side of a measurement: thousands of them in one loop.

A program of its own, so that nothing else delays its reading. It takes orders on
stdin and answers on stdout, a line of JSON each, and ends when stdin does. It makes
the changes too, so that one clock tells when a change was sent and when each watcher
had it. Streams of events and blocking queries, which are asked anew after each answer,
are read by the same code.
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
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# So many may be on their way in at once, well below any queue of connections.
OPENING = 200
OPEN_LIMIT = 120.0
CHANGE_LIMIT = 60.0
# What stands in a query for the index after which it waits.
INDEX = b"{index}"

STATUS = re.compile(rb"HTTP/1\.1 2\d\d ")
LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
SEEN = re.compile(rb"\r\nX-Consul-Index: *(\d+)", re.IGNORECASE)
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """The measurement can't go on; its text says why."""


class Line:
    """A connection, and what has come on it of the answer under way."""

    __slots__ = ("buffer", "number", "opened", "request", "socket")

    def __init__(self, port: int, number: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = number
        self.request = request
        self.buffer = b""
        self.opened = False

    def begin(self) -> None:
        """Send what makes it a watcher."""
        self.socket.sendall(self.request)

    def complete(self) -> bool:
        """Say whether the reply in the buffer has come to its end."""
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        length = LENGTH.search(head)
        if length is not None:
            return len(body) >= int(length[1])
        return body.endswith(b"0\r\n\r\n")

    def proceed(self) -> None:
        """Do what follows on a complete reply."""
        self.refuse_failure()
        self.buffer = b""
        self.opened = True

    def refuse_failure(self) -> None:
        """Raise unless the reply in the buffer is a 2xx."""
        if STATUS.match(self.buffer) is None:
            raise Failed(f"a watcher was answered {self.buffer[:200]!r}")


class Stream(Line):
    """A stream of events: its only reply never ends, its chunks do."""

    __slots__ = ()

    def complete(self) -> bool:
        if not self.buffer.endswith(b"\r\n"):
            return False
        begun = self.opened or b"event: connected" in self.buffer
        return begun or STATUS.match(self.buffer) is None

    def proceed(self) -> None:
        if not self.opened:
            self.refuse_failure()
        self.buffer = b""
        self.opened = True


class Query(Line):
    """A blocking query: what it has seen is what it asks for more than."""

    __slots__ = ()

    def begin(self) -> None:
        self.socket.sendall(self.request.replace(INDEX, b"0"))

    def proceed(self) -> None:
        self.refuse_failure()
        seen = SEEN.search(self.buffer)
        if seen is None:
            raise Failed("an answer has no index to go on from")
        self.buffer = b""
        self.opened = True
        self.socket.sendall(self.request.replace(INDEX, seen[1]))


KINDS: dict[str, Callable[[int, int, bytes], Line]] = {"stream": Stream, "query": Query}


class Watchers:
    """All the watchers, and the writer whose changes they hear of."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._poll.register(sys.stdin, select.EPOLLIN)
        self._lines: dict[int, Line] = {}
        self._marker: bytes | None = None
        self._hearers = 0
        self._due: set[int] = set()
        self._heard: list[float] = []
        self._strays = 0

    def open(self, order: dict[str, Any]) -> dict[str, Any]:
        """Open a watcher for each request; return how long it took until all were."""
        kind, port = KINDS[order["kind"]], int(order["port"])
        todo = [raw.encode() for raw in order["requests"]]
        began = time.monotonic()
        opening: list[Line] = []
        for number, raw in enumerate(todo):
            line = self._add(kind(port, number, raw))
            line.begin()
            opening.append(line)
            while len(opening) >= OPENING:
                opening = self._still_opening(opening, began)
        while opening:
            opening = self._still_opening(opening, began)
        # What is there by now stays: a search for garbage would only delay a reading.
        gc.collect()
        gc.freeze()
        return {"seconds": time.monotonic() - began}

    def change(self, order: dict[str, Any]) -> dict[str, Any]:
        """Make the changes one after another; return when whom each has reached."""
        # Opened for the occasion: the server ends a connection that is idle for long.
        writer = self._add(Line(int(order["port"]), -1, b""))
        self._hearers, self._strays = int(order["hearers"]), 0
        made = []
        for each in order["changes"]:
            self.rest(each["pause"])
            made.append(self._one(each, writer, order["pids"]))
        fd = writer.socket.fileno()
        self._poll.unregister(fd)
        self._lines.pop(fd).socket.close()
        return {"changes": made, "strays": self._strays}

    def rest(self, seconds: float) -> None:
        """Go on reading for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._turn(left)

    def serve(self) -> None:
        """Carry out orders until there are no more."""
        orders = {"open": self.open, "change": self.change}
        pending = b""
        while True:
            while b"\n" not in pending:
                if self._turn(60.0):
                    read = os.read(0, 1 << 20)
                    if not read:
                        return
                    pending += read
            text, _, pending = pending.partition(b"\n")
            order = json.loads(text)
            answer(orders[order["do"]](order))

    def _add(self, line: Line) -> Line:
        line.socket.setblocking(False)
        self._lines[line.socket.fileno()] = line
        self._poll.register(line.socket, select.EPOLLIN)
        return line

    def _still_opening(self, opening: list[Line], began: float) -> list[Line]:
        self._turn(1.0)
        left = [line for line in opening if not line.opened]
        if time.monotonic() - began > OPEN_LIMIT:
            raise Failed(f"{len(left)} watchers were not open after {OPEN_LIMIT:g} s")
        return left

    def _one(
        self, each: dict[str, Any], writer: Line, pids: Sequence[int]
    ) -> dict[str, Any]:
        numbers = range(self._hearers)
        self._due = {fd for fd, line in self._lines.items() if line.number in numbers}
        self._heard = []
        self._marker = each["marker"].encode()
        raw, writer.opened, acked = each["raw"].encode(), False, 0.0
        spent, served = time.process_time(), cpu_seconds(pids)
        sent = time.monotonic()
        writer.socket.sendall(raw)
        while self._due or not acked:
            self._turn(1.0)
            now = time.monotonic()
            if writer.opened and not acked:
                acked = now
            if now - sent > CHANGE_LIMIT:
                raise Failed(f"{len(self._due)} watchers did not hear of a change")
        self._marker = None
        return {
            "acked": acked - sent,
            "heard": [at - sent for at in self._heard],
            "took": time.monotonic() - sent,
            "spent": time.process_time() - spent,
            "served": cpu_seconds(pids) - served,
        }

    def _turn(self, timeout: float) -> bool:
        """Read what has come; wait for it if need be. Say whether an order has."""
        lines, marker, due = self._lines, self._marker, self._due
        ended, order = [], False
        for fd, _ in self._poll.poll(timeout, len(lines) + 1):
            if fd == 0:
                order = True
                continue
            line = lines[fd]
            data = line.socket.recv(65_536)
            now = time.monotonic()
            line.buffer = line.buffer + data if line.buffer else data
            if marker is not None and marker in line.buffer:
                if fd in due:
                    due.remove(fd)
                    self._heard.append(now)
                elif line.number >= self._hearers:
                    self._strays += 1
            if not data:
                raise Failed("the server has closed a watcher's connection")
            if line.complete():
                ended.append(line)
        # Asking anew can wait until everyone's news is read.
        for line in ended:
            line.proceed()
        return order


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the processor time that these processes have used so far."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def answer(data: dict[str, Any]) -> None:
    """Write a line of JSON."""
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Return 0 when stdin ended, 1 when something failed, its reason answered."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        Watchers().serve()
    except (Failed, OSError) as error:
        answer({"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
