"""Tells streams what may have changed, a few at a time."""

import asyncio
from typing import Final

from modularity_registry import tasks
from modularity_registry.integrations.envoy.delivery.streams import Stream
from modularity_registry.integrations.envoy.resources.source import Names

AT_ONCE: Final = 32
"""So many streams send before others have a turn: 4 ms."""


class FanOut:
    """The streams of this process, which are told of every change."""

    def __init__(self) -> None:
        self._streams: dict[Stream, None] = {}
        self._pending: Names | None = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._streams)

    def start(self) -> None:
        """Tell the streams from now on."""
        self._task = tasks.start("envoy-fan-out", self._run())

    async def stop(self) -> None:
        """Tell nobody any more. Idempotent."""
        task, self._task = self._task, None
        await tasks.cancel(task)

    def join(self, stream: Stream) -> None:
        """Tell a stream from now on."""
        self._streams[stream] = None

    def leave(self, stream: Stream) -> None:
        """Tell it no more. Idempotent."""
        self._streams.pop(stream, None)

    def tell(self, names: Names | None) -> None:
        """Tell all streams soon; None if anything may have changed."""
        if names is None or self._pending is None:
            self._pending = None
        else:
            for kind, those in names.items():
                self._pending[kind] = self._pending.get(kind, frozenset()) | those
        self._news.set()

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            names, self._pending = self._pending, {}
            sending = 0
            async for stream in tasks.in_slices(list(self._streams)):
                if stream in self._streams and stream.note(names):
                    sending += 1
                    if not sending % AT_ONCE:
                        await asyncio.sleep(0)
