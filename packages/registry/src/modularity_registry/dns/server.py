"""Answers DNS over UDP and TCP, on an event loop in a thread of its own."""

import asyncio
import logging
import threading
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final

from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.feed import Feed
from modularity_registry.dns import messages
from modularity_registry.dns.messages import Rcode
from modularity_registry.dns.names import Names
from modularity_registry.dns.tcp import Limits, TcpConnections
from modularity_registry.dns.transport import Sockets, receive
from modularity_registry.dns.zone import Zone

_log = logging.getLogger(__name__)

# So many datagrams in a row, then connections have their turn.
_IN_A_ROW: Final = 64
# Enough to see that one is too long.
_DATAGRAM: Final = messages.MAX_QUERY + 1
MAX_LOCAL_UDP: Final = 8192
"""Bytes that a caller in a private network may ask for by UDP; all others 1,232."""

_MAPPED: Final = "::ffff:"
_STOP_SECONDS: Final = 2.0


class DnsServer:
    """The catalog as the zone ``domain``, on ``sockets``; ``ttl`` is seconds.

    To be made before the feed starts, since it follows that, and started after it.
    """

    def __init__(
        self,
        catalog: Catalog,
        feed: Feed,
        sockets: Sockets,
        domain: str,
        ttl: int,
        limits: Limits | None = None,
    ) -> None:
        names = Names(catalog)
        feed.listen(names)
        self._zone = Zone(catalog, names, domain, ttl, sockets.addresses)
        self._domain = domain
        self._sockets = sockets
        self._tcp = TcpConnections(self._answer_tcp, limits or Limits())
        self._loop = asyncio.new_event_loop()
        self._told = asyncio.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="dns", daemon=True)

    def start(self) -> None:
        """Go on answering, in a thread of its own."""
        self._thread.start()
        _log.info("DNS answers for %s at port %d", self._domain, self._sockets.port)

    def stop(self) -> None:
        """End all connections and answer nothing more; returns at once. Idempotent."""
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._told.set)

    def close(self) -> None:
        """Stop, and return when the sockets are closed. Idempotent."""
        self.stop()
        if self._thread.ident is None:
            self._loop.close()
            self._sockets.close()
        else:
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        udp = self._sockets.udp
        self._loop.add_reader(udp, self._drain)
        try:
            await self._tcp.start(self._sockets.tcp)
            await self._told.wait()
        finally:
            self._loop.remove_reader(udp)
            await self._tcp.stop()
            self._sockets.close()

    def _drain(self) -> None:
        for _ in range(_IN_A_ROW):
            try:
                packet, ancillary, peer = receive(self._sockets.udp, _DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # what became of an answer sent before, not this one
            reply = self._answer(packet, peer)
            if reply is not None:
                # A reply that can't go out now is lost, as any datagram may be.
                with suppress(OSError):
                    self._sockets.udp.sendmsg([reply], ancillary, 0, peer)

    def _answer_tcp(self, packet: bytes) -> bytes | None:
        return self._answer(packet, None)

    def _answer(self, packet: bytes, peer: Any) -> bytes | None:
        """Return the reply to what ``peer`` sent, None for none; None is a stream."""
        try:
            query = messages.read(packet)
            answer = self._zone.answer(query)
            if peer is None:
                return messages.reply(query, answer, messages.MAX_TCP, stream=True)
            return messages.reply(query, answer, _limit(query.edns, peer[0]))
        except messages.Unanswerable as unanswerable:
            return unanswerable.reply
        except Exception:
            if not self._failed:  # once: who sends one such query may send a million
                self._failed = True
                _log.exception("a DNS query could not be answered: %s", packet.hex())
            return messages.bare_reply(packet, Rcode.SERVFAIL)


def _limit(edns: messages.Edns | None, peer: str) -> int:
    """Return how many bytes a reply by UDP may have."""
    if edns is None or edns.payload <= messages.PLAIN_UDP:
        return messages.PLAIN_UDP
    if edns.payload <= messages.MAX_QUERY:
        return edns.payload
    address = ip_address(peer.removeprefix(_MAPPED).partition("%")[0])
    # The sender's address may be forged: nobody out there is to be flooded from here.
    most = MAX_LOCAL_UDP if address.is_private else messages.MAX_QUERY
    return min(edns.payload, most)
