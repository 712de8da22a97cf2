"""Writes the lines of the log, several at a time, from a thread of its own."""

import logging
import sys
import threading
from contextlib import suppress
from typing import TextIO

TOGETHER_SECONDS = 0.05
"""How long a line may wait to be written with others; from level warning up, 0."""

MOST_WAITING = 4_000_000
"""Characters of lines that may wait to be written; further lines are lost."""

FLUSH_SECONDS = 1.0
"""How long a flush waits for a stream that takes no more."""


class BatchingHandler(logging.StreamHandler[TextIO]):
    """A stream handler that can leave the writing to a thread of its own.

    Whoever logs then never waits for the stream: a full pipe would stop the event loop.
    Lines that no longer fit in memory are counted, and a line says how many.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        # Not the handler's own lock: `logging.shutdown` holds that while it flushes.
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._size = 0
        self._lost = 0
        self._writing = False
        self._urgent = False
        self._over = False
        self._thread: threading.Thread | None = None

    def start_batching(self) -> None:
        """Leave the writing to a thread from now on.

        A process must not fork after this. Idempotent.
        """
        if self._thread is not None:
            return
        # A stream of its own: a thread that hangs in `sys.stderr` would keep its lock,
        # and the end of the process flushes that.
        with suppress(OSError, ValueError):  # it has no descriptor
            stream = self.stream
            self.setStream(
                open(  # noqa: SIM115  # it lives as long as the handler
                    stream.fileno(),
                    "w",
                    encoding=stream.encoding,
                    errors=stream.errors,
                    closefd=False,
                )
            )
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or have it written soon."""
        if self._thread is None:
            super().emit(record)
            return
        try:
            line = self.format(record)
        except Exception:
            line = self._line("a line of the log has no form: %r", record.msg)
        line += self.terminator
        with self._changed:
            if self._size + len(line) > MOST_WAITING:
                self._lost += 1
                return
            self._lines.append(line)
            self._size += len(line)
            if record.levelno >= logging.WARNING:
                self._urgent = True
            if self._urgent or len(self._lines) == 1:
                self._changed.notify_all()

    def flush(self) -> None:
        """Return when the lines that wait are written, or after `FLUSH_SECONDS`."""
        if self._thread is None:
            super().flush()
            return
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: not (self._lines or self._lost or self._writing), FLUSH_SECONDS
            )

    def close(self) -> None:
        """Flush, and end. Idempotent."""
        with suppress(OSError, ValueError):
            self.flush()
        with self._changed:
            self._over = True
            self._changed.notify_all()
        super().close()

    def _run(self) -> None:
        while text := self._next():
            with suppress(OSError, ValueError):  # nobody reads it any more
                self.stream.write(text)
                self.stream.flush()
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                # The first line goes at once; those that follow go together.
                self._changed.wait_for(
                    lambda: self._urgent or self._over, TOGETHER_SECONDS
                )

    def _next(self) -> str:
        """Wait for lines, and return them; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._lost or self._over)
            lines, lost = self._lines, self._lost
            self._lines, self._size, self._lost = [], 0, 0
            self._urgent, self._writing = False, bool(lines or lost)
        if lost:
            message = "%d lines of the log are lost: they were not read fast enough"
            lines.append(self._line(message, lost) + self.terminator)
        return "".join(lines)

    def _line(self, message: str, value: object) -> str:
        """Return a line about the log itself, with the exception that is handled."""
        fault = sys.exc_info() if sys.exc_info()[0] is not None else None
        return self.format(
            logging.LogRecord(
                __name__, logging.WARNING, "", 0, message, (value,), fault
            )
        )
