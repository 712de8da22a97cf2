"""What one Traefik asks for: default routers, and where it is."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Self

from modularity_registry.catalog.zones import Place
from modularity_registry.errors import FieldError, InvalidRequest
from modularity_registry.schema.patterns import PLACE_PATTERN

_NAMES: Final = (
    re.compile(r"[A-Za-z0-9@._\-]{1,128}(,[A-Za-z0-9@._\-]{1,128}){0,15}"),
    "must be names separated by commas",
)
_RULES: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "host": (
        re.compile(r"(?=.{1,253}$)([A-Za-z0-9.\-]|\{label\})+"),
        "must be a host name; {label} in it stands for the capability, as in"
        " {label}.example.com",
    ),
    "path": (
        re.compile(r"(?=.{1,253}$)/([A-Za-z0-9._~/\-]|\{label\}|\{capability\})*"),
        "must begin with a slash; {capability} or {label} in it stands for the"
        " capability, as in /{capability}",
    ),
    "entrypoints": _NAMES,
    "middlewares": _NAMES,
    "near": (
        re.compile(PLACE_PATTERN),
        "must be a zone, such as eu-1a, or region/zone: eu-1/eu-1a",
    ),
    "namespace": (re.compile(r"[a-z0-9\-]+"), "must be the name of a namespace"),
}


class Query(NamedTuple):
    """The arguments of a call.

    With a ``host`` or a ``path``, each capability has a router, on the ``entrypoints``
    and with the ``middlewares``. Of the providers, it is those nearest to ``place``.
    """

    host: str = ""
    path: str = ""
    entrypoints: tuple[str, ...] = ()
    middlewares: tuple[str, ...] = ()
    place: Place | None = None

    @classmethod
    def parse(cls, arguments: Iterable[tuple[str, str]]) -> Self:
        """Return what they say. Raises `InvalidRequest` naming every bad one."""
        values: dict[str, str] = {}
        errors = []
        for name, value in arguments:
            pattern, message = _RULES.get(name, (None, ""))
            if pattern is None:
                names = ", ".join(_RULES)
                message = f"is not a known parameter; known parameters: {names}"
            elif name in values:
                message = "is given more than once"
            elif pattern.fullmatch(value):
                values[name] = value
                continue
            errors.append(FieldError(name, message))
        if errors:
            raise InvalidRequest.of(errors)
        zone = re.fullmatch(PLACE_PATTERN, values.get("near", ""))
        return cls(
            values.get("host", ""),
            values.get("path", ""),
            _names(values.get("entrypoints", "")),
            _names(values.get("middlewares", "")),
            Place(zone[3], zone[2] or "") if zone else None,
        )


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()
