"""What Consul knows of a service and the registry does not: kept in its metadata."""

from typing import Any, Final

import msgspec

from modularity_registry.model.service import Registration
from modularity_registry.schema import encode

KEY: Final = "consul.service"
"""Where they are. No key of a service's Meta has a dot in it."""

TAGS: Final = "tags"
"""Where a service's tags are, for all to read, unless its Meta has this key."""

MARK: Final = f'"{KEY}"'.encode()


class CheckExtras(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Of one check. ``deregister_after`` (seconds) is 0 for never."""

    id: str
    name: str
    type: str = ""
    notes: str = ""
    deregister_after: float = 0.0


class Extras(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Of a service. None stands for what its location says.

    ``checks`` are by the registry's names of them.
    """

    address: str | None = None
    port: int | None = None
    tags: tuple[str, ...] = ()
    tagged: dict[str, tuple[str, int]] = {}
    override: bool = False
    warning_weight: int = 1
    checks: dict[str, CheckExtras] = {}


class _Metadata(msgspec.Struct):
    extras: Extras | msgspec.UnsetType = msgspec.field(name=KEY, default=msgspec.UNSET)


_decode = msgspec.json.Decoder(_Metadata).decode
_decode_all = msgspec.json.Decoder(dict[str, Any]).decode
NOTHING: Final = Extras()


def of(registration: Registration) -> Extras | None:
    """Return what is kept of a service; None if it did not come by Consul's API."""
    metadata = registration.metadata
    if MARK not in bytes(metadata):
        return None
    try:
        extras = _decode(metadata).extras
    except msgspec.ValidationError:  # somebody else's
        return None
    return extras if isinstance(extras, Extras) else None


def with_extras(registration: Registration, extras: Extras) -> Registration:
    """Return the registration with these in place of its own."""
    metadata = _decode_all(registration.metadata) | {KEY: extras}
    return msgspec.structs.replace(registration, metadata=msgspec.Raw(encode(metadata)))


def metadata_of(
    meta: dict[str, str], tags: tuple[str, ...], extras: Extras
) -> dict[str, Any]:
    """Return the metadata of a service with this Meta and these tags."""
    if tags and TAGS in meta:
        extras = msgspec.structs.replace(extras, tags=tags)
    metadata: dict[str, Any] = dict(meta)
    if tags:
        metadata.setdefault(TAGS, list(tags))
    return metadata | {KEY: msgspec.to_builtins(extras)}


def tags_and_meta(
    registration: Registration, extras: Extras | None
) -> tuple[list[str], dict[str, str]]:
    """Return the tags and the Meta of any service.

    What is no text in its metadata is shown as JSON.
    """
    if bytes(registration.metadata) == b"{}":
        return [], {}
    metadata = _decode_all(registration.metadata)
    metadata.pop(KEY, None)
    tags: list[str] = list(extras.tags) if extras else []
    listed = metadata.get(TAGS)
    if isinstance(listed, list) and all(isinstance(tag, str) for tag in listed):
        tags = listed
        del metadata[TAGS]
    meta = {
        key: value if isinstance(value, str) else encode(value).decode()
        for key, value in metadata.items()
    }
    return tags, meta
