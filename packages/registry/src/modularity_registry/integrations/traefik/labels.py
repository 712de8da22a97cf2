"""Traefik's labels in a service's metadata, as its documentation names them."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from modularity_registry.catalog.entry import metadata
from modularity_registry.model.service import Service

Labels = Mapping[str, str]

ENABLE: Final = "traefik.enable"
_PREFIX: Final = "traefik."
_NONE: Final[Labels] = {}

Options = Mapping[str, tuple[str, Callable[[str], Any]]]
"""By the last part of a label, in lower case: its name in the configuration, and what
reads its value, None for one that is wrong."""


def labels_of(service: Service) -> Labels:
    """Return the labels of a service; numbers and booleans as Traefik writes them."""
    if b'"traefik.' not in bytes(service.registration.metadata):
        return _NONE
    return {
        key: text
        for key, value in metadata(service).items()
        if key.startswith(_PREFIX) and (text := _text(value)) is not None
    }


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None


def options(labels: Labels, prefix: str, known: Options) -> dict[str, Any]:
    """Return those below ``prefix`` that are ``known``, as the configuration has them.

    A value that can't be read is left out, as if nobody had said it.
    """
    values: dict[str, Any] = {}
    for key, text in labels.items():
        if key.startswith(prefix):
            name, read = known.get(key[len(prefix) :].lower(), (None, None))
            value = read(text) if read else None
            if name is not None and value is not None:
                values[name] = value
    return dict(sorted(values.items()))


def _names(text: str) -> list[str] | None:
    return [name.strip() for name in text.split(",") if name.strip()] or None


def _number(text: str) -> int | None:
    number = text.removeprefix("-")
    # As large as a router's priority may be for its users.
    plain = number.isascii() and number.isdecimal() and len(number) < 16
    return int(text) if plain else None


def _truth(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _object_if_true(text: str) -> dict[str, Any] | None:
    return {} if text.lower() == "true" else None


ROUTER: Final[Options] = {
    "rule": ("rule", lambda text: text.strip() or None),
    "entrypoints": ("entryPoints", _names),
    "middlewares": ("middlewares", _names),
    "priority": ("priority", _number),
    "tls": ("tls", _object_if_true),
    "tls.certresolver": ("tls", lambda text: {"certResolver": text}),
}

SERVICE: Final[Options] = {
    "loadbalancer.passhostheader": ("passHostHeader", _truth),
    "loadbalancer.serverstransport": ("serversTransport", lambda text: text or None),
}
