"""The route that tells Prometheus whom to scrape, by its HTTP service discovery.

A reply is always whole: Prometheus keeps nothing of the one before. One label that it
can't read would cost it all targets, so what services say is made readable here.
"""

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from flask import Blueprint, Response

from modularity_registry import schema
from modularity_registry.api import replies
from modularity_registry.api.query import FILTERS
from modularity_registry.catalog.entry import Entry, metadata
from modularity_registry.catalog.selection import Filter
from modularity_registry.model.location import InvalidLocation, Location
from modularity_registry.runtime import Registry

META = "__meta_modularity_"
OWN_PATH = re.compile(r"/([^\x00-\x1f\x7f%]|%[0-9A-Fa-f]{2})*")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
PORT = re.compile(r"[1-9][0-9]{0,4}")
NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")


class Group(msgspec.Struct, frozen=True):
    """Targets with the same labels, as Prometheus reads them; here always one."""

    targets: tuple[str]
    labels: dict[str, str]


def routes(registry: Registry) -> Blueprint:
    """Return ``/api/sd/prometheus``."""
    blueprint = Blueprint("prometheus", __name__, url_prefix="/api/sd")
    catalog = registry.catalog

    @blueprint.get("/prometheus")
    def targets() -> Response:
        query = replies.query(*FILTERS, "metadata")
        selection = query.filter()
        query.finish()
        revision, tag = catalog.revision, catalog.changed

        def render() -> bytes:
            entries = catalog.providing(selection.capabilities)
            found = groups(entries, selection, registry.namespace)
            return schema.encode(list(found))

        return replies.read(render, tag, revision)

    return blueprint


def groups(
    entries: list[Entry], selection: Filter, namespace: str | None = None
) -> Iterator[Group]:
    """Yield the groups of those that pass the filter and are to be scraped.

    They have a label for the ``namespace``, unless that is the default one.
    """
    for entry in entries:
        if selection.matches(entry):
            group = group_of(entry, by_default={"http"} | selection.modes)
            if group is not None:
                if namespace is not None:
                    group.labels[f"{META}namespace"] = namespace
                yield group


def group_of(entry: Entry, by_default: Container[str]) -> Group | None:
    """Return how to scrape a service; None if it is not to be.

    Those of the modes ``by_default`` are, unless they say otherwise.
    """
    service = entry.service
    registration, service_metadata = service.registration, metadata(service)
    hints = ScrapeHints.of(service_metadata)
    if not (registration.mode in by_default if hints.listed is None else hints.listed):
        return None
    try:
        location = registration.parsed_location
    except InvalidLocation:
        # Of a mode without host and port, or as only another version would take it.
        return None
    labels = {
        f"{META}id": registration.id,
        f"{META}name": registration.name,
        f"{META}version": registration.version,
        f"{META}status": entry.status,
        f"{META}mode": registration.mode,
        f"{META}location": registration.location,
        # Commas around all of them, so that a pattern may ask for ",greet,".
        f"{META}capabilities": f",{','.join(registration.capabilities)},",
        "__scheme__": "https" if location.scheme == "https" else "http",
    }
    labels |= hints.path_labels
    return Group(
        (_target(location, hints.port),), labels | _metadata_labels(service_metadata)
    )


@dataclass(frozen=True, slots=True)
class ScrapeHints:
    """How to scrape a service, by its metadata; None for what that does not say.

    ``path_labels`` are what Prometheus makes the path and its query of.
    """

    listed: bool | None = None
    path_labels: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> "ScrapeHints":
        """Read it; what makes no sense counts as not registration."""
        port = metadata.get("metrics_port")
        if isinstance(port, float) and port.is_integer():
            port = int(port)
        port = as_text(port)
        return cls(
            listed={"true": True, "false": False}.get(as_text(metadata.get("metrics"))),
            path_labels=_path_labels(metadata.get("metrics_path")),
            port=int(port) if PORT.fullmatch(port) and int(port) < 65536 else None,
        )


def _path_labels(path: Any) -> dict[str, str]:
    """Return the labels for a path, with or without a query; none if there are none.

    Prometheus takes the path unescaped and escapes it again, and of each parameter one
    value: what would become another address that way has no labels.
    """
    if not (isinstance(path, str) and OWN_PATH.fullmatch(path)):
        return {}
    path, _, query = path.partition("?")
    try:
        parameters = parse_qsl(query, True, bool(query), errors="strict")
        plain = unquote(path, errors="strict")
    except ValueError:
        return {}
    names = [name for name, _ in parameters]
    if "%2f" in path.lower() or "#" in path + query or len({*names}) < len(names):
        return {}
    if not all(LABEL.fullmatch(name) for name in names):
        return {}
    labels = {f"__param_{name}": value for name, value in parameters}
    return {"__metrics_path__": plain, **labels}


def as_text(value: Any) -> str:
    """Return a metadata value as filters take it: text bare, the rest as JSON."""
    return value if isinstance(value, str) else schema.encode(value).decode()


def _target(location: Location, port: int | None) -> str:
    """Where to scrape: on the service's own host, which the registry has judged."""
    if port is None:
        return location.authority
    return f"{location.authority.rpartition(':')[0]}:{port}"


def _metadata_labels(metadata: dict[str, Any]) -> dict[str, str]:
    labels: dict[str, str] = {}
    # Of keys that end up under one name, the one that is that name comes first.
    for key in sorted(metadata, key=lambda key: (bool(NOT_IN_NAMES.search(key)), key)):
        name = f"{META}metadata_{NOT_IN_NAMES.sub('_', key)}"
        labels.setdefault(name, as_text(metadata[key]))
    return labels
