"""Lines that wait for the audit's thread to write them."""

import threading
from collections import deque

MOST_WAITING = 8_000_000
"""Bytes of lines that may wait: thousands of changes. Further lines are lost."""

LARGEST_BATCH = 65_536
"""Bytes that are written together, unless one line is longer."""


class LineQueue:
    """Lines in order, from any thread to the one that takes them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._lines)

    def put(self, line: bytes) -> bool:
        """Add a line, never waiting; False if there is no room or the end has come."""
        with self._changed:
            if self._closed or self._size + len(line) > MOST_WAITING:
                return False
            self._lines.append(line)
            self._size += len(line)
            self._changed.notify()
        return True

    def take(self, seconds: float) -> list[bytes] | None:
        """Return the next lines, empty if there are none within ``seconds``.

        None once the queue is closed and empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._closed, seconds)
            if self._closed and not self._lines:
                return None
            lines: list[bytes] = []
            size = 0
            while self._lines and (
                not lines or size + len(self._lines[0]) <= LARGEST_BATCH
            ):
                lines.append(self._lines.popleft())
                size += len(lines[-1])
            self._size -= size
        return lines

    def close(self) -> None:
        """Take no more lines; those that wait can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify()
