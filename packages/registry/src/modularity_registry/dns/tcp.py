"""DNS over TCP (RFC 7766): a sequence of messages, each after its length."""

import asyncio
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from modularity_registry.dns import messages
from modularity_registry.model.rights import network_of


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of connections; times are in seconds.

    ``idle`` is for the start of the next message, ``message`` for the rest of it, and
    ``unread`` for the caller to take its reply. One more than ``connections``, or than
    ``per_client`` of one address (an IPv6 address stands for its /64), ends one that
    is there: of the client with the most, the one that has been quiet for longest.
    """

    connections: int = 128
    per_client: int = 16
    idle: float = 10.0
    message: float = 2.0
    unread: float = 5.0


class TcpConnections:
    """All connections of one listener. For one event loop."""

    def __init__(
        self, answer: Callable[[bytes, str], bytes | None], limits: Limits
    ) -> None:
        self._answer = answer
        self._limits = limits
        self._server: asyncio.Server | None = None
        # The one that was quiet for longest stands first.
        self._open: OrderedDict[asyncio.StreamWriter, str] = OrderedDict()

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
        peer = _address(writer)
        client = network_of(peer)
        self._make_room(client)
        self._open[writer] = client
        # So that all is sent when a wait for that is over.
        writer.transport.set_write_buffer_limits(0)
        try:
            while await self._exchange(reader, writer, peer):
                if writer in self._open:
                    self._open.move_to_end(writer)
                # Whoever sends many queries at once never has to wait: others do.
                await asyncio.sleep(0)
        except (OSError, EOFError, TimeoutError):
            pass  # gone, or too slow
        finally:
            self._open.pop(writer, None)
            writer.transport.abort()

    def _make_room(self, client: str) -> None:
        held = Counter(self._open.values())
        if held[client] < self._limits.per_client:
            if len(self._open) < self._limits.connections:
                return
            client = held.most_common(1)[0][0]
        quietest = next(writer for writer, each in self._open.items() if each == client)
        del self._open[quietest]
        quietest.transport.abort()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str
    ) -> bool:
        """Answer one message; return whether the connection goes on."""
        async with asyncio.timeout(self._limits.idle):
            length = int.from_bytes(await reader.readexactly(2))
        if length > messages.MAX_QUERY:
            return False
        async with asyncio.timeout(self._limits.message):
            packet = await reader.readexactly(length)
        reply = self._answer(packet, peer)
        if reply is None:
            return False
        writer.write(len(reply).to_bytes(2) + reply)
        async with asyncio.timeout(self._limits.unread):
            await writer.drain()
        return True


def _address(writer: asyncio.StreamWriter) -> str:
    # None if the caller has gone already.
    peer = writer.get_extra_info("peername")
    return peer[0] if peer else ""
