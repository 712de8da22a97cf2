"""Consul's ids and names as the registry's, which lack some characters, and back.

``a b/c`` is ``consul:a:20b:2Fc`` here: the prefix, then every character that the
registry does not take as in a URL, with ``:`` in place of ``%``. Whatever it takes, and
does not begin with the prefix, is the same in both.
"""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, unquote

from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.entry import Entry
from modularity_registry.errors import InvalidRequest
from modularity_registry.schema.patterns import (
    CAPABILITY_PATTERN,
    ID_PATTERN,
    LONGEST_CAPABILITY,
)

PREFIX: Final = "consul:"
LONGEST: Final = LONGEST_CAPABILITY
"""Characters of an id or a name of the registry."""

_is_id = re.compile(ID_PATTERN).fullmatch
_is_capability = re.compile(CAPABILITY_PATTERN).fullmatch


def service_id(text: str) -> str:
    """Return the registry's id for Consul's; raises `InvalidRequest` if too long."""
    return _escaped(text, _is_id, "service ID")


def capability(text: str) -> str:
    """Return the capability for a service's name; raises `InvalidRequest`."""
    return _escaped(text, _is_capability, "service name")


def original(text: str) -> str:
    """Return Consul's id or name for the registry's."""
    if not text.startswith(PREFIX):
        return text
    plain = unquote(text[len(PREFIX) :].replace(":", "%"))
    # One that was registered with this beginning by somebody else stays as it is.
    is_quoted = plain.startswith(PREFIX) or not _is_id(plain)
    return plain if is_quoted and _quoted(plain) == text else text


def find(catalog: Catalog, text: str) -> Entry | None:
    """Return the service with Consul's id; None if there is none."""
    try:
        entry = catalog.service(service_id(text))
    except InvalidRequest:
        return None
    return entry or catalog.service(text)


def _escaped(text: str, fits: Callable[[str], object], what: str) -> str:
    name = text
    if text.startswith(PREFIX) or not fits(text):
        name = _quoted(text)
    if len(name) > LONGEST:
        raise InvalidRequest(
            f"Invalid {what}: it takes {len(name)} characters, and may take {LONGEST};"
            " characters other than letters, digits and ._- count three times or more"
        )
    return name


def _quoted(text: str) -> str:
    plain = quote(text, safe="", errors="replace").replace("~", "%7E")
    return PREFIX + plain.replace("%", ":")
