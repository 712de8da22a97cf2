"""A catalog as JSON lines: a header, then services, splits and intentions.

Each is a document on a line of its own. Documents are copied as the store holds them,
so that every value survives exactly. In an export of all namespaces, those of the
default one come first, and every other has a field with its namespace in front.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec

from modularity_registry import schema
from modularity_registry.catalog.documents import (
    INTENTIONS,
    SPLITS,
    decode,
    decode_intention,
    decode_split,
    encode_intention,
    encode_split,
    id_of,
    is_intention,
    is_split,
    key_of,
    key_of_intention,
    key_of_split,
)
from modularity_registry.clock import rfc3339
from modularity_registry.errors import InvalidRequest, RegistryError, StoreCorrupt
from modularity_registry.model.intention import Action
from modularity_registry.model.rights import OWNER_PATTERN
from modularity_registry.model.service import Drain, Fault, Service
from modularity_registry.model.split import split_of
from modularity_registry.schema.intentions import intention_of
from modularity_registry.schema.patterns import ID_PATTERN, NAMESPACE_PATTERN, whole
from modularity_registry.stores.base import Snapshot
from modularity_registry.stores.parts import split_key, whole_key

FORMAT: Final = "modularity-registry"
VERSION: Final = 1

Scope = str | None
"""The namespace that is exported or imported; empty for the default one, None for all
of them."""


class BadFile(RegistryError):
    """A file is not a complete export, or can't be read or written."""

    code = "bad_file"


class _NotAService(Exception):
    """A line has the form of a service, but is not one; says why."""


class _Header(msgspec.Struct, frozen=True, omit_defaults=True):
    format: str
    version: int
    exported_at: str
    services: int
    revision: int
    splits: int = 0
    intentions: int = 0


class _AnyHeader(msgspec.Struct, frozen=True):
    """As much of a header as an import needs."""

    format: str
    version: int
    services: int
    splits: int = 0
    intentions: int = 0


class _Fault(Fault, frozen=True, gc=False, forbid_unknown_fields=True):
    pass


class _Drain(Drain, frozen=True, gc=False, forbid_unknown_fields=True):
    pass


