"""How a store is laid out: a document a service, a replica, a token, a split."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec

from modularity_registry import schema
from modularity_registry.errors import StoreCorrupt
from modularity_registry.model.intention import Intention
from modularity_registry.model.rights import Token
from modularity_registry.model.service import Service
from modularity_registry.model.split import Split

RecordT = TypeVar("RecordT")

PREFIX = "services/"
REPLICAS = "replicas/"
TOKENS = "tokens/"
SPLITS = "splits/"
INTENTIONS = "intentions/"

_decode = msgspec.json.Decoder(Service).decode


def key_of(service_id: str) -> str:
    """Return the key under which the service is stored."""
    return PREFIX + service_id


def id_of(key: str) -> str | None:
    """Return the id of the service stored under ``key``; None for other records."""
    return key[len(PREFIX) :] if key.startswith(PREFIX) else None


def encode(service: Service) -> bytes:
    """Return the document to store."""
    return schema.encode(service)


def decode(key: str, value: bytes) -> Service:
    """Return the service in a stored document; raise `StoreCorrupt` if it isn't one."""
    service = decode_any(value, key)
    if service.registration.id != id_of(key):
        found = service.registration.id
        raise StoreCorrupt(f"{key} holds another service: {found!r}")
    return service


def decode_any(value: bytes, key: str = "a document") -> Service:
    """Return the service in a document, whatever its id; raises `StoreCorrupt`."""
    return _decoded(key, value, _decode, "a service")


class Suspect(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A check that can't connect; the other replicas are asked to make it once.

    ``check`` is its name, empty for the one of the mode. ``number`` is the question's:
    no other question of the replica in this ``namespace`` (empty for the default one)
    has the same.
    """

    id: str
    number: int
    check: str = ""
    namespace: str = ""


class Opinion(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a replica found when it made the check of a `Suspect`.

    ``asker`` is the replica whose suspect it was; ``number`` and ``namespace`` are the
    question's.
    """

    asker: str
    number: int
    failing: bool
    message: str
    namespace: str = ""


class ReplicaRecord(
    msgspec.Struct,
    frozen=True,
    gc=False,
    omit_defaults=True,
    rename={"heartbeats": "sighted"},
):
    """What a replica stores of itself every few seconds.

    ``count`` grows with each attempt to write it; ``heartbeats`` are the ids of the
    services whose heartbeats it took since the last one, and a `report_id` for each
    check that was reported; a namespace and a slash stand before those in a namespace.
    Older versions know no service of such an id. ``address`` (``host:port``) is where
    it serves; versions without this field leave it empty.

    A replica whose ``confirm`` is above 1 answers questions: ``suspects`` are its own,
    ``opinions`` its answers to those of others. They stay until they are settled.
    """

    count: int
    host: str
    version: str
    started_at: datetime
    heartbeats: tuple[str, ...] = ()
    address: str = ""
    confirm: int = 1
    suspects: tuple[Suspect, ...] = ()
    opinions: tuple[Opinion, ...] = ()


def report_id(service_id: str, check: str) -> str:
    """Return what stands for a report among the ids of heartbeats: no id has a #."""
    return f"{service_id}#{check}"


_decode_replica = msgspec.json.Decoder(ReplicaRecord).decode


def key_of_replica(replica_id: str) -> str:
    """Return the key under which a replica keeps its record."""
    return REPLICAS + replica_id


def encode_replica(record: ReplicaRecord) -> bytes:
    """Return the record to store."""
    return schema.encode(record)


def decode_replica(key: str, value: bytes) -> ReplicaRecord:
    """Return the record of a replica; raise `StoreCorrupt` if it isn't one."""
    return _decoded(key, value, _decode_replica, "a replica's record")


_decode_token = msgspec.json.Decoder(Token).decode


def key_of_token(name: str) -> str:
    """Return the key under which the token of this name is kept."""
    return TOKENS + name


def is_token(key: str) -> bool:
    """Say whether a token is kept under ``key``."""
    return key.startswith(TOKENS)


def token_name(key: str) -> str:
    """Return the name of the token that is kept under ``key``."""
    return key.removeprefix(TOKENS)


def encode_token(token: Token) -> bytes:
    """Return the record to store."""
    return schema.encode(token)


def decode_token(key: str, value: bytes) -> Token:
    """Return the token in a record; raise `StoreCorrupt` if it holds none."""
    token = _decoded(key, value, _decode_token, "a token")
    if token.name != token_name(key):
        raise StoreCorrupt(f"{key} holds another token: {token.name!r}")
    return token


_decode_split = msgspec.json.Decoder(Split).decode


def key_of_split(capability: str) -> str:
    """Return the key under which the split of a capability is kept."""
    return SPLITS + capability


def is_split(key: str) -> bool:
    """Say whether a split is kept under ``key``."""
    return key.startswith(SPLITS)


def encode_split(split: Split) -> bytes:
    """Return the record to store."""
    return schema.encode(split)


def decode_split(key: str, value: bytes) -> Split:
    """Return the split in a record; raise `StoreCorrupt` if it holds none."""
    split = _decoded(key, value, _decode_split, "a split")
    if split.capability != key.removeprefix(SPLITS):
        raise StoreCorrupt(f"{key} holds another split: {split.capability!r}")
    return split


_decode_intention = msgspec.json.Decoder(Intention).decode


def key_of_intention(source: str, capability: str) -> str:
    """Return the key under which an intention is kept; no source has a slash."""
    return f"{INTENTIONS}{source}/{capability}"


def is_intention(key: str) -> bool:
    """Say whether an intention is kept under ``key``."""
    return key.startswith(INTENTIONS)


def encode_intention(intention: Intention) -> bytes:
    """Return the record to store."""
    return schema.encode(intention)


def decode_intention(key: str, value: bytes) -> Intention:
    """Return the intention in a record; raise `StoreCorrupt` if it holds none."""
    intention = _decoded(key, value, _decode_intention, "an intention")
    if key_of_intention(intention.source, intention.capability) != key:
        names = intention.source, intention.capability
        raise StoreCorrupt(f"{key} holds another intention: {names!r}")
    return intention


def _decoded(
    key: str, value: bytes, decode: Callable[[bytes], RecordT], what: str
) -> RecordT:
    try:
        return decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"{key} does not hold {what}: {error}") from None
