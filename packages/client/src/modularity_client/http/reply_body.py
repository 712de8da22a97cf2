"""The body of a reply, read to a limit."""

import math
import time
from typing import Final

import httpx

from modularity_client.errors import BadReply

MAX_REPLY_BYTES: Final = 16 * 1024 * 1024
"""Bytes of the longest reply that is read, unless you set another limit."""

PLAIN: Final = {"Accept-Encoding": "identity"}
"""Asks for no compression: few bytes may become very many."""


TOO_LATE: Final = "it took too long to answer"


def read_body(
    response: httpx.Response, limit: int, deadline: float = math.inf
) -> bytes:
    """Return the body, of at most ``limit`` bytes, read until ``deadline`` (monotonic).

    Raises `BadReply` when it is longer, or compressed although nobody asked for that,
    and `httpx.ReadTimeout`.
    """
    body = _Body(response, limit)
    for part in response.iter_raw():
        body.add(part)
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout(TOO_LATE)
    return body.whole()


async def aread_body(response: httpx.Response, limit: int) -> bytes:
    """As `read_body`, for asyncio, which has time limits of its own."""
    body = _Body(response, limit)
    async for part in response.aiter_raw():
        body.add(part)
    return body.whole()


class _Body:
    def __init__(self, response: httpx.Response, limit: int) -> None:
        self._limit = limit
        self._status = response.status_code
        self._parts: list[bytes] = []
        self._size = 0
        coding = response.headers.get("content-encoding", "identity")
        if coding.strip().lower() not in ("", "identity"):
            raise BadReply(
                f"the reply is compressed ({coding[:64]}), which was not asked for",
                status=self._status,
            )

    def add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise BadReply(
                f"the reply has more than {self._limit:,} bytes; read lists in pages"
                " (iter_services, limit=), or raise max_reply_bytes",
                status=self._status,
            )
        self._parts.append(part)

    def whole(self) -> bytes:
        return b"".join(self._parts)
