"""Where the registry may connect to: the address policy.

The policy judges addresses, never names: a name is only as good as all of its
addresses, so it is resolved at registration and again at every connection.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Final, NamedTuple

from modularity_registry.errors import AddressRefused
from modularity_registry.model.location import Address, Location
from modularity_registry.network.name_lookup import Lookup, addresses_of

SETTING: Final = "REGISTRY_ALLOWED_NETWORKS"

Network = IPv4Network | IPv6Network

_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
}
_LINK_LOCAL = "link-local (cloud metadata lives there)"
_METADATA = "a cloud's metadata address"
_EMBEDS = "an IPv6 form of an IPv4 address (write the IPv4 address itself)"
# First match wins. The IPv6 rows end with "all that isn't global or unique local
# unicast" (RFC 4291, section 2.4), so what nobody has assigned yet stays refused.
_NEVER: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ipaddress.ip_network(network), rule)
    for network, rule in (
        ("0.0.0.0/32", "the unspecified address"),
        ("0.0.0.0/8", "reserved (RFC 1122)"),
        ("169.254.0.0/16", _LINK_LOCAL),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", "reserved (RFC 1112)"),
        ("100.100.100.200/32", _METADATA),  # Alibaba
        ("168.63.129.16/32", _METADATA),  # Azure
        ("192.0.0.192/32", _METADATA),  # Oracle
        ("::/128", "the unspecified address"),
        ("::ffff:0:0/96", _EMBEDS),  # mapped, RFC 4291
        ("::ffff:0:0:0/96", _EMBEDS),  # translated, RFC 2765
        ("64:ff9b::/96", _EMBEDS),  # NAT64, RFC 6052
        ("64:ff9b:1::/48", _EMBEDS),  # NAT64, RFC 8215
        ("2002::/16", _EMBEDS),  # 6to4, RFC 3056
        ("2001::/32", _EMBEDS),  # Teredo, RFC 4380
        ("fd00:ec2::/32", _METADATA),  # Amazon
        ("fd20:ce::254/128", _METADATA),  # Google
        ("fd00:42::42/128", _METADATA),  # Scaleway
        ("fe80::/10", _LINK_LOCAL),
        ("ff00::/8", "multicast"),
        ("::/96", _EMBEDS),  # compatible, RFC 4291; ::1 is taken out in _never
        ("::/3", "reserved (RFC 4291)"),
        ("4000::/2", "reserved (RFC 4291)"),
        ("8000::/2", "reserved (RFC 4291)"),
        ("c000::/3", "reserved (RFC 4291)"),
        ("e000::/4", "reserved (RFC 4291)"),
        ("f000::/5", "reserved (RFC 4291)"),
        ("f800::/6", "reserved (RFC 4291)"),
        ("fe00::/8", "reserved (RFC 4291)"),
    )
)
# Mask, base and text. Four times as fast as ``in`` on ipaddress's networks.
_Ranges = tuple[tuple[int, int, str], ...]


def _ranges(networks: Iterable[tuple[Network, str]]) -> dict[int, _Ranges]:
    """Return the ranges of each IP version, in the order given."""
    rows = [
        (network.version, (int(network.netmask), int(network.network_address), text))
        for network, text in networks
    ]
    return {
        family: tuple(row for version, row in rows if version == family)
        for family in (4, 6)
    }


_NEVER_BY_VERSION: Final = _ranges(_NEVER)
_LOOPBACK_V6: Final = IPv6Address("::1")
# RFC 5214, section 6.1: the interface identifiers that carry an IPv4 address.
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


def _never(address: Address) -> str | None:
    """Return what the address is, if no setting can allow it."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "an address with a zone id"
        if address == _LOOPBACK_V6:
            return None
        if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
            return _EMBEDS
    return _first(_NEVER_BY_VERSION[address.version], address)


def _first(ranges: _Ranges, address: Address) -> str | None:
    """Return what the first range says that holds ``address``."""
    value = int(address)
    for mask, base, text in ranges:
        if value & mask == base:
            return text
    return None


