"""Decodes good registrations quickly; whatever it does not take, `parse` judges.

It takes nothing that `request_models` refuses, and returns the same for what it takes:
a generated test compares the two. It does not explain what is wrong, and leaves what is
rare, such as an escape in a string, to `parse`.
"""

import re
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from modularity_registry.model.location import (
    InvalidLocation,
    parse_health_path,
    parse_location,
)
from modularity_registry.model.service import (
    CHECKED_MODES,
    HealthCheck,
    Mode,
    Registration,
    RegistrationRequest,
)
from modularity_registry.schema.patterns import (
    CAPABILITY_PATTERN,
    ID_PATTERN,
    KEY_PATTERN,
    LONGEST_CAPABILITY,
    ZONE_PATTERN,
    is_blank,
)
from modularity_registry.schema.request_models import (
    MAX_CAPABILITIES,
    MAX_METADATA_BYTES,
)
from modularity_registry.schema.strict_json import encode

# The id, then the capabilities, a line each: one search takes a third of the time of
# one for each, and no text without an escape has a line end.
_ID, _CAPABILITY = ID_PATTERN.strip("^$"), CAPABILITY_PATTERN.strip("^$")
_are_names = re.compile(rf"{_ID}(?:\n{_CAPABILITY})*").fullmatch
_Key = Annotated[str, Meta(pattern=KEY_PATTERN, min_length=16, max_length=256)]
_Instance = Annotated[str, Meta(pattern=ID_PATTERN)]
_Zone = Annotated[str, Meta(pattern=ZONE_PATTERN)]


class _Health(Struct, forbid_unknown_fields=True):
    path: Annotated[str, Meta(max_length=512)] | UnsetType | None = UNSET
    interval: Annotated[float, Meta(ge=1, le=86_400)] | UnsetType | None = UNSET
    timeout: Annotated[float, Meta(ge=0.1, le=300)] | UnsetType | None = UNSET


class _Body(Struct, forbid_unknown_fields=True):
    id: str
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    capabilities: Annotated[tuple[str, ...], Meta(max_length=MAX_CAPABILITIES)]
    location: Annotated[str, Meta(min_length=1, max_length=2048)]
    mode: Mode
    version: Annotated[str, Meta(min_length=1, max_length=128)] | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    weight: Annotated[int, Meta(ge=0, le=65_535)] | UnsetType = UNSET
    ttl: Annotated[float, Meta(ge=1, le=7 * 86_400)] | UnsetType | None = UNSET
    health: _Health | UnsetType | None = UNSET
    owner_key: _Key | UnsetType | None = UNSET
    instance: _Instance | UnsetType | None = UNSET
    zone: _Zone | UnsetType | None = UNSET
    region: _Zone | UnsetType | None = UNSET
    priority: Annotated[int, Meta(ge=0, le=65_535)] | UnsetType = UNSET


_decode = msgspec.json.Decoder(_Body).decode


def decode(body: bytes) -> RegistrationRequest | None:
    """Return the registration that is requested; None leaves it to `parse`."""
    # Without escapes, the one control character that a text may have is DEL.
    if b"\\" in body or b"\x7f" in body:
        return None
    try:
        fields = _decode(body)
        # Of two equal keys the decoder drops one: the body has more texts then.
        if body.count(b'"') != 2 * _texts(fields):
            return None
        if not _are_names("\n".join((fields.id, *fields.capabilities))):
            return None
        if not _are_plain(fields):
            return None
        if fields.mode in CHECKED_MODES:
            parse_location(fields.location, fields.mode)
        return RegistrationRequest(
            _registration(fields), fields.owner_key or None, fields.instance or None
        )
    except (ValueError, RecursionError, InvalidLocation):
        return None  # the errors of msgspec and of Unicode are ValueErrors


def _are_plain(fields: _Body) -> bool:
    """Say whether no text is too long or blank."""
    version = "1" if fields.version is UNSET else fields.version
    for text in (fields.name, version, fields.location):
        # Almost all begin with a letter that can be seen.
        if not " " < text[0] <= "~" and is_blank(text):
            return False
    return max(map(len, fields.capabilities), default=0) <= LONGEST_CAPABILITY


def _registration(fields: _Body) -> Registration:
    capabilities, metadata = fields.capabilities, b"{}"
    if len({*capabilities}) < len(capabilities):
        capabilities = tuple(dict.fromkeys(capabilities))
    if fields.metadata:
        metadata = encode(fields.metadata)
        if len(metadata) > MAX_METADATA_BYTES:
            raise ValueError("the metadata is too large")
    return Registration(
        fields.id,
        fields.name,
        capabilities,
        fields.location,
        fields.mode,
        "1.0.0" if fields.version is UNSET else fields.version,
        msgspec.Raw(metadata),
        1 if fields.weight is UNSET else fields.weight,
        fields.ttl or None,
        _health(fields.health, fields.mode) if fields.health else None,
        zone=fields.zone or "",
        region=fields.region or "",
        priority=0 if fields.priority is UNSET else fields.priority,
    )


def _health(health: _Health, mode: Mode) -> HealthCheck:
    if mode not in CHECKED_MODES:
        raise ValueError("nobody checks it")
    if isinstance(health.path, str):
        if mode != "http":
            raise ValueError("only HTTP has paths")
        parse_health_path(health.path)
    return HealthCheck(
        None if health.path is UNSET else health.path,
        health.interval or None,
        health.timeout or None,
    )


def _texts(fields: _Body) -> int:
    """Return how many strings the body has: keys, and values that are strings."""
    # The required fields: five keys, four texts, and the list.
    texts = 9 + len(fields.capabilities)
    if fields.version is not UNSET:
        texts += 2
    for text in (fields.owner_key, fields.instance, fields.zone, fields.region):
        if text is not UNSET:
            texts += 1 if text is None else 2
    if fields.metadata is not UNSET:
        texts += 1 + _texts_in(fields.metadata)
    if fields.health is not UNSET:
        texts += 1
        if fields.health is not None:
            health = fields.health
            parts = (health.path, health.interval, health.timeout)
            texts += sum(part is not UNSET for part in parts)
            texts += isinstance(health.path, str)
    numbers = (fields.weight, fields.ttl, fields.priority)
    return texts + sum(number is not UNSET for number in numbers)


def _texts_in(value: dict[str, Any] | list[Any]) -> int:
    texts, items = 0, value
    if isinstance(value, dict):
        texts, items = len(value), [*value.values()]
    for item in items:
        if isinstance(item, str):
            texts += 1
        elif isinstance(item, dict | list):
            texts += _texts_in(item)
    return texts
