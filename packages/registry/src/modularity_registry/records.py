"""How services are laid out in a store: one document a service, under its id."""

import msgspec

from modularity_registry import wire
from modularity_registry.errors import StoreCorrupt
from modularity_registry.model import Service

PREFIX = "services/"

_decode = msgspec.json.Decoder(Service).decode


def key_of(service_id: str) -> str:
    """Return the key under which the service is stored."""
    return PREFIX + service_id


def id_of(key: str) -> str | None:
    """Return the id of the service stored under ``key``; None for other records."""
    return key[len(PREFIX) :] if key.startswith(PREFIX) else None


def encode(service: Service) -> bytes:
    """Return the document to store."""
    return wire.encode(service)


def decode(key: str, value: bytes) -> Service:
    """Return the service in a stored document; raise `StoreCorrupt` if it isn't one."""
    try:
        service = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"{key} does not hold a service: {error}") from None
    if service.registration.id != id_of(key):
        found = service.registration.id
        raise StoreCorrupt(f"{key} holds another service: {found!r}")
    return service