class Outline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`Service` as it is exported: an unknown field is refused, not lost."""

    registration: msgspec.Raw
    registered_at: datetime
    since: datetime
    faults: tuple[_Fault, ...] = ()
    drain: _Drain | None = None
    owner: Annotated[str, msgspec.Meta(pattern=whole(OWNER_PATTERN))] = ""
    loopback: bool = True
    instances: tuple[Annotated[str, msgspec.Meta(pattern=whole(ID_PATTERN))], ...] = ()
    verified: datetime | None = None
    warnings: tuple[_Fault, ...] = ()


class _SplitLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    capability: str
    groups: msgspec.Raw
    namespace: Annotated[str, msgspec.Meta(pattern=whole(NAMESPACE_PATTERN))] = ""


class _IntentionLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    capability: str
    action: Action
    namespace: Annotated[str, msgspec.Meta(pattern=whole(NAMESPACE_PATTERN))] = ""


class _AnyLine(msgspec.Struct, frozen=True):
    groups: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    action: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Line(Outline, frozen=True, forbid_unknown_fields=True):
    """A line: a service, and its namespace, which is empty for the default one."""

    namespace: Annotated[str, msgspec.Meta(pattern=whole(NAMESPACE_PATTERN))] = ""


_decode_header = msgspec.json.Decoder(_AnyHeader).decode
_decode_line = msgspec.json.Decoder(_Line).decode
_decode_split = msgspec.json.Decoder(_SplitLine).decode
_decode_intention_line = msgspec.json.Decoder(_IntentionLine).decode
_decode_any = msgspec.json.Decoder(_AnyLine).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def in_scope(key: str, scope: Scope) -> bool:
    """Say whether a store keeps under ``key`` what is exported of ``scope``.

    That is services, splits and intentions, and neither replicas nor what is secret.
    """
    namespace, own_key = split_key(key)
    is_one = id_of(own_key) is not None or _is_other(own_key)
    return is_one and scope in (None, namespace)


def _is_other(key: str) -> bool:
    return is_split(key) or is_intention(key)


def export_lines(snapshot: Snapshot, now: datetime, scope: Scope = "") -> list[bytes]:
    """Return the header and one line for each document, with line breaks.

    The services by id, then the splits by capability, then the intentions. Raises
    `StoreCorrupt` for a record that is none of them: half a copy would pass for a
    whole one.
    """
    documents = sorted(_documents(snapshot, scope))
    splits = sorted(_splits(snapshot, scope))
    intentions = sorted(_intentions(snapshot, scope))
    header = _Header(
        FORMAT,
        VERSION,
        rfc3339(now),
        len(documents),
        snapshot.revision,
        len(splits),
        len(intentions),
    )
    lines = (line + b"\n" for *_, line in (*documents, *splits, *intentions))
    return [schema.encode(header) + b"\n", *lines]


def exported_keys(snapshot: Snapshot, scope: Scope = "") -> list[str]:
    """Return the keys of all that is exported."""
    return [record.key for record in snapshot.records if in_scope(record.key, scope)]


def _documents(snapshot: Snapshot, scope: Scope) -> Iterator[tuple[str, str, bytes]]:
    for namespace, key, value in _records(snapshot, scope):
        if _is_other(key):
            continue
        decode(key, value)
        # The registry writes no line breaks; another program may have.
        document = _compact(value) if b"\n" in value else value
        yield namespace, key, _named(document, namespace, scope)


def _splits(snapshot: Snapshot, scope: Scope) -> Iterator[tuple[str, str, bytes]]:
    for namespace, key, value in _records(snapshot, scope):
        if is_split(key):
            document = encode_split(decode_split(key, value))
            yield namespace, key, _named(document, namespace, scope)


def _intentions(snapshot: Snapshot, scope: Scope) -> Iterator[tuple[str, str, bytes]]:
    for namespace, key, value in _records(snapshot, scope):
        if is_intention(key):
            document = encode_intention(decode_intention(key, value))
            yield namespace, key, _named(document, namespace, scope)


def _records(snapshot: Snapshot, scope: Scope) -> Iterator[tuple[str, str, bytes]]:
    for record in snapshot.records:
        if in_scope(record.key, scope):
            yield *split_key(record.key), record.value


def _named(document: bytes, namespace: str, scope: Scope) -> bytes:
    """Return a document with its namespace in front, in an export of all of them."""
    if scope is not None or not namespace:
        return document
    return b'{"namespace":"%b",%b' % (namespace.encode(), document.lstrip()[1:])


def _compact(document: bytes) -> bytes:
    return msgspec.json.format(document, indent=-1)


def read_documents(lines: Iterable[bytes], scope: Scope = "") -> dict[str, bytes]:
    """Return the documents in an export by the keys of a store for this scope.

    Raises `BadFile`, naming the line, for anything but a whole export of services and
    splits that a registry would take: what is imported must not stop its start.
    """
    numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
    promised = _promised(next(numbered, None))
    documents: dict[str, bytes] = {}
    lines_of: dict[str, int] = {}
    number = 1
    for number, line in numbered:
        key, document = _read_line(number, line, scope)
        if key in documents:
            name = _name_of(split_key(key)[1])
            raise BadFile(
                f"line {number}: {name!r} is on line {lines_of[key]}"
                " already; remove one of them"
            )
        documents[key] = document
        lines_of[key] = number
    if counted(documents) != promised:
        raise BadFile(
            f"line {number} is the last one, with {counted(documents)} so far,"
            f" but line 1 promises {promised}: the file was cut off or changed;"
            " export or copy it again"
        )
    return documents


def _name_of(key: str) -> str:
    if is_intention(key):
        source, _, capability = key.removeprefix(INTENTIONS).partition("/")
        return f"the intention for {source} and {capability}"
    return id_of(key) or f"the split of {key.removeprefix(SPLITS)}"


def is_header(line: bytes) -> bool:
    """Say whether the line begins an export, of any version."""
    try:
        return bool(_decode_header(line).format)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _promised(first: tuple[int, bytes] | None) -> str:
    """Return what the header promises, as `counted` says it."""
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
    counts = header.services, header.splits, header.intentions
    if header.format != FORMAT or min(counts) < 0:
        raise BadFile(f"line {number} is not the header of an export")
    if header.version != VERSION:
        raise BadFile(
            f"line {number}: the file has version {header.version} of the format, but"
            f" this registry reads version {VERSION}; use the registry that wrote it"
        )
    return _counts(*counts)


def _read_line(number: int, line: bytes, scope: Scope) -> tuple[str, bytes]:
    """Return the key and the document of a service, a split or an intention."""
    what = "registration"
    try:
        if b'"groups"' in line and _decode_any(line).groups is not msgspec.UNSET:
            what = "split"
            return _split(line, scope)
        if b'"action"' in line and _decode_any(line).action is not msgspec.UNSET:
            what = "intention"
            return _intention(line, scope)
        return _service(line, scope)
    except InvalidRequest as error:
        rest = error.detail.removeprefix("the body is ")
        raise BadFile(f"line {number}: the {what} is refused: {rest}") from None
    except StoreCorrupt as error:
        raise BadFile(f"line {number}: {error.detail}") from None
    except RecursionError:
        raise BadFile(f"line {number} is nested too deeply") from None
    except (msgspec.ValidationError, _NotAService) as error:
        kind = {"split": "a split", "intention": "an intention"}.get(what, "a service")
        raise BadFile(f"line {number} is not {kind}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFile(f"line {number} is not JSON: {error}") from None


def _split(line: bytes, scope: Scope) -> tuple[str, bytes]:
    decoded = _decode_split(line)
    groups = schema.parse_split(bytes(decoded.groups), decoded.capability)
    split = split_of(decoded.capability, groups)
    key = key_of_split(split.capability)
    return _key_in(decoded.namespace, scope, key), encode_split(split)


def _intention(line: bytes, scope: Scope) -> tuple[str, bytes]:
    decoded = _decode_intention_line(line)
    one = intention_of(decoded.source, decoded.capability, decoded.action)
    key = key_of_intention(one.source, one.capability)
    return _key_in(decoded.namespace, scope, key), encode_intention(one)


def _key_in(namespace: str, scope: Scope, key: str) -> str:
    """Return the store's key for what is in ``namespace`` in the file."""
    if namespace and scope is not None:
        raise _NotAService(
            f"of one namespace alone: it is in {namespace!r}; import the file"
            " with --all-namespaces"
        )
    return whole_key(namespace or scope or "", key)


