"""DNS messages by dnspython: queries read strictly, replies put together.

A query's name keeps the case of its letters, and the reply repeats it, because
resolvers hide randomness there.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import dns.exception
import dns.message
import dns.name
import dns.opcode
import dns.rdatatype
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.HINFO
import dns.rdtypes.ANY.NS
import dns.rdtypes.ANY.SOA
import dns.rdtypes.ANY.TXT
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.rdtypes.IN.SRV
import dns.renderer
from dns.flags import AA, CD, DO, QR, RD, TC
from dns.name import Name
from dns.rcode import Rcode
from dns.rdata import Rdata
from dns.rdataclass import IN
from dns.rdataset import from_rdata
from dns.rdatatype import RdataType as Type

from modularity_registry.model.location import Address

__all__ = ["Rcode", "Type"]

MAX_QUERY: Final = 1232
"""Bytes of the longest query that is read, and what replies say of it.

The largest datagram that no usual network cuts into pieces (DNS flag day 2020).
"""

PLAIN_UDP: Final = 512
"""Bytes that a caller takes by UDP if it does not say more (RFC 1035, 4.2.1)."""

MAX_TCP: Final = 65_535
CLASS_IN: Final = IN

# dnspython's classes of records and its renderer have untyped constructors.
_Renderer: Final[Any] = dns.renderer.Renderer
_A: Final[Callable[..., Rdata]] = dns.rdtypes.IN.A.A
_Aaaa: Final[Callable[..., Rdata]] = dns.rdtypes.IN.AAAA.AAAA
_Srv: Final[Callable[..., Rdata]] = dns.rdtypes.IN.SRV.SRV
_Txt: Final[Callable[..., Rdata]] = dns.rdtypes.ANY.TXT.TXT
_Hinfo: Final[Callable[..., Rdata]] = dns.rdtypes.ANY.HINFO.HINFO
_Cname: Final[Callable[..., Rdata]] = dns.rdtypes.ANY.CNAME.CNAME
_Ns: Final[Callable[..., Rdata]] = dns.rdtypes.ANY.NS.NS
_Soa: Final[Callable[..., Rdata]] = dns.rdtypes.ANY.SOA.SOA

_OPTION: Final = 11  # bytes of a reply's OPT record
_BADVERS: Final = 1 << 24  # as the upper part of the response code stands in OPT
_KEPT: Final = RD | CD  # come back as they were sent
_PREFIX: Final = struct.Struct("!HH")
_HEADER: Final = 12
_ANSWER, _AUTHORITY, _ADDITIONAL = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Edns:
    """What a query says of its sender: the bytes it takes by UDP, and more."""

    payload: int
    version: int
    wants_dnssec: bool


@dataclass(frozen=True, slots=True)
class Query:
    """One question. ``labels`` are in lower case, ``name`` is as it came."""

    id: int
    flags: int
    name: Name
    labels: tuple[bytes, ...]
    type: int
    family: int
    edns: Edns | None


class Record(NamedTuple):
    """A record; ``owner`` None is the name in the question. ``ttl`` is seconds."""

    owner: Name | None
    ttl: int
    data: Rdata


@dataclass(frozen=True, slots=True)
class Answer:
    """What a zone says: whole records, those that matter first.

    ``authority`` is sent only where there are no ``records``.
    """

    rcode: Rcode = Rcode.NOERROR
    records: Sequence[Record] = ()
    authority: Sequence[Record] = ()
    additional: Sequence[Record] = ()
    authoritative: bool = True


class Unanswerable(Exception):
    """Not a query that can be answered; ``reply`` is what to send, None for nothing."""

    def __init__(self, reply: bytes | None) -> None:
        super().__init__()
        self.reply = reply


def read(packet: bytes) -> Query:
    """Return the query in ``packet``; raises `Unanswerable`."""
    if len(packet) < _HEADER:
        raise Unanswerable(None)
    _, flags = _PREFIX.unpack_from(packet)
    if flags & QR:
        # Two servers that answer each other's answers would never end.
        raise Unanswerable(None)
    if dns.opcode.from_flags(flags) != dns.opcode.QUERY:
        raise Unanswerable(bare_reply(packet, Rcode.NOTIMP))
    try:
        if len(packet) > MAX_QUERY:
            raise dns.exception.FormError
        message = dns.message.from_wire(packet)
        [question] = message.question
        if message.answer or message.authority:
            raise dns.exception.FormError
    except (dns.exception.DNSException, ValueError):
        raise Unanswerable(bare_reply(packet, Rcode.FORMERR)) from None
    labels = tuple(label.lower() for label in question.name.labels[:-1])
    return Query(
        message.id,
        flags,
        question.name,
        labels,
        question.rdtype,
        question.rdclass,
        _edns(message),
    )


def _edns(message: dns.message.Message) -> Edns | None:
    if message.edns < 0:
        return None
    return Edns(message.payload, message.edns, bool(message.ednsflags & DO))


def name(*labels: bytes) -> Name:
    """Return an absolute name; labels must have 1 to 63 bytes."""
    return Name((*labels, b""))


def name_of(text: str) -> Name:
    """Return a host name that is written with dots."""
    return name(*text.encode("ascii").split(b"."))


def address(ip: Address) -> Rdata:
    """Return the data of an A or AAAA record."""
    if ip.version == 4:
        return _A(IN, Type.A, str(ip))
    return _Aaaa(IN, Type.AAAA, str(ip))


def srv(weight: int, port: int, target: Name) -> Rdata:
    """Return an SRV record's data (RFC 2782); all have the same priority, 1."""
    return _Srv(IN, Type.SRV, 1, weight, port, target)


