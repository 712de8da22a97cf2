"""Reads what comes back, to the letter, and says what is wrong with it."""

import json
import re
from asyncio import StreamReader
from dataclasses import dataclass

# Why a registry may say that it can't help: each is documented.
UNAVAILABLE = frozenset(
    {
        "no_healthy_provider",
        "not_ready",
        "store_unavailable",
        "too_many_uploads",
        "too_many_watchers",
    }
)
_START = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d) ?[^\r\n]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0\r\n]*)")
_CLOSED = (301, 308, 400, 408, 413, 414, 431, 501, 505)
"""Statuses after which a server may end the connection."""


class Malformed(Exception):
    """Bytes that are no HTTP reply."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply; the fields' names are in lower case."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def may_close(self) -> bool:
        """Whether the connection may end after it."""
        said = self.fields.get(b"connection", b"").lower()
        return said == b"close" or self.status in _CLOSED


def read_head(raw: bytes) -> Reply:
    """Return a reply's head as one without a body; raises `Malformed`."""
    start, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    found = _START.fullmatch(start)
    if found is None:
        raise Malformed(start[:80])
    fields: dict[bytes, bytes] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Malformed(line[:80])
        fields[field[1].lower()] = field[2]
    return Reply(int(found[1]), fields, b"")


async def read_reply(reader: StreamReader, method: bytes) -> Reply | None:
    """Return the final reply to a call, None when the connection ends before one.

    Raises `Malformed` for what is no reply and for one that ends early.
    """
    while True:
        raw = await _head(reader)
        if raw is None:
            return None
        head = read_head(raw)
        if head.status >= 200:
            break
    if method == b"HEAD" or head.status in (204, 304):
        return head
    return Reply(head.status, head.fields, await _body(reader, head))


async def _head(reader: StreamReader) -> bytes | None:
    raw = bytearray()
    while not raw.endswith(b"\r\n\r\n"):
        line = await reader.readline()
        if not line:
            if raw:
                raise Malformed(bytes(raw[:80]))
            return None
        raw += line
    return bytes(raw)


async def _body(reader: StreamReader, head: Reply) -> bytes:
    length = head.fields.get(b"content-length")
    if length is not None:
        return await reader.readexactly(int(length))
    if head.fields.get(b"transfer-encoding") != b"chunked":
        raise Malformed(b"neither a length nor chunks")
    parts = []
    while size := int((await reader.readline()).strip(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)


def split(raw: bytes) -> list[Reply]:
    """Return all replies in what came until the end, to calls of unknown methods.

    A stream that was cut is a reply with what had come of it. Raises `Malformed`.
    """
    found = []
    while raw:
        head, mark, rest = raw.partition(b"\r\n\r\n")
        if not mark:
            raise Malformed(raw[:80])
        reply = read_head(head)
        size = len(rest)
        if rest.startswith(b"HTTP/1.") or reply.status < 200:
            size = 0  # to HEAD, or on the way
        elif b"content-length" in reply.fields:
            size = min(size, int(reply.fields[b"content-length"]))
        elif b"transfer-encoding" in reply.fields:
            end = rest.find(b"\r\n0\r\n\r\n")
            size = size if end < 0 else end + 7
            if rest.startswith(b"0\r\n\r\n"):
                size = 5
        found.append(Reply(reply.status, reply.fields, rest[:size]))
        raw = rest[size:]
    return [reply for reply in found if reply.status >= 200]


def fault(reply: Reply) -> str | None:
    """Return what is wrong with a reply; None for a proper one."""
    if b"x-injected" in reply.fields:
        return "a field of the caller's own making is in the head"
    if b"Traceback (most recent" in reply.body:
        return "a traceback"
    if reply.status >= 500:
        return _unavailable(reply)
    kind = reply.fields.get(b"content-type", b"")
    if kind == b"application/problem+json" and reply.body:
        return _problem(reply)
    if kind == b"application/json" and reply.body:
        return None if _json(reply.body) is not None else "a body that is no JSON"
    return None


def _unavailable(reply: Reply) -> str | None:
    if reply.status != 503 or b"retry-after" not in reply.fields:
        return f"a {reply.status}"
    if not reply.body:  # to HEAD
        return None
    problem = _json(reply.body)
    code = problem.get("code") if isinstance(problem, dict) else None
    return None if code in UNAVAILABLE else f"a 503 of code {code!r}"


def _problem(reply: Reply) -> str | None:
    problem = _json(reply.body)
    if not isinstance(problem, dict):
        return "a problem that is no JSON"
    if problem.get("status") != reply.status or not problem.get("code"):
        return "a problem that does not say what it is"
    return None


def _json(body: bytes) -> object:
    try:
        found: object = json.loads(body.decode())
    except ValueError:
        return None
    return found
