"""Who really calls, where proxies that are trusted say so.

Of the proxies' headers, the rightmost address that is not itself a trusted proxy's is
the caller's: all to the left of it may have been sent by the caller. ``Forwarded`` is
RFC 7239's, section 4; ``X-Forwarded-For`` has addresses with commas between them.
"""

import ipaddress
import re
from functools import lru_cache
from typing import Any, NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOCAL = "modularity.local"
"""Where `Proxies` leaves whether the caller is on this machine, if a proxy said so."""

CONNECTED = "modularity.connected"
"""Where it leaves the address that REMOTE_ADDR had: the proxy's own."""

UNKNOWN = "unknown"
"""The address of a caller of whom a trusted proxy says nothing that can be read."""

FORWARDED = "forwarded"
_WSGI = {FORWARDED: "HTTP_FORWARDED", "x-forwarded-for": "HTTP_X_FORWARDED_FOR"}
# Of these, one in addition means one more who may know better.
_OTHERS = ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_VIA")

# Any word of a header, no secret.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # nosec B105
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PAIR = re.compile(rf"[ \t]*({_TOKEN})=({_TOKEN}|{_QUOTED})[ \t]*(;|,|$)")
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?")

# An IPv6 address with an IPv4 one in it.
_LONGEST = 45
# Longer headers are parsed each time: callers choose what is in them.
_REMEMBERED = 256


class Named(NamedTuple):
    """One of those whom a header names; ``address`` None where that can't be read."""

    address: Address | None
    scheme: str | None = None


class Proxies:
    """Those proxies that are believed, and the header that they write.

    ``trusted`` are networks with commas between them, ``header`` is "forwarded" or
    "x-forwarded-for". Whoever else sends it is not believed.
    """

    def __init__(self, trusted: str, header: str) -> None:
        self._networks = [
            ipaddress.ip_network(network.strip()) for network in trusted.split(",")
        ]
        self._header = _WSGI[header]
        self._read = forwarded if header == FORWARDED else x_forwarded_for
        self.trusts = lru_cache(maxsize=4096)(self._trusts)
        """Say whether a peer's address is a trusted proxy's."""
        self._known = lru_cache(maxsize=4096)(self._caller)

    def _trusts(self, peer: str) -> bool:
        address = _address(peer)
        return address is not None and self._is_proxy(address)

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _caller(self, value: str) -> tuple[Named, bool]:
        # The nearest who is no proxy; where all are, the farthest. One who can't be
        # read is no proxy, and stays unknown.
        local, caller = True, Named(None)
        for caller in reversed(self._read(value)):
            local = local and caller.address is not None and caller.address.is_loopback
            if caller.address is None or not self._is_proxy(caller.address):
                break
        return caller, local

    def believe(self, environ: dict[str, Any]) -> None:
        """Put the caller's address and scheme where its peer's are, if that is trusted.

        `LOCAL` says whether all on the way are on this machine.
        """
        value, peer = environ.get(self._header), environ["REMOTE_ADDR"]
        if value is None or not self.trusts(peer):
            return
        read = self._known if len(value) <= _REMEMBERED else self._caller
        caller, local = read(value)
        environ[CONNECTED] = peer
        environ["REMOTE_ADDR"] = str(caller.address or UNKNOWN)
        if caller.scheme is not None:
            environ["wsgi.url_scheme"] = caller.scheme
        # The proxy's loopback is this machine's only if the proxy is on it. And where
        # there is an X-Forwarded-For, nobody is: many proxies pass on, or add to, what
        # the caller sent as that.
        environ[LOCAL] = (
            local and is_loopback(peer) and not any(name in environ for name in _OTHERS)
        )


def forwarded(value: str) -> list[Named]:
    """Return those whom a ``Forwarded`` names, in its order.

    One who is hidden, unknown, or named by half has no address. Of a header that is
    not as the RFC has it only the last one counts, who is the nearest proxy's: what
    comes before is one who can't be read.
    """
    hops = _elements(value)
    if hops is None:
        last = _elements(value.rpartition(",")[2])
        hops = [Named(None), *(last or [Named(None)])]
    return hops


def _elements(value: str) -> list[Named] | None:
    hops: list[Named] = []
    pairs: dict[str, str] = {}
    position, ended = 0, ","
    while ended:
        match = _PAIR.match(value, position)
        if match is None or match[1].lower() in pairs:
            return None
        pairs[match[1].lower()] = _unquoted(match[2])
        position, ended = match.end(), match[3]
        if ended != ";":
            hops.append(_of_pairs(pairs))
            pairs = {}
    return hops


def _of_pairs(pairs: dict[str, str]) -> Named:
    scheme = pairs.get("proto", "").lower()
    return Named(
        _node(pairs.get("for", "")), scheme if scheme in ("http", "https") else None
    )


def x_forwarded_for(value: str) -> list[Named]:
    """Return those whom an ``X-Forwarded-For`` names, in its order."""
    parts = [part.strip(" \t") for part in value.split(",")]
    return [Named(_node(part) or _address(part)) for part in parts]


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def _node(text: str) -> Address | None:
    """Read RFC 7239's node: an address, in brackets if it is IPv6, maybe with a port.

    None for a hidden one (``_mine``), for ``unknown``, and for anything else.
    """
    match = _NODE.fullmatch(text)
    if match is None:
        return None
    address = _address(match[1] or match[2])
    if match[1] and address is not None and ":" not in match[1]:
        return None
    return address


def _address(text: str) -> Address | None:
    if len(text) > _LONGEST or "%" in text:
        return None  # a zone is the sender's own affair
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=1024)
def is_loopback(text: str) -> bool:
    """Say whether this is an address of this machine's own loopback."""
    address = _address(text)
    return address is not None and address.is_loopback
