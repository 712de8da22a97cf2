"""Locations of services, and the settings of the address policy.

An accepted location says the same when it is written out again, and Python's own URL
parser finds the same host and port in it. A host that is taken for a name is no address
to the C library, in any of its notations. Whatever the policy allows is none of what it
never allows, by Python's own tables.
"""

import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from modularity_registry.errors import AddressRefused
from modularity_registry.model.location import (
    Address,
    InvalidLocation,
    Location,
    parse_location,
)
from modularity_registry.network.address_policy import AddressPolicy

MODES = ("http", "tcp", "grpc")
ALL = AddressPolicy.parse("0.0.0.0/0,::/0")


def check(data: bytes) -> None:
    """Raise if the text in ``data`` leads where it must not."""
    text = data.decode("utf-8", "surrogateescape")
    for mode in MODES:
        with suppress(InvalidLocation):
            check_location(parse_location(text, mode), text)
    check_allowed(ALL, text)
    try:
        policy = AddressPolicy.parse(text)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1 or "\n" in text
        return
    written = ",".join(map(str, policy.networks))
    assert AddressPolicy.parse(written).networks == policy.networks
    for network in policy.networks:
        for address in (network[0], network[-1]):
            check_allowed(policy, address)


def check_location(location: Location, text: str) -> None:
    """Raise unless ``location`` is all that can be read in ``text``."""
    url = f"{location.scheme}://{location.authority}{location.path}"
    assert parse_location(url, location.mode) == location
    split = urlsplit(text)
    assert (split.scheme, split.username) == (location.scheme, None)
    assert split.port in (location.port, None)
    assert split.path.rstrip("/") == location.path
    assert split.hostname is not None
    if isinstance(location.address, IPv6Address):
        assert IPv6Address(split.hostname) == location.address
    else:
        assert split.hostname == location.host
    try:
        found = socket.getaddrinfo(
            location.host, location.port, flags=socket.AI_NUMERICHOST
        )
    except OSError:
        assert location.address is None
    else:
        assert {ip_address(each[4][0]) for each in found} == {location.address}
    if location.address is not None:
        check_allowed(ALL, location.address)


def check_allowed(policy: AddressPolicy, address: str | Address) -> None:
    """Raise if the policy allows an address that is never to be connected to."""
    try:
        policy.check_addresses([address], caller_is_local=True)
    except AddressRefused:
        return
    parsed = ip_address(address)
    assert not forbidden(parsed), address
    local = parsed.is_loopback
    with suppress(AddressRefused):
        policy.check_addresses([address], caller_is_local=False)
        assert not local


def forbidden(address: Address) -> bool:
    """Say whether Python's tables have it as what nobody may register."""
    if address.is_multicast or address.is_link_local or address.is_unspecified:
        return True
    if isinstance(address, IPv4Address):
        return address.is_reserved
    if address.is_loopback:
        return False
    embedded = address.ipv4_mapped or address.sixtofour or address.teredo
    return bool(embedded or address.is_reserved or address.is_site_local)
