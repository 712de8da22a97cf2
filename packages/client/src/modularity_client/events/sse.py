"""Server-Sent Events out of bytes, by the HTML standard (section 9.2.6)."""

import re
from collections.abc import Iterator
from typing import NamedTuple

LINE_END = re.compile(rb"\r\n|\r|\n")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

MAX_LINE = 1 << 20
"""So many bytes may a line have; a service with all that it may hold has fewer."""

MAX_EVENT = 4 << 20
"""So many bytes may the data of one event have."""


class TooLong(ValueError):
    """A line or an event is over the limit; nothing after it can be read."""


class Frame(NamedTuple):
    """One event; ``id`` is the last one that was sent, with it or before it."""

    id: str
    event: str
    data: str


class Parser:
    """Reads one connection's bytes, however they are cut. Does no I/O.

    ``last_id`` is where to resume, ``retry`` the pause (seconds) that the server wants
    before that, None while it has not said.
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
        """Yield the events that ``data`` completes; to be read to its end.

        Raises `TooLong`, after the events before the fault.
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
        return None  # a comment has no name, and is nobody's field

    def _dispatch(self) -> Frame | None:
        # The id counts from here on even where there is no data to go with it.
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
