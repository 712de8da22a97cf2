"""DNS messages (RFC 1035, RFC 6891): queries read strictly, replies put together.

Only what a server of one zone needs. A query's question is kept as it came and is
echoed byte for byte, because resolvers hide randomness in the case of its letters.
Records are packed without compression, so that one can be kept and put anywhere.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

MAX_QUERY: Final = 1232
"""Bytes of the longest query that is read, and what replies say of it.

The largest datagram that no usual network cuts into pieces (DNS flag day 2020).
"""

PLAIN_UDP: Final = 512
"""Bytes that a caller takes by UDP if it does not say more (RFC 1035, 4.2.1)."""

MAX_TCP: Final = 65_535
CLASS_IN: Final = 1

_HEADER: Final = struct.Struct("!6H")
_PAIR: Final = struct.Struct("!HH")
_RECORD: Final = struct.Struct("!HHIH")
_RESPONSE, _AUTHORITATIVE, _TRUNCATED = 0x8000, 0x0400, 0x0200
# The operation, recursion desired and checking disabled come back as they were sent.
_OPCODE, _KEPT = 0x7800, 0x7910
_DO, _VERSION, _BADVERS = 0x8000, 0x00FF0000, 1 << 24
_MAX_NAME, _MAX_LABEL = 255, 63


class Type(IntEnum):
    """The types of records and questions that are treated each in a way of its own."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    HINFO = 13
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    IXFR = 251
    AXFR = 252
    ANY = 255


class Rcode(IntEnum):
    """How it went, as the reply's header has it."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5


@dataclass(frozen=True, slots=True)
class Edns:
    """What a query says of its sender: the bytes it takes by UDP, and more."""

    payload: int
    version: int
    wants_dnssec: bool


@dataclass(frozen=True, slots=True)
class Query:
    """One question. ``labels`` are in lower case, ``question`` is as it came."""

    id: int
    flags: int
    question: bytes
    labels: tuple[bytes, ...]
    type: int
    family: int
    edns: Edns | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a zone says: whole records, those that matter first.

    ``authority`` is sent only where there are no ``records``.
    """

    rcode: Rcode = Rcode.NOERROR
    records: Sequence[bytes] = ()
    authority: Sequence[bytes] = ()
    additional: Sequence[bytes] = ()
    authoritative: bool = True


class Unanswerable(Exception):
    """Not a query that can be answered; ``reply`` is what to send, None for nothing."""

    def __init__(self, reply: bytes | None) -> None:
        super().__init__()
        self.reply = reply


# Reading


def read(packet: bytes) -> Query:
    """Return the query in ``packet``; raises `Unanswerable`."""
    if len(packet) < _HEADER.size:
        raise Unanswerable(None)
    number, flags, questions, answers, authorities, extra = _HEADER.unpack_from(packet)
    if flags & _RESPONSE:
        # Two servers that answer each other's answers would never end.
        raise Unanswerable(None)
    if flags & _OPCODE:
        raise Unanswerable(bare_reply(packet, Rcode.NOTIMP))
    if questions != 1 or answers or authorities or len(packet) > MAX_QUERY:
        raise Unanswerable(bare_reply(packet, Rcode.FORMERR))
    try:
        labels, at = _read_name(packet, _HEADER.size)
        kind, family = _PAIR.unpack_from(packet, at)
        at += _PAIR.size
        question = packet[_HEADER.size : at]
        edns = _read_edns(packet, at, extra)
    except (IndexError, ValueError, struct.error):
        raise Unanswerable(bare_reply(packet, Rcode.FORMERR)) from None
    return Query(number, flags, question, labels, kind, family, edns)