def text(strings: Iterable[str]) -> Rdata:
    """Return a TXT record's data; strings over 255 bytes are left out, not cut."""
    encoded = [string.encode() for string in strings]
    fitting = [string for string in encoded if len(string) <= 255]
    return _Txt(IN, Type.TXT, fitting)


def hint(cpu: str) -> Rdata:
    """Return an HINFO record's data (RFC 8482, 4.2)."""
    return _Hinfo(IN, Type.HINFO, cpu, "")


def alias(target: Name) -> Rdata:
    """Return a CNAME record's data."""
    return _Cname(IN, Type.CNAME, target)


def server(target: Name) -> Rdata:
    """Return an NS record's data."""
    return _Ns(IN, Type.NS, target)


def soa(server: Name, mailbox: Name, serial: int, negative_ttl: int) -> Rdata:
    """Return an SOA record's data; nobody transfers this zone, so times are usual."""
    times = 60, 60, 86_400, negative_ttl
    return _Soa(IN, Type.SOA, server, mailbox, serial & 0xFFFFFFFF, *times)


def bare_reply(packet: bytes, rcode: Rcode) -> bytes:
    """Return a reply of a header alone to a message that has at least a header."""
    number, flags = _PREFIX.unpack_from(packet)
    operation = dns.opcode.to_flags(dns.opcode.from_flags(flags))
    renderer = _Renderer(number, QR | operation | flags & _KEPT | rcode, MAX_TCP)
    renderer.write_header()
    return bytes(renderer.get_wire())


def reply(query: Query, answer: Answer, limit: int, stream: bool = False) -> bytes:
    """Return the reply to ``query`` in at most ``limit`` bytes.

    What doesn't fit is left out, whole records only, and the reply says so, unless
    only additional ones are missing (RFC 2181, section 9) or it is by ``stream``: then
    there is no way to send more.
    """
    edns = query.edns
    room = limit - _OPTION if edns is not None else limit
    flags = QR | query.flags & _KEPT | answer.rcode
    if answer.authoritative:
        flags |= AA
    renderer = _Renderer(query.id, flags, room)
    renderer.add_question(
        query.name, Type.make(query.type), CLASS_IN.make(query.family)
    )
    if answer.records:
        whole = _add(renderer, _ANSWER, answer.records, query.name)
    else:
        whole = _add(renderer, _AUTHORITY, answer.authority, query.name)
    if whole:
        _add(renderer, _ADDITIONAL, answer.additional, query.name)
    elif answer.records and not stream:
        renderer.flags |= TC
    if edns is not None:
        renderer.max_size = limit
        renderer.add_edns(0, _option_flags(edns), MAX_QUERY)
    renderer.write_header()
    return bytes(renderer.get_wire())


def _add(
    renderer: Any,
    section: int,
    records: Sequence[Record],
    question: Name,
) -> bool:
    """Add the first records that fit; say whether these are all."""
    for owner, ttl, data in records:
        try:
            renderer.add_rdataset(section, owner or question, from_rdata(ttl, data))
        except dns.exception.TooBig:
            return False
    return True


def _option_flags(edns: Edns) -> int:
    """Return the flags of the reply's OPT record: only who sent one gets one."""
    return (DO if edns.wants_dnssec else 0) | (_BADVERS if edns.version else 0)
