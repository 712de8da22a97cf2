"""A proxy between a registry and its store that breaks connections in every way."""

import asyncio

from modularity_registry.stores.conformance.breakable_proxy import BreakableProxy


class FaultyProxy(BreakableProxy):
    """One that is also slow, tears replies, or closes one direction.

    ``delay`` is in seconds, for each piece of a reply. All of it ends with `mend`.
    """

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        self.torn_after: int | None = None
        self._half_closed = False
        super().__init__(port)

    def tear(self, count: int) -> None:
        """Reset each connection in the midst of a reply, after ``count`` bytes."""
        self.torn_after = count

    def half_close(self) -> None:
        """End the direction of the replies, with FIN, and go on taking requests.

        For connections on which something is said, old ones and new ones.
        """
        self._half_closed = True

    def mend(self) -> None:
        """Forward everything again, on new connections."""
        half_closed, self._half_closed = self._half_closed, False
        self.delay, self.torn_after = 0.0, None
        if half_closed:
            self.cut()
        super().mend()

    async def _pump_replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        count = 0
        async for data in self._read(reader):
            await self._replying.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            if self._half_closed:
                writer.write_eof()
                await asyncio.Event().wait()
            count += len(data)
            if self.torn_after is not None and count > self.torn_after:
                writer.write(data[: max(1, len(data) // 2)])
                await writer.drain()
                raise ConnectionResetError("torn")
            writer.write(data)
            await writer.drain()
