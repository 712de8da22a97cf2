"""DNS messages: queries read strictly by dnspython, replies put together of bytes.

A query's name keeps the case of its letters, and the reply repeats it, because
resolvers hide randomness there.
"""

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import dns.exception
import dns.message
import dns.opcode
from dns.flags import AA, CD, DO, QR, RD, TC
from dns.rcode import Rcode
from dns.rdataclass import IN

from modularity_registry.dns.records import Data, Name, Type

__all__ = ["Rcode"]

MAX_QUERY: Final = 1232
"""Bytes of the longest query that is read, and what replies say of it.

The largest datagram that no usual network cuts into pieces (DNS flag day 2020).
"""

PLAIN_UDP: Final = 512
"""Bytes that a caller takes by UDP if it does not say more (RFC 1035, 4.2.1)."""

MAX_TCP: Final = 65_535
MOST: Final = 512
"""How many records an answer has at most; of more it has a random choice."""

SHORTEST: Final = 16
"""Bytes of the shortest record that an answer has many of: an address."""

CLASS_IN: Final = IN

_BADVERS: Final = 1 << 24  # as the upper part of the response code stands in OPT
_KEPT: Final = RD | CD  # come back as they were sent
_PREFIX: Final = struct.Struct("!HH")
_HEADER: Final = 12
# Of a reply: its flags and the numbers of its questions and records, behind the id.
_COUNTS: Final = struct.Struct("!5H")
_QUESTION: Final = struct.Struct("!HH")
_RECORD: Final = struct.Struct("!HHIH")
_OPTION: Final = struct.Struct("!BHHIH")
_POINTER: Final = struct.Struct("!H")
_POINTS: Final = 0xC000
_POINTS_BELOW: Final = 0x4000
_ASKED: Final = _POINTER.pack(_POINTS | _HEADER)
# Behind a record's head of twelve bytes. What the other types lead to gets no address.
_TARGET_AT: Final = {Type.NS: 12, Type.SRV: 18}


@dataclass(frozen=True, slots=True)
class Edns:
    """What a query says of its sender: the bytes it takes by UDP, and more."""

    payload: int
    version: int
    wants_dnssec: bool


@dataclass(frozen=True, slots=True)
class Query:
    """One question. ``labels`` are in lower case.

    ``question`` and ``option`` are what the reply repeats: the question as it came, and
    its OPT record, if any.
    """

    flags: int
    labels: tuple[bytes, ...]
    type: int
    family: int
    edns: Edns | None
    question: bytes
    option: bytes


class Record(NamedTuple):
    """A record of the name in the question; ``ttl`` is seconds.

    ``address`` is that of the name which ``data`` leads to. It is sent if it fits.
    """

    ttl: int
    data: Data
    address: Data | None = None


class Soa(NamedTuple):
    """The record that is sent where there are no others (RFC 2308)."""

    owner: Name
    ttl: int
    data: Data


@dataclass(frozen=True, slots=True)
class Answer:
    """What a zone says: ``most`` of the ``records``, in any order.

    ``chosen`` says that they are a choice already, so the next one has others.
    """

    rcode: Rcode = Rcode.NOERROR
    records: Sequence[Record] = ()
    soa: Soa | None = None
    most: int = MOST
    chosen: bool = False
    authoritative: bool = True


class Part(NamedTuple):
    """A record as it is sent.

    ``address`` is the record behind it, without its owner: that is the name which
    stands at ``target_at`` in ``record``.
    """

    record: bytes
    target_at: int
    address: bytes


@dataclass(frozen=True, slots=True)
class Rendered:
    """An `Answer` as bytes, of which any number of replies is made."""

    flags: int
    parts: tuple[Part, ...]
    shortest: int
    most: int
    chosen: bool
    authority: bytes


class Unanswerable(Exception):
    """Not a query that can be answered; ``rcode`` is what to say, None for nothing."""

    def __init__(self, rcode: Rcode | None) -> None:
        super().__init__()
        self.rcode = rcode


def read(packet: bytes) -> Query:
    """Return the query in ``packet``, whatever its id; raises `Unanswerable`."""
    if len(packet) < _HEADER:
        raise Unanswerable(None)
    _, flags = _PREFIX.unpack_from(packet)
    if flags & QR:
        # Two servers that answer each other's answers would never end.
        raise Unanswerable(None)
    if dns.opcode.from_flags(flags) != dns.opcode.QUERY:
        raise Unanswerable(Rcode.NOTIMP)
    try:
        if len(packet) > MAX_QUERY:
            raise dns.exception.FormError
        message = dns.message.from_wire(packet)
        [question] = message.question
        if message.answer or message.authority:
            raise dns.exception.FormError
    except (dns.exception.DNSException, ValueError):
        raise Unanswerable(Rcode.FORMERR) from None
    edns = _edns(message)
    kind, family = question.rdtype, question.rdclass
    name = question.name.to_wire()
    assert name is not None  # as it would be if it went to a file
    return Query(
        flags,
        tuple(label.lower() for label in question.name.labels[:-1]),
        kind,
        family,
        edns,
        name + _QUESTION.pack(kind, family),
        b"" if edns is None else _option(edns),
    )


