"""The route that tells Prometheus whom to scrape, by its HTTP service discovery.

A reply is always whole: Prometheus keeps nothing of the one before. One label that it
can't read would cost it all targets, so what services say is made readable here.
"""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

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
OWN_PATH = re.compile(r"/[^\x00-\x1f\x7f]*")
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
        wanted = query.filter()
        query.finish()
        revision, tag = catalog.revision, catalog.changed

        def render() -> bytes:
            entries = catalog.providing(wanted.capabilities)
            return schema.encode(list(groups(entries, wanted)))

        return replies.read(render, tag, revision)

    return blueprint


def groups(entries: list[Entry], wanted: Filter) -> Iterator[Group]:
    """Yield the groups of those that pass the filter and are to be scraped."""
    for entry in entries:
        if wanted.matches(entry):
            group = group_of(entry, by_default={"http"} | wanted.modes)
            if group is not None:
                yield group


def group_of(entry: Entry, by_default: Container[str]) -> Group | None:
    """Return how to scrape a service; None if it is not to be.

    Those of the modes ``by_default`` are, unless they say otherwise.
    """
    service = entry.service
    said, known = service.registration, metadata(service)
    wish = Wish.of(known)
    if not (said.mode in by_default if wish.listed is None else wish.listed):
        return None
    try:
        place = said.parsed_location
    except InvalidLocation:
        # Of a mode without host and port, or as only another version would take it.
        return None
    labels = {
        f"{META}id": said.id,
        f"{META}name": said.name,
        f"{META}version": said.version,
        f"{META}status": entry.status,
        f"{META}mode": said.mode,
        f"{META}location": said.location,
        # Commas around all of them, so that a pattern may ask for ",greet,".
        f"{META}capabilities": f",{','.join(said.capabilities)},",
        "__scheme__": "https" if place.scheme == "https" else "http",
    }
    if wish.path is not None:
        labels["__metrics_path__"] = wish.path
    return Group((_target(place, wish.port),), labels | _metadata_labels(known))


@dataclass(frozen=True, slots=True)
class Wish:
    """What a service's metadata says of its metrics; None where it says nothing."""

    listed: bool | None = None
    path: str | None = None
    port: int | None = None

    @classmethod
    def of(cls, known: dict[str, Any]) -> "Wish":
        """Read it; what makes no sense counts as not said."""
        path, port = known.get("metrics_path"), as_text(known.get("metrics_port"))
        return cls(
            listed={"true": True, "false": False}.get(as_text(known.get("metrics"))),
            path=path if isinstance(path, str) and OWN_PATH.fullmatch(path) else None,
            port=int(port) if PORT.fullmatch(port) and int(port) < 65536 else None,
        )


def as_text(value: Any) -> str:
    """Return a metadata value as filters take it: text bare, the rest as JSON."""
    return value if isinstance(value, str) else schema.encode(value).decode()


def _target(place: Location, port: int | None) -> str:
    """Where to scrape: on the service's own host, which the registry has judged."""
    if port is None:
        return place.authority
    return f"{place.authority.rpartition(':')[0]}:{port}"


def _metadata_labels(known: dict[str, Any]) -> dict[str, str]:
    labels: dict[str, str] = {}
    # Of keys that end up under one name, the one that is that name comes first.
    for key in sorted(known, key=lambda key: (bool(NOT_IN_NAMES.search(key)), key)):
        name = f"{META}metadata_{NOT_IN_NAMES.sub('_', key)}"
        labels.setdefault(name, as_text(known[key]))
    return labels
