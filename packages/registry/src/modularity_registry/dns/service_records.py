"""What the DNS can say of one service: where it is, and its text."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from dns.name import Name
from dns.rdata import Rdata

from modularity_registry.catalog.entry import Entry
from modularity_registry.dns import messages
from modularity_registry.model.location import Address, InvalidLocation
from modularity_registry.model.service import CHECKED_MODES, Registration


@dataclass(frozen=True, slots=True)
class Card:
    """A service for the zone. All but ``text`` is empty if it has no host and port.

    ``target`` is the host's name: of a service at an address, a name of its port and
    the address' own label.
    """

    text: Rdata
    target: Name | None = None
    port: int = 0
    weight: int = 0
    address: Address | None = None


def card(entry: Entry, domain: tuple[bytes, ...]) -> Card:
    """Return what a zone under ``domain`` says of a service."""
    said = entry.service.registration
    text = messages.text(
        (f"id={said.id}", f"version={said.version}", f"location={said.location}")
    )
    if said.mode not in CHECKED_MODES:
        return Card(text)
    try:
        return _placed(said, text, domain)
    except InvalidLocation:
        # Stored by another version, which took what this one would not.
        return Card(text)


def _placed(said: Registration, text: Rdata, domain: tuple[bytes, ...]) -> Card:
    found = said.parsed_location
    if found.address is None:
        target = messages.name_of(found.host)
    else:
        # Of several targets alike, HAProxy gives their address to one server or two.
        port = str(found.port).encode()
        target = messages.name(port, address_label(found.address), b"addr", *domain)
    return Card(text, target, found.port, said.weight, found.address)


def address_label(address: Address) -> bytes:
    """Return an address as a label: ``10-0-0-5``, or eight groups ``fd00-0-...-5``."""
    if isinstance(address, IPv4Address):
        return str(address).replace(".", "-").encode()
    groups = address.exploded.split(":")
    return "-".join(f"{int(group, 16):x}" for group in groups).encode()


def label_address(label: bytes) -> Address | None:
    """Return the address whose label this is, if it is one's."""
    parts = label.decode("latin-1").split("-")
    try:
        if len(parts) == 4:
            return IPv4Address(".".join(parts))
        if len(parts) == 8:
            return IPv6Address(":".join(parts))
    except ValueError:
        pass
    return None