def _edns(message: dns.message.Message) -> Edns | None:
    if message.edns < 0:
        return None
    return Edns(message.payload, message.edns, bool(message.ednsflags & DO))


def _option(edns: Edns) -> bytes:
    flags = (DO if edns.wants_dnssec else 0) | (_BADVERS if edns.version else 0)
    return _OPTION.pack(0, Type.OPT, MAX_QUERY, flags, 0)


def bare_reply(packet: bytes, rcode: Rcode) -> bytes:
    """Return a reply of a header alone to a message that has at least a header."""
    _, flags = _PREFIX.unpack_from(packet)
    operation = dns.opcode.to_flags(dns.opcode.from_flags(flags))
    flags = QR | operation | flags & _KEPT | rcode
    return packet[:2] + _COUNTS.pack(flags, 0, 0, 0, 0)


def cut_reply(number: bytes, query: Query) -> bytes:
    """Return a reply without records that says to ask by TCP; as long as the query."""
    counts = _COUNTS.pack(
        QR | query.flags & _KEPT | TC, 1, 0, 0, 1 if query.option else 0
    )
    return number + counts + query.question + query.option


def is_cut(reply: bytes) -> bool:
    """Say whether a reply is marked as cut."""
    return bool(reply[2] & TC >> 8)


def render(answer: Answer) -> Rendered:
    """Return ``answer`` as bytes."""
    parts = tuple(_part(record) for record in answer.records)
    soa = answer.soa
    return Rendered(
        answer.rcode | (AA if answer.authoritative else 0),
        parts,
        min((len(part.record) for part in parts), default=0),
        answer.most,
        answer.chosen,
        b"" if soa is None else soa.owner + _body(soa.ttl, soa.data),
    )


def _part(record: Record) -> Part:
    ttl, data, address = record
    behind = b"" if address is None else _body(ttl, address)
    target_at = _TARGET_AT.get(data.type, 0)
    return Part(_ASKED + _body(ttl, data), target_at, behind)


def _body(ttl: int, data: Data) -> bytes:
    """Return a record without its owner."""
    return _RECORD.pack(data.type, IN, ttl, len(data.wire)) + data.wire


def reply(
    number: bytes, query: Query, answer: Rendered, limit: int, stream: bool = False
) -> bytes:
    """Return the reply to ``query`` in at most ``limit`` bytes; ``number`` is its id.

    Records come in another order each time. What doesn't fit is left out, whole records
    only, and the reply says so, unless only addresses are missing (RFC 2181, section 9)
    or it is by ``stream``: then there is no way to send more.
    """
    size = _HEADER + len(query.question)
    room = limit - len(query.option)
    flags = QR | query.flags & _KEPT | answer.flags
    records, addresses = [], []
    behind: list[tuple[int, bytes]] = []
    parts = _choose(answer, room - size)
    for record, target_at, address in parts:
        if size + len(record) > room:
            break
        if address:
            behind.append((size + target_at, address))
        records.append(record)
        size += len(record)
    if len(records) < len(parts) or (records and answer.chosen):
        flags |= 0 if stream else TC
    else:
        for target, address in behind:
            # A pointer has 14 bits: no farther does it reach (RFC 1035, 4.1.4).
            if target >= _POINTS_BELOW or size + 2 + len(address) > room:
                break
            addresses.append(_POINTER.pack(_POINTS | target))
            addresses.append(address)
            size += 2 + len(address)
    authority = answer.authority
    extra = len(addresses) // 2 + bool(query.option)
    counts = _COUNTS.pack(flags, 1, len(records), bool(authority), extra)
    return b"".join(
        (number, counts, query.question, *records, authority, *addresses, query.option)
    )


def _choose(answer: Rendered, room: int) -> Sequence[Part]:
    """Return as many parts as matter, by chance: one more than can fit, at most."""
    total = len(answer.parts)
    if total < 2:
        return answer.parts
    enough = min(total, answer.most, room // answer.shortest + 1)
    return random.sample(answer.parts, enough)
