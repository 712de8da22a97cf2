"""The line between a store and its server, as something a test can cut."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

HOST = "127.0.0.1"


class BreakableProxy:
    """A TCP port of this machine that passes everything on to another one."""

    def __init__(self, port: int, host: str = HOST) -> None:
        """Pass connections on to ``host`` and ``port``."""
        self.target = host, port
        self.port = 0
        self._passing = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._listen())
        self._passing.set()

    def cut(self) -> None:
        """Reset all connections and refuse new ones."""
        self._do(self._cut())

    def hold(self) -> None:
        """Take connections and bytes as before, but pass nothing on either way."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def mend(self) -> None:
        """Pass everything on again."""
        self._loop.call_soon_threadsafe(self._passing.set)
        self._do(self._listen())

    def close(self) -> None:
        """Cut it for good."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._pass_on, HOST, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        # What asyncio has taken but not announced yet would leak when its server
        # closes, and it is no pair yet that could be cut: so take no more, and wait.
        server, self._server = self._server, None
        for listener in server.sockets if server is not None else ():
            self._loop.remove_reader(listener.fileno())
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for pair in self._pairs:
                pair.cancel()
            await asyncio.wait(others, timeout=0.01)
        if server is not None:
            server.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        ends = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
            ends.append(far_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer))
                group.create_task(self._pump(far_reader, writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # either end is gone, or the line was cut
        finally:
            for end in ends:
                end.transport.abort()
            self._pairs.discard(task)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65_536):
            await self._passing.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError("one end closed: so does the other")
