"""Reads all events of a replica in a thread, to count status changes afterwards."""

import socket
import threading
from typing import Self

from benchmarks.harness.http import request
from benchmarks.harness.processes import wait_until
from benchmarks.harness.results import BenchmarkError

OPEN_LIMIT = 30.0
# Longer than the 15 s after which the registry sends a keep-alive on a silent stream.
SILENCE_LIMIT = 60.0


class EventListener:
    """A stream of events, read until the ``with`` block ends."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), SILENCE_LIMIT)
        self._received = bytearray()
        self._error: str | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._socket.sendall(request("GET", "/api/events"))
        self._thread.start()
        wait_until(
            lambda: b"event: connected" in self._received,
            OPEN_LIMIT,
            "opening a stream of events",
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def status_changes(self) -> int:
        """Return how many services have changed their status; raises after a gap."""
        if self._error is not None:
            raise BenchmarkError(f"a stream of events broke: {self._error}")
        if b"event: resync" in self._received:
            raise BenchmarkError("a stream of events has a gap")
        return self._received.count(b"event: service.status_changed")

    def _read(self) -> None:
        try:
            while data := self._socket.recv(65_536):
                self._received += data
            error = "the server closed it"
        except OSError as failure:
            error = str(failure)
        if not self._closing:
            self._error = error
