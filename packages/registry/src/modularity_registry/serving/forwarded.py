"""Who really calls, where proxies that are trusted say so.

Of the proxies' headers, the rightmost address that is not itself a trusted proxy's is
the caller's: all to the left of it may have been sent by the caller. ``Forwarded`` is
RFC 7239's, section 4; ``X-Forwarded-For`` has addresses with commas between them.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

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

    address: "Address | None"
    scheme: str | None = None


class Caller(NamedTuple):
    """Who calls: ``address`` as text, and whether all on the way are on one machine."""

    address: str
    scheme: str | None
    local: bool


class Proxies:
    """WSGI around WSGI: puts the caller's address and scheme where a peer's are.

    ``trusted`` are networks with commas between them, ``header`` the one that they
    write, "forwarded" or "x-forwarded-for". Whoever else sends it is not believed.
    """

    def __init__(
        self, application: "WSGIApplication", trusted: str, header: str
    ) -> None:
        self._application = application
        networks = [
            ipaddress.ip_network(network.strip()) for network in trusted.split(",")
        ]
        self._header = _WSGI[header]
        read = forwarded if header == FORWARDED else x_forwarded_for

        @lru_cache(maxsize=4096)
        def trusts(peer: str) -> bool:
            address = _address(peer)
            return address is not None and _is_in(address, networks)

        def caller(value: str) -> Caller:
            return judge(read(value), lambda address: _is_in(address, networks))

        self._trusts = trusts
        self._caller: Callable[[str], Caller] = caller
        self._known: Callable[[str], Caller] = lru_cache(maxsize=4096)(caller)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        value = environ.get(self._header)
        if value is not None:
            peer = environ.get("REMOTE_ADDR", "")
            if self._trusts(peer):
                read = self._known if len(value) <= _REMEMBERED else self._caller
                self._believe(environ, peer, read(value))
        return self._application(environ, start_response)

    def _believe(self, environ: dict[str, Any], peer: str, caller: Caller) -> None:
        environ[CONNECTED] = peer
        environ["REMOTE_ADDR"] = caller.address
        if caller.scheme is not None:
            environ["wsgi.url_scheme"] = caller.scheme
        # The proxy's loopback is this machine's only if the proxy is on it. And where
        # there is an X-Forwarded-For, nobody is: a caller's X_Forwarded_For, which many
        # proxies pass on, arrives in its place, and nobody can tell.
        environ[LOCAL] = (
            caller.local
            and is_loopback(peer)
            and not any(name in environ for name in _OTHERS)
        )


def judge(named: list[Named], trusts: "Callable[[Address], bool]") -> Caller:
    """Return who calls, of those named from the farthest to the nearest.

    The nearest who is not trusted; where all are, the farthest. One who can't be read
    is not trusted, and stays unknown.
    """
    local = bool(named)
    chosen = Named(None)
    for chosen in reversed(named):
        local = local and chosen.address is not None and _loopback(chosen.address)
        if chosen.address is None or not trusts(chosen.address):
            break
    address = UNKNOWN if chosen.address is None else str(chosen.address)
    return Caller(address, chosen.scheme, local)


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


def _node(text: str) -> "Address | None":
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


def _address(text: str) -> "Address | None":
    if len(text) > _LONGEST or "%" in text:
        return None  # a zone is the sender's own affair
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_in(
    address: "Address",
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
) -> bool:
    return any(address in network for network in networks)


def _loopback(address: "Address") -> bool:
    return address.is_loopback


@lru_cache(maxsize=1024)
def is_loopback(text: str) -> bool:
    """Say whether this is an address of this machine's own loopback."""
    address = _address(text)
    return address is not None and _loopback(address)
