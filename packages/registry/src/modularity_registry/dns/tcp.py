"""DNS over TCP (RFC 7766): a sequence of messages, each after its length."""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from modularity_registry.dns import messages


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of connections; times are in seconds.

    ``idle`` is for the start of the next message, ``message`` for the rest of it, and
    ``unread`` for the caller to take its reply. One more than ``connections`` ends the
    one that has been quiet for longest.
    """

    connections: int = 128
    idle: float = 10.0
    message: float = 2.0
    unread: float = 5.0


class TcpConnections:
    """All connections of one listener. For one event loop."""

    def __init__(self, answer: Callable[[bytes], bytes | None], limits: Limits) -> None:
        self._answer = answer
        self._limits = limits
        self._server: asyncio.Server | None = None
        # The one that was quiet for longest stands first.
        self._open: OrderedDict[asyncio.StreamWriter, None] = OrderedDict()

    async def start(self, listener: socket.socket) -> None:
        """Take connections; returns at once."""
        self._server = await asyncio.start_server(
            self._talk, sock=listener, limit=2 * messages.MAX_QUERY
        )

    async def stop(self) -> None:
        """Take no more of them, and end those that are open."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if len(self._open) >= self._limits.connections:
            longest, _ = self._open.popitem(last=False)
            longest.transport.abort()
        self._open[writer] = None
        # So that all is sent when a wait for that is over.
        writer.transport.set_write_buffer_limits(0)
        try:
            while await self._exchange(reader, writer):
                if writer in self._open:
                    self._open.move_to_end(writer)
        except (OSError, EOFError, TimeoutError):
            pass  # gone, or too slow
        finally:
            self._open.pop(writer, None)
            writer.transport.abort()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one message; return whether the connection goes on."""
        async with asyncio.timeout(self._limits.idle):
            length = int.from_bytes(await reader.readexactly(2))
        if length > messages.MAX_QUERY:
            return False
        async with asyncio.timeout(self._limits.message):
            packet = await reader.readexactly(length)
        reply = self._answer(packet)
        if reply is None:
            return False
        writer.write(len(reply).to_bytes(2) + reply)
        async with asyncio.timeout(self._limits.unread):
            await writer.drain()
        return True
