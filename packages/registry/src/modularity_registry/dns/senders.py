"""What a sender of UDP may be sent: its address may be another's, who gets the answer.

Until a sender has shown by TCP that it is where it says, an answer has at most three
times the bytes of its question, as QUIC has it (RFC 9000, section 8). Over its rate, it
gets its question back, marked as cut, so that it asks by TCP: response rate limiting
with a slip of 1, as in Knot. No answer is dropped: that would give forgers more time.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from modularity_registry.config import OFF
from modularity_registry.model.rights import network_of
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.ratelimit import Rate, open_counters
from modularity_registry.ratelimit.counters import IN_MEMORY

AMPLIFICATION: Final = 3
"""An answer to a new sender has at most so many times the bytes of its question."""

PROVEN_SECONDS: Final = 3600.0
"""For so long after its last question by TCP, a sender is no new one."""

MOST_PROVEN: Final = 16_384
"""How many are remembered; of more, the one who asked by TCP longest ago is not."""

_MAPPED: Final = "::ffff:"


class Senders:
    """Those who ask. An IPv6 address stands for its /64. For one event loop.

    ``trusted`` are networks, such as "loopback", or "off" for none; nobody there is
    bound by anything here. ``rate`` is that of one sender, or "off".
    """

    def __init__(self, trusted: str, rate: str, clock: Callable[[], float]) -> None:
        self._networks = () if trusted == OFF else AddressPolicy.parse(trusted).networks
        self._rate = None
        if rate != OFF:
            counters = open_counters(IN_MEMORY, clock)
            self._rate = Rate(rate, "DNS queries", counters)
        self._clock = clock
        self._proven: OrderedDict[str, float] = OrderedDict()
        self.trusts = lru_cache(4096)(self._trusts)
        """Say whether a peer is in a trusted network."""
        self._network_of = lru_cache(4096)(network_of)

    def prove(self, peer: str) -> None:
        """Note that ``peer`` has asked by TCP."""
        network = self._network_of(peer)
        self._proven[network] = self._clock() + PROVEN_SECONDS
        self._proven.move_to_end(network)
        if len(self._proven) > MOST_PROVEN:
            self._proven.popitem(last=False)

    def is_new(self, peer: str) -> bool:
        """Say whether ``peer`` has not asked by TCP within the last hour."""
        return self._proven.get(self._network_of(peer), 0.0) <= self._clock()

    def is_over(self, peer: str) -> bool:
        """Count a question of ``peer``, and say whether it is over the rate."""
        rate = self._rate
        return rate is not None and not rate.takes(self._network_of(peer))

    def _trusts(self, peer: str) -> bool:
        address = ip_address(peer.removeprefix(_MAPPED).partition("%")[0])
        return any(address in network for network in self._networks)
