"""A proxy between a store and its server that a test can cut."""

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Coroutine
from typing import Any

HOST = "127.0.0.1"


class BreakableProxy:
    """A local TCP port that forwards everything to another one."""

    def __init__(self, port: int, host: str = HOST) -> None:
        """Forward connections to ``host`` and ``port``."""
        self.target = host, port
        self.port = 0
        self._forwarding = asyncio.Event()
        self._replying = asyncio.Event()
        self._sent_until_silence: float = math.inf
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._listen())
        self._forwarding.set()
        self._replying.set()

    def cut(self) -> None:
        """Reset all connections and refuse new ones."""
        self._run(self._cut())

    def hold(self) -> None:
        """Accept connections and bytes as before, but forward nothing either way."""
        self._loop.call_soon_threadsafe(self._forwarding.clear)

    def hold_replies_after(self, sent: int) -> None:
        """Forward no replies once the server has got ``sent`` more bytes."""
        self._sent_until_silence = sent

    def mend(self) -> None:
        """Forward everything again."""
        self._sent_until_silence = math.inf
        self._loop.call_soon_threadsafe(self._replying.set)
        self._loop.call_soon_threadsafe(self._forwarding.set)
        self._run(self._listen())

    def close(self) -> None:
        """Cut it for ever."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await self._open()
            self.port = self._server.sockets[0].getsockname()[1]

    async def _open(self) -> asyncio.Server:
        """Listen at ``port``, or at any if that is 0."""
        return await asyncio.start_server(self._forward, HOST, self.port)

    async def _cut(self) -> None:
        # A connection that asyncio has accepted but not announced would leak when its
        # server closes, and can't be cut yet: so accept no more, and wait.
        server, self._server = self._server, None
        for listener in server.sockets if server is not None else ():
            self._loop.remove_reader(listener.fileno())
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for pair in self._pairs:
                pair.cancel()
            await asyncio.wait(others, timeout=0.01)
        if server is not None:
            server.close()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        ends = [writer]
        try:
            far_reader, far_writer = await self._connect()
            ends.append(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump_requests(reader, far_writer))
                group.create_task(self._pump_replies(far_reader, writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # either end is gone, or the proxy was cut
        finally:
            for end in ends:
                end.transport.abort()
            self._pairs.discard(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.target)

    async def _pump_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async for data in self._read(reader):
            self._sent_until_silence -= len(data)
            if self._sent_until_silence < 0:
                self._replying.clear()
            writer.write(data)
            await writer.drain()

    async def _pump_replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async for data in self._read(reader):
            await self._replying.wait()
            writer.write(data)
            await writer.drain()

    async def _read(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        while data := await reader.read(65_536):
            await self._forwarding.wait()
            yield data
        raise ConnectionResetError("one end closed, so close the other")
