"""Reads an upstream's list of providers into entries, as if they were registered here.

So filters and strategies work on them as on the registry's own.
"""

from datetime import datetime

import msgspec

from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import Capability
from modularity_registry.catalog.entry import Entry, Vitals
from modularity_registry.model.service import Registration, Service, Status
from modularity_registry.model.split import split_of


class _List(msgspec.Struct):
    services: list[msgspec.Raw]
    revision: int
    split: dict[str, int] | None = None


class _Shown(msgspec.Struct):
    """What a list shows of a service beyond its registration."""

    registered_at: datetime
    status: Status
    revision: int


_decode_list = msgspec.json.Decoder(_List).decode
_decode_shown = msgspec.json.Decoder(_Shown).decode
_decode_registration = msgspec.json.Decoder(Registration).decode


def read_list(name: str, body: bytes) -> tuple[Capability, int]:
    """Return who provides ``name`` by the body of a list, and the list's revision.

    A service that this version can't read, such as one of a newer mode, is left out.
    Raises `ValueError` for what is not a list.
    """
    try:
        listed = _decode_list(body)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    split = split_of(name, listed.split) if listed.split else None
    capability = Capability(name, split)
    for raw in listed.services:
        try:
            capability.put(_entry(bytes(raw)))
        except msgspec.DecodeError:
            continue
    return capability, listed.revision


def _entry(json: bytes) -> Entry:
    shown, registration = _decode_shown(json), _decode_registration(json)
    at = shown.registered_at
    return Entry(
        id=registration.id,
        revision=shown.revision,
        status=shown.status,
        mode=registration.mode,
        runtime="",
        ttl=registration.ttl,
        faulty=False,
        owner="",
        capabilities=registration.capabilities,
        registered_at=at,
        zone=registration.zone,
        region=registration.region,
        priority=registration.priority,
        vitals=Vitals(at, 0.0),
        document=documents.encode(Service(registration, at, at)),
        head=len(json),
        rendered=json,
    )
