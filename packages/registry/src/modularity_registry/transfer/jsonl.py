"""A catalog as JSON lines: a header, then one service's document a line, by id.

Documents are copied as the store holds them, so that every value survives exactly.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec

from modularity_registry import schema
from modularity_registry.catalog.documents import decode, id_of, key_of
from modularity_registry.clock import rfc3339
from modularity_registry.errors import InvalidRequest, RegistryError, StoreCorrupt
from modularity_registry.model.rights import OWNER_PATTERN
from modularity_registry.model.service import Drain, Fault, Service
from modularity_registry.schema.patterns import ID_PATTERN
from modularity_registry.stores.base import Snapshot

FORMAT: Final = "modularity-registry"
VERSION: Final = 1


class BadFile(RegistryError):
    """A file is not a complete export, or can't be read or written."""

    code = "bad_file"


class _NotAService(Exception):
    """A line has the form of a service, but is not one; says why."""


class _Header(msgspec.Struct, frozen=True):
    format: str
    version: int
    exported_at: str
    services: int
    revision: int


class _AnyHeader(msgspec.Struct, frozen=True):
    """As much of a header as an import needs."""

    format: str
    version: int
    services: int


class _Fault(Fault, frozen=True, gc=False, forbid_unknown_fields=True):
    pass


class _Drain(Drain, frozen=True, gc=False, forbid_unknown_fields=True):
    pass


class Outline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`Service` as a line holds it: an unknown field is refused, not lost."""

    registration: msgspec.Raw
    registered_at: datetime
    since: datetime
    faults: tuple[_Fault, ...] = ()
    drain: _Drain | None = None
    owner: Annotated[str, msgspec.Meta(pattern=OWNER_PATTERN)] = ""
    loopback: bool = True
    instances: tuple[Annotated[str, msgspec.Meta(pattern=ID_PATTERN)], ...] = ()
    verified: datetime | None = None
    warnings: tuple[_Fault, ...] = ()


_decode_header = msgspec.json.Decoder(_AnyHeader).decode
_decode_outline = msgspec.json.Decoder(Outline).decode


def export_lines(snapshot: Snapshot, now: datetime) -> list[bytes]:
    """Return the header and one line for each service, by id, with line breaks.

    Raises `StoreCorrupt` for a record that is not a service: half a copy would pass
    for a whole one.
    """
    documents = sorted(_documents(snapshot))
    header = _Header(FORMAT, VERSION, rfc3339(now), len(documents), snapshot.revision)
    return [schema.encode(header) + b"\n", *(line + b"\n" for _, line in documents)]


def _documents(snapshot: Snapshot) -> Iterator[tuple[str, bytes]]:
    for record in snapshot.records:
        if id_of(record.key) is None:
            continue
        decode(record.key, record.value)
        value = record.value
        # The registry writes no line breaks; another program may have.
        yield record.key, _compact(value) if b"\n" in value else value


def _compact(document: bytes) -> bytes:
    return msgspec.json.format(document, indent=-1)


def read_documents(lines: Iterable[bytes]) -> dict[str, bytes]:
    """Return the documents in an export by their keys.

    Raises `BadFile`, naming the line, for anything but a whole export of services that
    a registry would take: what is imported must not stop a registry's start.
    """
    numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
    promised = _promised(next(numbered, None))
    documents: dict[str, bytes] = {}
    lines_of: dict[str, int] = {}
    number = 1
    for number, line in numbered:
        key, document = _read_service(number, line)
        if key in documents:
            raise BadFile(
                f"line {number}: {id_of(key)!r} is on line {lines_of[key]}"
                " already; remove one of them"
            )
        documents[key] = document
        lines_of[key] = number
    if len(documents) != promised:
        raise BadFile(
            f"line {number} is the last one, with {services(len(documents))} so far,"
            f" but line 1 promises {promised:,}: the file was cut off or changed;"
            " export or copy it again"
        )
    return documents


def is_header(line: bytes) -> bool:
    """Say whether the line begins an export, of any version."""
    try:
        return bool(_decode_header(line).format)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _promised(first: tuple[int, bytes] | None) -> int:
    """Return how many services the header promises."""
    if first is None:
        raise BadFile("the file is empty: it has no header; export again")
    number, line = first
    try:
        header = _decode_header(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFile(
            f"line {number} is not the header of an export: {error}; import needs a"
            " file from modularity-registry export"
        ) from None
    if header.format != FORMAT or header.services < 0:
        raise BadFile(f"line {number} is not the header of an export")
    if header.version != VERSION:
        raise BadFile(
            f"line {number}: the file has version {header.version} of the format, but"
            f" this registry reads version {VERSION}; use the registry that wrote it"
        )
    return header.services


def _read_service(number: int, line: bytes) -> tuple[str, bytes]:
    try:
        return _service(line)
    except InvalidRequest as error:
        rest = error.detail.removeprefix("the body is ")
        raise BadFile(f"line {number}: the registration is refused: {rest}") from None
    except StoreCorrupt as error:
        raise BadFile(f"line {number}: {error.detail}") from None
    except RecursionError:
        raise BadFile(f"line {number} is nested too deeply") from None
    except (msgspec.ValidationError, _NotAService) as error:
        raise BadFile(f"line {number} is not a service: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFile(f"line {number} is not JSON: {error}") from None


def _service(line: bytes) -> tuple[str, bytes]:
    outline = _decode_outline(line)
    registration, owner_key, instance = schema.parse_registration_request(
        bytes(outline.registration)
    )
    if instance is not None:
        raise _NotAService("it registers an instance, which an export never does")
    if owner_key is not None:
        # It is a secret: only its hash is kept, as the owner.
        raise _NotAService("it has an owner_key, which an export never has")
    key = key_of(registration.id)
    document = _compact(line)
    service = decode(key, document)
    if service.registration.capabilities != registration.capabilities:
        raise _NotAService("it names a capability twice")
    for moment in _moments(service):
        if moment.utcoffset() != timedelta(0):
            raise _NotAService(f"the time {moment.isoformat()} is not in UTC (Z)")
    return key, document


def _moments(service: Service) -> Iterator[datetime]:
    yield from (service.registered_at, service.since)
    yield from (fault.at for fault in (*service.faults, *service.warnings))
    if service.drain is not None:
        yield service.drain.at


def services(count: int) -> str:
    """Return a count of services, as ``2 services``."""
    return f"{count:,} service{'' if count == 1 else 's'}"