class _Verdict(NamedTuple):
    refusal: str | None
    loopback: bool = False


class AddressPolicy:
    """Which addresses the registry connects to. Immutable, for any thread.

    ``networks`` are the allowed ones; what `_NEVER` lists is refused all the same.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = tuple(networks)
        self._allowed = _ranges((network, str(network)) for network in networks)
        self._verdict = lru_cache(maxsize=8192)(self._judge)

    @classmethod
    def parse(cls, setting: str, name: str = SETTING) -> "AddressPolicy":
        """Read ``loopback``, ``private``, networks and addresses, comma-separated.

        Raises ValueError with one line that says what to write in the setting ``name``.
        """
        networks: list[Network] = []
        for item in setting.split(","):
            word = item.strip()
            if word in _WORDS:
                networks.extend(map(ipaddress.ip_network, _WORDS[word]))
            else:
                networks.append(_parse_network(word, name))
        return cls(networks)

    def __repr__(self) -> str:
        return f"AddressPolicy({', '.join(map(str, self.networks))})"

    def check_location(
        self, location: Location, *, caller_is_local: bool, lookup: Lookup
    ) -> None:
        """Return if a service may be registered at ``location``.

        Every address of its host must pass. A loopback address is taken only from a
        caller that is on loopback itself, or anyone could aim the registry at its own
        machine. Blocks as long as ``lookup`` does; a literal is never looked up.

        Raises `AddressRefused`, or `NameNotResolved` when there is no address.
        """
        addresses: Sequence[str | Address]
        if location.address is not None:
            addresses = (location.address,)
        else:
            addresses = addresses_of(location, lookup)
        self.check_addresses(addresses, caller_is_local=caller_is_local)

    def check_addresses(
        self, addresses: Iterable[str | Address], *, caller_is_local: bool
    ) -> None:
        """Do the same for a location with these ``addresses``, which never blocks.

        A text that is no address is refused as well.
        """
        for address in addresses:
            verdict = self._verdict(address)
            if verdict.refusal is not None:
                raise AddressRefused(verdict.refusal)
            if verdict.loopback and not caller_is_local:
                raise AddressRefused(
                    f"{address} is the registry's own machine, which only callers on"
                    " that machine may register: use an address that others can reach"
                )

    def _judge(self, ip: str | Address) -> _Verdict:
        try:
            address = ipaddress.ip_address(ip) if isinstance(ip, str) else ip
        except ValueError:
            return _Verdict(f"{ip!r} is not an IP address")
        if (rule := _never(address)) is not None:
            return _Verdict(f"{address} is {rule}, which is never allowed")
        if _first(self._allowed[address.version], address) is not None:
            return _Verdict(None, address.is_loopback)
        return _Verdict(
            f"{address} is in none of the allowed networks: add it or its network to"
            f" {SETTING} if the registry should connect there"
        )


def _parse_network(word: str, name: str) -> Network:
    expected = "write loopback, private, an address or a network such as 10.0.0.0/8"
    if not word:
        raise ValueError(f"{name} has an empty entry: {expected}")
    address, slash, prefix = word.partition("/")
    try:
        base = ipaddress.ip_address(address)
        # Only a prefix length: 10.0.0.0/0.0.0.255 has two readings.
        if "%" in word or (slash and not (prefix.isascii() and prefix.isdigit())):
            raise ValueError(word)
        network = ipaddress.ip_network(word, strict=False)
    except ValueError:
        raise ValueError(f"{name}: {word!r} is not understood: {expected}") from None
    if slash and network.network_address != base:
        raise ValueError(
            f"{name}: {word} has bits set after its prefix: write {network} for the"
            f" network, or {base} for the one address"
        )
    for never, rule in _NEVER:
        if network.version == never.version and _inside(network, never):
            raise ValueError(f"{name}: {word} is {rule}, which is never allowed")
    return network


def _inside(network: Network, never: Network) -> bool:
    if network.network_address == _LOOPBACK_V6:
        return False
    # One family each, which the type checker can't see.
    return network.subnet_of(never)  # type: ignore[arg-type]
