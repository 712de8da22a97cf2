"""The data of one service's records in the zone: where it is, and its text."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from modularity_registry.catalog.entry import Entry
from modularity_registry.dns import records
from modularity_registry.dns.records import Data, Name
from modularity_registry.model.location import Address, InvalidLocation
from modularity_registry.model.service import CHECKED_MODES, Registration

BEST_PRIORITY = 1
"""That of SRV records of services with the priority 0."""


@dataclass(frozen=True, slots=True)
class ServiceRecords:
    """A service's record data. All but ``text`` is empty without a host and port.

    ``target`` is the host's name; for a service at an address, a name made of its port
    and the address.
    """

    text: Data
    target: Name | None = None
    port: int = 0
    priority: int = 0
    weight: int = 0
    address: Address | None = None


def service_records(entry: Entry, domain: tuple[bytes, ...]) -> ServiceRecords:
    """Return the record data of a service in the zone ``domain``."""
    said = entry.service.registration
    text = records.text(
        (f"id={said.id}", f"version={said.version}", f"location={said.location}")
    )
    if said.mode not in CHECKED_MODES:
        return ServiceRecords(text)
    try:
        return _placed(said, text, domain)
    except InvalidLocation:
        # Stored by another version, which accepted what this one refuses.
        return ServiceRecords(text)


def _placed(
    registration: Registration, text: Data, domain: tuple[bytes, ...]
) -> ServiceRecords:
    location = registration.parsed_location
    if location.address is None:
        target = records.name_of(location.host)
    else:
        # Of several targets alike, HAProxy gives their address to one server or two.
        port = str(location.port).encode()
        target = records.name(port, address_label(location.address), b"addr", *domain)
    return ServiceRecords(
        text,
        target,
        location.port,
        # Those that say none have had 1 in the DNS from the beginning.
        min(registration.priority + BEST_PRIORITY, 65_535),
        registration.weight,
        location.address,
    )


def address_label(address: Address) -> bytes:
    """Return an address as a label: ``10-0-0-5``, or eight groups ``fd00-0-...-5``."""
    if isinstance(address, IPv4Address):
        return str(address).replace(".", "-").encode()
    groups = address.exploded.split(":")
    return "-".join(f"{int(group, 16):x}" for group in groups).encode()


def label_address(label: bytes) -> Address | None:
    """Return the address that this label stands for; None if for none."""
    parts = label.decode("latin-1").split("-")
    try:
        if len(parts) == 4:
            return IPv4Address(".".join(parts))
        if len(parts) == 8:
            return IPv6Address(":".join(parts))
    except ValueError:
        pass
    return None
