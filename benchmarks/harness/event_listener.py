"""Hears all events of a replica, in a thread of its own, to count some afterwards."""

import socket
import threading
from types import TracebackType
from typing import Self

from benchmarks.harness.http import request
from benchmarks.harness.processes import wait_until
from benchmarks.harness.results import BenchmarkError

OPEN_LIMIT = 30.0
# Past the pause after which a silent stream is sent a sign of life.
SILENCE_LIMIT = 60.0


class Listener:
    """A stream of events, read until the block ends."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), SILENCE_LIMIT)
        self._heard = bytearray()
        self._fault: str | None = None
        self._leaving = False
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._socket.sendall(request("GET", "/api/events"))
        self._thread.start()
        wait_until(lambda: b"event: connected" in self._heard, OPEN_LIMIT, "a stream")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leaving = True
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def status_changes(self) -> int:
        """Return how many services changed their status since; raises after a gap."""
        if self._fault is not None:
            raise BenchmarkError(f"a stream of events broke: {self._fault}")
        if b"event: resync" in self._heard:
            raise BenchmarkError("a stream of events has a gap")
        return self._heard.count(b"event: service.status_changed")

    def _read(self) -> None:
        try:
            while data := self._socket.recv(65_536):
                self._heard += data
            fault = "the server closed it"
        except OSError as error:
            fault = str(error)
        if not self._leaving:
            self._fault = fault
