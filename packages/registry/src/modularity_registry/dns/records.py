"""Names and the data of records as they stand in messages (RFC 1035, 3.2 and 3.3)."""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from dns.rdatatype import RdataType as Type

from modularity_registry.model.location import Address

__all__ = ["Type"]

Name = bytes
"""A whole name, not compressed."""


class Data(NamedTuple):
    """What a record of this type says."""

    type: Type
    wire: bytes


def name(*labels: bytes) -> Name:
    """Return an absolute name; labels must have 1 to 63 bytes."""
    return b"".join(bytes((len(label),)) + label for label in (*labels, b""))


def name_of(text: str) -> Name:
    """Return a host name that is written with dots."""
    return name(*text.encode("ascii").split(b"."))


def address(ip: Address) -> Data:
    """Return the data of an A or AAAA record."""
    return Data(Type.A if ip.version == 4 else Type.AAAA, ip.packed)


def srv(priority: int, weight: int, port: int, target: Name) -> Data:
    """Return an SRV record's data (RFC 2782)."""
    return Data(Type.SRV, struct.pack("!HHH", priority, weight, port) + target)


def text(strings: Iterable[str]) -> Data:
    """Return a TXT record's data; strings over 255 bytes are left out, not cut."""
    encoded = (string.encode() for string in strings)
    return Data(Type.TXT, b"".join(_string(s) for s in encoded if len(s) <= 255))


def hint(cpu: str) -> Data:
    """Return an HINFO record's data (RFC 8482, 4.2)."""
    return Data(Type.HINFO, _string(cpu.encode()) + _string(b""))


def alias(target: Name) -> Data:
    """Return a CNAME record's data."""
    return Data(Type.CNAME, target)


def server(target: Name) -> Data:
    """Return an NS record's data."""
    return Data(Type.NS, target)


def soa(server: Name, mailbox: Name, serial: int, negative_ttl: int) -> Data:
    """Return an SOA record's data; nobody transfers this zone, so times are usual."""
    numbers = serial & 0xFFFFFFFF, 60, 60, 86_400, negative_ttl
    return Data(Type.SOA, server + mailbox + struct.pack("!5I", *numbers))


def _string(content: bytes) -> bytes:
    return bytes((len(content),)) + content