def _read_name(packet: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    """Return the labels of the name at ``at`` and where it ends.

    Raises ValueError or IndexError. Pointers are refused: a question is the first of
    all names, so it has nothing to point to.
    """
    labels = []
    start = at
    while length := packet[at]:
        if length > _MAX_LABEL or at + length + 2 - start > _MAX_NAME:
            raise ValueError("not a name")
        labels.append(packet[at + 1 : at + 1 + length].lower())
        at += 1 + length
    return tuple(labels), at + 1


def _read_edns(packet: bytes, at: int, count: int) -> Edns | None:
    found = None
    for _ in range(count):
        start, at = at, _skip_name(packet, at)
        kind, payload, ttl, length = _RECORD.unpack_from(packet, at)
        at += _RECORD.size + length
        if kind == Type.OPT:
            if packet[start] or found is not None:
                raise ValueError("one OPT record at most, and its name is the root")
            version = (ttl & _VERSION) >> 16
            found = Edns(payload, version, bool(ttl & _DO))
    if at != len(packet):
        raise ValueError("the message ends elsewhere")
    return found


def _skip_name(packet: bytes, at: int) -> int:
    while length := packet[at]:
        if length >= 0xC0:
            return at + 2
        if length > _MAX_LABEL:
            raise ValueError("not a label")
        at += 1 + length
    return at + 1


# Writing


def name(*labels: bytes) -> bytes:
    """Return a name as messages hold it; labels must have 1 to 63 bytes."""
    return b"".join(bytes([len(each)]) + each for each in labels) + b"\0"


def name_of(text: str) -> bytes:
    """Return a host name, written with dots, as messages hold it."""
    return name(*text.encode("ascii").split(b"."))


QUESTION_NAME: Final = b"\xc0\x0c"
"""The owner of most answers: a pointer to the name in the question."""


def record(owner: bytes, kind: Type, ttl: int, data: bytes) -> bytes:
    """Return a whole record; ``ttl`` is seconds."""
    return b"".join((owner, _RECORD.pack(kind, CLASS_IN, ttl, len(data)), data))


def srv(weight: int, port: int, target: bytes) -> bytes:
    """Return an SRV record's data (RFC 2782); all have the same priority, 1."""
    return struct.pack("!HHH", 1, weight, port) + target


def text(strings: Iterable[str]) -> bytes:
    """Return a TXT record's data; strings over 255 bytes are left out, not cut."""
    encoded = [each.encode() for each in strings]
    return b"".join(bytes([len(each)]) + each for each in encoded if len(each) <= 255)


def soa(server: bytes, mailbox: bytes, serial: int, negative_ttl: int) -> bytes:
    """Return an SOA record's data; nobody transfers this zone, so times are usual."""
    return (
        server
        + mailbox
        + struct.pack("!5I", serial & 0xFFFFFFFF, 60, 60, 86_400, negative_ttl)
    )


def bare_reply(packet: bytes, rcode: Rcode) -> bytes:
    """Return a reply of a header alone to a message that has at least a header."""
    number, flags = _PAIR.unpack_from(packet)
    return _HEADER.pack(number, _RESPONSE | flags & _KEPT | rcode, 0, 0, 0, 0)


def reply(query: Query, answer: Answer, limit: int, stream: bool = False) -> bytes:
    """Return the reply to ``query`` in at most ``limit`` bytes.

    What doesn't fit is left out, whole records only, and the reply says so, unless
    only additional ones are missing (RFC 2181, section 9) or it is by ``stream``: then
    there is no way to send more.
    """
    option = _option(query.edns)
    room = limit - _HEADER.size - len(query.question) - len(option)
    records, room = _fitting(answer.records, room)
    authority, room = _fitting(() if records else answer.authority, room)
    flags = _RESPONSE | query.flags & _KEPT | answer.rcode
    if answer.authoritative:
        flags |= _AUTHORITATIVE
    additional: Sequence[bytes] = ()
    if len(records) == len(answer.records):
        additional, room = _fitting(answer.additional, room)
    elif not stream:
        flags |= _TRUNCATED
    header = _HEADER.pack(
        query.id,
        flags,
        1,
        len(records),
        len(authority),
        len(additional) + (option != b""),
    )
    return b"".join((header, query.question, *records, *authority, *additional, option))


def _fitting(records: Sequence[bytes], room: int) -> tuple[Sequence[bytes], int]:
    """Return the first records that fit, and the room that is left."""
    for count, each in enumerate(records):
        if len(each) > room:
            return records[:count], room
        room -= len(each)
    return records, room


def _option(edns: Edns | None) -> bytes:
    """Return the reply's OPT record: only who sent one gets one."""
    if edns is None:
        return b""
    ttl = _DO if edns.wants_dnssec else 0
    if edns.version:
        ttl |= _BADVERS
    return b"\0" + _RECORD.pack(Type.OPT, MAX_QUERY, ttl, 0)
