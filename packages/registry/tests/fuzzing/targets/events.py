"""The client's parser of Server-Sent Events.

However the bytes are cut, the events are those that the standard's own steps give when
they are followed line by line over the whole text. What is too long is refused at the
same event.
"""

import re

from fuzzing.targets.cuts import parts_of
from modularity_client.events.sse import Frame, Parser, TooLong

MAX_LINE, MAX_EVENT = 64, 96
"""Low, so that short inputs reach them."""


def check(data: bytes) -> None:
    """Raise unless ``data``, whole and in parts, gives the standard's events."""
    text = data[1:]
    expected = reference(text)
    for parts in ([text], parts_of(data)):
        assert parsed(parts) == expected, parts


def parsed(parts: list[bytes]) -> tuple[list[Frame], str, float | None, bool]:
    """Return the events, the last id, the pause, and whether something was too long."""
    parser = Parser("0", MAX_LINE, MAX_EVENT)
    frames: list[Frame] = []
    try:
        for part in parts:
            for frame in parser.feed(part):
                frames.append(frame)
    except TooLong:
        return frames, parser.last_id, parser.retry, True
    return frames, parser.last_id, parser.retry, False


def reference(text: bytes) -> tuple[list[Frame], str, float | None, bool]:
    """Return the same by the steps of the HTML standard, section 9.2.6."""
    *lines, rest = re.split(rb"\r\n|\r|\n", text)
    frames: list[Frame] = []
    last_id = buffered_id = "0"
    retry: float | None = None
    event, data, size = "", "", 0
    for number, raw in enumerate(lines):
        if len(raw) > MAX_LINE:
            return frames, last_id, retry, True
        line = raw.decode("utf-8", "replace")
        if number == 0:
            line = line.removeprefix("\ufeff")
        if not line:
            last_id = buffered_id
            if data:
                frames.append(Frame(last_id, event or "message", data[:-1]))
            event, data, size = "", "", 0
            continue
        field, colon, value = line.partition(":")
        if colon and value[:1] == " ":
            value = value[1:]
        if field == "data":
            size += len(raw) - 3 * (number == 0 and raw[:3] == b"\xef\xbb\xbf")
            if size > MAX_EVENT:
                return frames, last_id, retry, True
            data += value + "\n"
        elif field == "event":
            event = value
        elif field == "id" and "\0" not in value:
            buffered_id = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            retry = int(value[:9]) / 1000
    return frames, last_id, retry, len(rest) > MAX_LINE
