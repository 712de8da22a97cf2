"""Writes the lines of the log, several at a time under load."""

import logging
import threading
from contextlib import suppress
from typing import TextIO

TOGETHER_SECONDS = 0.05
"""How long a line may wait to be written with others; from level warning up, 0."""


class BatchingHandler(logging.StreamHandler[TextIO]):
    """A stream handler that can write several lines at a time.

    A write gives up the interpreter's lock. At thousands of lines a second that costs
    the threads that answer calls more than all the rest of a line.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._pending: list[str] = []
        self._some = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start_batching(self) -> None:
        """Write several lines at a time from now on, from a thread of its own.

        A process must not fork after this. Idempotent.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, soon. `logging` calls it under the handler's lock."""
        if self._thread is None:
            super().emit(record)
            return
        try:
            self._pending.append(self.format(record) + self.terminator)
            if record.levelno >= logging.WARNING:
                self.flush()
            elif len(self._pending) == 1:
                self._some.set()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write the lines that wait; returns when that is done."""
        self.acquire()
        try:
            if self._pending:
                text = "".join(self._pending)
                self._pending.clear()
                self.stream.write(text)
            super().flush()
        finally:
            self.release()

    def close(self) -> None:
        """Write the lines that wait, and end. Idempotent."""
        with suppress(OSError, ValueError):
            self.flush()
        self._over.set()
        self._some.set()
        super().close()

    def _run(self) -> None:
        while not self._over.is_set():
            self._some.wait()
            self._some.clear()
            # The first line goes at once; those that follow meanwhile go together.
            with suppress(OSError, ValueError):  # nobody reads it any more
                self.flush()
            self._over.wait(TOGETHER_SECONDS)
