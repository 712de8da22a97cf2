"""Lists as bytes: rendered once for all who ask for the same, in slices if long."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple

from modularity_registry import tasks
from modularity_registry.catalog.entry import Entry
from modularity_registry.integrations.http import Reply
from modularity_registry.schema import encode

LONG: Final = 64
"""Services of a list that is rendered in slices: others have turns in between."""

MOST_BYTES: Final = 32 * 1024 * 1024
"""Of the replies that are kept, of all callers together. The oldest go first."""

Render = Callable[[Entry], bytes | None]
"""Returns a service as a part of a list; None to leave it out."""


class _Kept(NamedTuple):
    stamp: Any
    reply: Reply


class Lists:
    """The replies that are kept, each with a stamp of what it was made from."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._coming: dict[Hashable, tuple[Any, asyncio.Task[bytes]]] = {}
        self.bytes = 0

    def get(self, key: Hashable, stamp: Any) -> Reply | None:
        """Return what is kept under ``key`` if it has this stamp."""
        kept = self._kept.get(key)
        if kept is None or kept.stamp != stamp:
            return None
        return kept.reply

    def put(self, key: Hashable, stamp: Any, reply: Reply) -> Reply:
        """Keep a reply, unless it is very long; return it."""
        former = self._kept.pop(key, None)
        if former is not None:
            self.bytes -= len(former.reply.body)
        if len(reply.body) <= MOST_BYTES // 8:
            self._kept[key] = _Kept(stamp, reply)
            self.bytes += len(reply.body)
        while self.bytes > MOST_BYTES or len(self._kept) > MOST_BYTES // 1024:
            self.bytes -= len(self._kept.popitem(last=False)[1].reply.body)
        return reply

    def render(
        self, key: Hashable, stamp: Any, entries: Sequence[Entry], render: Render
    ) -> bytes | Awaitable[bytes]:
        """Return a list of what ``render`` makes of the entries, in their order.

        Those who ask for the same long one at the same time wait for one rendering.
        """
        if len(entries) <= LONG:
            return _joined([part for e in entries if (part := render(e)) is not None])
        coming = self._coming.get(key)
        if coming is None or coming[0] != stamp:
            task = asyncio.get_running_loop().create_task(_in_slices(entries, render))
            coming = self._coming[key] = stamp, task
            task.add_done_callback(lambda _: self._done(key, task))
        # One who goes away ends it for nobody else.
        return asyncio.shield(coming[1])

    def _done(self, key: Hashable, task: asyncio.Task[bytes]) -> None:
        if key in self._coming and self._coming[key][1] is task:
            del self._coming[key]


async def _in_slices(entries: Sequence[Entry], render: Render) -> bytes:
    parts = []
    async for entry in tasks.in_slices(entries):
        part = render(entry)
        if part is not None:
            parts.append(part)
    return _joined(parts)


def _joined(parts: Sequence[bytes]) -> bytes:
    return b"[%b]" % b",".join(parts)


def row(value: Any) -> bytes:
    """Return a row as JSON."""
    return encode(value)