def _service(line: bytes, scope: Scope) -> tuple[str, bytes]:
    outline = _decode_line(line)
    namespace = outline.namespace
    registration, owner_key, instance = schema.parse_registration_request(
        bytes(outline.registration)
    )
    stored_key = _key_in(namespace, scope, key_of(registration.id))
    if instance is not None:
        raise _NotAService("it registers an instance, which an export never does")
    if owner_key is not None:
        # It is a secret: only its hash is kept, as the owner.
        raise _NotAService("it has an owner_key, which an export never has")
    key = key_of(registration.id)
    document = _compact(_without_namespace(line) if namespace else line)
    service = decode(key, document)
    if service.registration.capabilities != registration.capabilities:
        raise _NotAService("it names a capability twice")
    for moment in _moments(service):
        if moment.utcoffset() != timedelta(0):
            raise _NotAService(f"the time {moment.isoformat()} is not in UTC (Z)")
    return stored_key, document


def _without_namespace(line: bytes) -> bytes:
    fields = _decode_fields(line)
    del fields["namespace"]
    return schema.encode(fields)


def _moments(service: Service) -> Iterator[datetime]:
    yield from (service.registered_at, service.since)
    yield from (fault.at for fault in (*service.faults, *service.warnings))
    if service.drain is not None:
        yield service.drain.at


def counted(keys: Collection[str]) -> str:
    """Return how many services, splits and intentions these keys are of, in words."""
    own = [split_key(key)[1] for key in keys]
    splits, intentions = sum(map(is_split, own)), sum(map(is_intention, own))
    return _counts(len(keys) - splits - intentions, splits, intentions)


def _counts(services: int, splits: int, intentions: int) -> str:
    """Return counts as ``2 services``, or ``2 services, 1 split and 3 intentions``."""
    others = {"split": splits, "intention": intentions}
    counts = {"service": services, **{name: n for name, n in others.items() if n}}
    *first, last = [
        f"{n:,} {name}{'' if n == 1 else 's'}" for name, n in counts.items()
    ]
    return f"{', '.join(first)} and {last}" if first else last
