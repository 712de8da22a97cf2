"""Answers DNS over UDP and TCP, on the registry's event loop."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from time import monotonic, perf_counter
from typing import Final

from modularity_registry import tasks
from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.feed import Feed
from modularity_registry.config import OFF
from modularity_registry.dns import messages
from modularity_registry.dns.answers import Answers
from modularity_registry.dns.messages import Rcode
from modularity_registry.dns.names import Names
from modularity_registry.dns.senders import AMPLIFICATION, Senders
from modularity_registry.dns.tcp import Limits, TcpConnections
from modularity_registry.dns.transport import Sockets, receive
from modularity_registry.dns.zone import Zone
from modularity_registry.telemetry.counters import Metrics

_log = logging.getLogger(__name__)

# Enough to see that one is too long.
_DATAGRAM: Final = messages.MAX_QUERY + 1
MAX_LOCAL_UDP: Final = 8192
"""Bytes that a caller in a private network may ask for by UDP; all others 1,232."""

_MAPPED: Final = "::ffff:"
_ANY_ID: Final = bytes(2)
_QUERIES: Final = 2048
"""How many different queries need not be read again. Most come a thousand times."""


class DnsServer:
    """The catalog as the zone ``domain``, on ``sockets``; ``ttl`` is seconds.

    ``namespaces`` are the catalogs and feeds of all namespaces but the default one. To
    be made before the feeds start, since it follows them, and started after that.
    """

    def __init__(
        self,
        catalog: Catalog,
        feed: Feed,
        sockets: Sockets,
        domain: str,
        ttl: int,
        limits: Limits | None = None,
        senders: Senders | None = None,
        metrics: Metrics | None = None,
        namespaces: Mapping[str, tuple[Catalog, Feed]] | None = None,
    ) -> None:
        self._zone = Zone(
            _names(catalog, feed),
            domain,
            ttl,
            sockets.addresses,
            {name: _names(*each) for name, each in (namespaces or {}).items()},
        )
        self._answers = Answers(self._zone)
        self._read = lru_cache(_QUERIES)(_read)
        self._domain = domain
        self._sockets = sockets
        self._senders = senders or Senders("loopback", OFF, monotonic)
        self._metrics = metrics or Metrics()
        self._tcp = TcpConnections(self._answer_tcp, limits or Limits())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failed = False

    async def start(self) -> None:
        """Answer from now on."""
        self._loop = asyncio.get_running_loop()
        # Not as a datagram endpoint: that has no place for the address that was asked.
        self._loop.add_reader(self._sockets.udp, self._drain)
        await self._tcp.start(self._sockets.tcp)
        _log.info("DNS answers for %s at port %d", self._domain, self._sockets.port)

    async def stop(self) -> None:
        """End all connections, and close the sockets. Idempotent."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.remove_reader(self._sockets.udp)
            await self._tcp.stop()
        self._sockets.close()

    def _drain(self) -> None:
        # Level-triggered: what is left after that time is read in the next turn.
        end = perf_counter() + tasks.SLICE
        while perf_counter() < end:
            try:
                packet, ancillary, peer = receive(self._sockets.udp, _DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # what became of an answer sent before, not this one
            reply = self._answer_udp(packet, peer[0])
            if reply is not None:
                # A reply that can't go out now is lost, as any datagram may be.
                with suppress(OSError):
                    self._sockets.udp.sendmsg([reply], ancillary, 0, peer)

    def _answer_tcp(self, packet: bytes, peer: str) -> bytes | None:
        self._senders.prove(peer)
        self._metrics.dns_replies["tcp"] += 1
        return self._answered(packet, self._whole)

    def _answer_udp(self, packet: bytes, peer: str) -> bytes | None:
        self._metrics.dns_replies["udp"] += 1
        return self._answered(packet, self._fitting, peer)

    def _whole(self, packet: bytes, query: messages.Query) -> bytes:
        limit = messages.MAX_TCP
        answer = self._answers.find(query, limit)
        return messages.reply(packet[:2], query, answer, limit, stream=True)

    def _fitting(self, packet: bytes, query: messages.Query, peer: str) -> bytes:
        """Return the reply by UDP: what the sender takes, and may be sent."""
        senders, limit, reason = self._senders, _limit(query.edns, peer), "size"
        if not senders.trusts(peer):
            if senders.is_over(peer):
                self._metrics.dns_truncated["rate"] += 1
                return messages.cut_reply(packet[:2], query)
            allowed = AMPLIFICATION * len(packet)
            if allowed < limit and senders.is_new(peer):
                limit, reason = allowed, "new_sender"
        answer = self._answers.find(query, limit)
        reply = messages.reply(packet[:2], query, answer, limit)
        if len(reply) > limit:  # no record is so long, but the zone's own may be
            reply = messages.cut_reply(packet[:2], query)
        if messages.is_cut(reply):
            self._metrics.dns_truncated[reason] += 1
        return reply

    def _answered(
        self, packet: bytes, answer: Callable[..., bytes], *peer: str
    ) -> bytes | None:
        """Return the reply that ``answer`` makes of a query, None for none."""
        try:
            return answer(packet, self._read(packet[2:]), *peer)
        except messages.Unanswerable as unanswerable:
            rcode = unanswerable.rcode
            return None if rcode is None else messages.bare_reply(packet, rcode)
        except Exception:
            if not self._failed:  # once: who sends one such query may send a million
                self._failed = True
                _log.exception("a DNS query could not be answered: %s", packet.hex())
            return messages.bare_reply(packet, Rcode.SERVFAIL)


def _names(catalog: Catalog, feed: Feed) -> Names:
    names = Names(catalog)
    feed.listen(names)
    return names


def _read(packet: bytes) -> messages.Query:
    """Return the query in a packet without its id; raises `Unanswerable`."""
    return messages.read(_ANY_ID + packet)


def _limit(edns: messages.Edns | None, peer: str) -> int:
    """Return how many bytes a reply by UDP may have."""
    if edns is None or edns.payload <= messages.PLAIN_UDP:
        return messages.PLAIN_UDP
    if edns.payload <= messages.MAX_QUERY:
        return edns.payload
    # The sender's address may be forged: nobody out there is to be flooded from here.
    most = MAX_LOCAL_UDP if _is_private(peer) else messages.MAX_QUERY
    return min(edns.payload, most)


@lru_cache(1024)
def _is_private(peer: str) -> bool:
    return ip_address(peer.removeprefix(_MAPPED).partition("%")[0]).is_private
