"""Parses Server-Sent Events, as the HTML standard says (section 9.2.6)."""

import re
from collections.abc import Iterator
from typing import NamedTuple

LINE_END = re.compile(rb"\r\n|\r|\n")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

MAX_LINE = 1 << 20
"""Bytes of the longest line; the largest possible service needs fewer."""

MAX_EVENT = 4 << 20
"""Bytes of the longest event."""


class TooLong(ValueError):
    """A line or an event is too long; nothing after it can be read."""


class Frame(NamedTuple):
    """One event; ``id`` is the last id sent, with this event or before it."""

    id: str
    event: str
    data: str


class Parser:
    """Parses the bytes of one connection, in parts of any size. Does no I/O.

    ``last_id`` is where to resume. ``retry`` is the pause (seconds) that the server
    asked for, None if it did not.
    """

    def __init__(
        self, last_id: str = "", max_line: int = MAX_LINE, max_event: int = MAX_EVENT
    ) -> None:
        self.last_id = last_id
        self.retry: float | None = None
        self._max_line = max_line
        self._max_event = max_event
        self._partial = bytearray()
        self._after_cr = False
        self._at_start = True
        self._id = last_id
        self._event = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the events that ``data`` completes; read it to its end.

        Raises `TooLong`, after the events before the line or event that is too long.
        """
        if self._after_cr and data:
            data = data.removeprefix(b"\n")  # the second half of a CR LF
            self._after_cr = False
        if not data:
            return
        self._after_cr = data.endswith(b"\r")
        *lines, rest = LINE_END.split(data)
        for line in lines:
            if self._partial:
                line = bytes(self._partial) + line
                self._partial.clear()
            frame = self._line(line)
            if frame is not None:
                yield frame
        self._partial += rest
        self._check(len(self._partial), self._max_line)

    def _line(self, line: bytes) -> Frame | None:
        self._check(len(line), self._max_line)
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._size += len(line)
                self._check(self._size, self._max_event)
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdecimal():
                self.retry = int(value[:9]) / 1000
        return None  # a comment has an empty name

    def _dispatch(self) -> Frame | None:
        # The id takes effect even if the event has no data.
        self.last_id = self._id
        data, event = self._data, self._event
        self._data, self._event, self._size = [], "", 0
        if not data:
            return None
        return Frame(self.last_id, event or "message", "\n".join(data))

    @staticmethod
    def _check(size: int, limit: int) -> None:
        if size > limit:
            raise TooLong(f"more than {limit} bytes in one line or event")
