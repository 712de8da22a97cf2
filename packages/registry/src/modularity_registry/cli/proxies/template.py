"""A template, and what it can ask: services, providers and capabilities."""

import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.exceptions import TemplateNotFound, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion

from modularity_client import Service
from modularity_client.locality import NOWHERE, find_place
from modularity_registry.cli.proxies.balance import ACTIVE, weighted
from modularity_registry.cli.proxies.snapshot import Snapshot
from modularity_registry.errors import RegistryError
from modularity_registry.model.labels import label_of
from modularity_registry.model.location import parse_location
from modularity_registry.model.service import CHECKED_MODES, STATUSES

LARGEST_WEIGHT: Final = 1000


class TemplateFailed(Exception):
    """A template can't be rendered; the text says where and why."""


@dataclass(frozen=True)
class TemplateService:
    """A service as templates see it; ``host`` is empty where the mode has none.

    ``authority`` is ``host:port``, with brackets around an IPv6 address.
    """

    id: str
    name: str
    version: str
    capabilities: tuple[str, ...]
    location: str
    mode: str
    status: str
    metadata: Mapping[str, Any]
    weight: int
    zone: str
    region: str
    priority: int
    scheme: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    authority: str = ""
    address_type: str = ""
    """``IPv4``, ``IPv6``, or ``FQDN`` for a name."""


def template_service(service: Service, weight: int | None = None) -> TemplateService:
    """Return a service for templates, with another weight if one is given."""
    fields = (
        *(service.id, service.name, service.version, service.capabilities),
        *(service.location, service.mode, service.status, service.metadata),
        service.weight if weight is None else weight,
        *(service.zone or "", service.region or "", service.priority),
    )
    if service.mode not in CHECKED_MODES:
        return TemplateService(*fields)
    try:
        place = parse_location(service.location, service.mode)
    except RegistryError:  # registered at a registry of another version
        return TemplateService(*fields)
    kind = f"IPv{place.address.version}" if place.address else "FQDN"
    return TemplateService(
        *fields, place.scheme, place.host, place.port, place.path, place.authority, kind
    )


class Template:
    """A template in a file; what it includes and imports is in the same folder.

    It can read what the registry holds and nothing else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(path.parent),
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["label"] = label

    def render(self, snapshot: Snapshot) -> str:
        """Return the text. Raises `TemplateFailed`."""
        context = _functions(snapshot)
        try:
            return self._environment.get_template(self.path.name).render(context)
        except TemplateSyntaxError as error:
            where = error.filename or self.path
            raise TemplateFailed(f"{where}:{error.lineno}: {error.message}") from None
        except TemplateNotFound as error:
            raise TemplateFailed(f"{self.path.parent} has no {error.name}") from None
        except Exception as error:  # a template is a program: it may raise anything
            text = str(error) or type(error).__name__
            raise TemplateFailed(f"{self._line_of(error)}: {text}") from None

    def _line_of(self, error: BaseException) -> str:
        """Return the file and the line of a template that failed."""
        folder = str(self.path.parent)
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if str(Path(frame.filename).parent) == folder:
                return f"{frame.filename}:{frame.lineno}"
        return str(self.path)


def label(text: str) -> str:
    """Return a text as a DNS label of at most 63 characters: a-z, 0-9 and hyphens.

    It begins with a letter, as Kubernetes demands of a Service.
    """
    plain = label_of(text)
    plain = plain if plain[:1].isalpha() else f"x-{plain}"
    return plain[:63].rstrip("-")


def _functions(snapshot: Snapshot) -> dict[str, Any]:
    """Return what a template can ask."""

    def services(capability: str | None = None, **filters: Any) -> list[Any]:
        every = capability is None
        named = snapshot.services if every else snapshot.providers(capability or "")
        return [template_service(each) for each in _filtered(named, filters)]

    def providers(capability: str, near: str = "", **filters: Any) -> list[Any]:
        region, _, zone = near.rpartition("/")
        place = find_place(zone, region) if near else NOWHERE
        named = list(_filtered(snapshot.providers(capability), filters))
        chosen = weighted(named, snapshot.split(capability), LARGEST_WEIGHT, place)
        return [template_service(each.service, each.weight) for each in chosen]

    def capabilities() -> list[str]:
        return sorted({name for one in snapshot.services for name in one.capabilities})

    return {
        "services": services,
        "providers": providers,
        "capabilities": capabilities,
        "revision": snapshot.revision,
    }


_FIELDS: Final = ("status", "mode", "name", "version", "zone", "region", "metadata")


def _filtered(services: Iterable[Service], filters: Mapping[str, Any]) -> list[Service]:
    """Return the services that match; a filter is named as in the API.

    Raises `ValueError` for one that there is not.
    """
    for name in filters:
        if name not in _FIELDS:
            raise ValueError(f"there is no filter {name!r}; use {', '.join(_FIELDS)}")
    return [
        service
        for service in services
        if all(_matches(service, name, value) for name, value in filters.items())
    ]


def _matches(service: Service, name: str, value: Any) -> bool:
    if name == "metadata":
        return all(service.metadata.get(key) == item for key, item in value.items())
    if name == "version" and value[:1] in "<>=!~":
        try:
            return SpecifierSet(value).contains(service.version, prereleases=True)
        except InvalidVersion:
            return False
        except InvalidSpecifier:
            message = f"version {value!r} is no range such as '>=1.2,<2'"
            raise ValueError(message) from None
    present = getattr(service, name) or ""
    values = {value} if isinstance(value, str) else set(value)
    if name == "status":
        values = _statuses(values)
    return present in values


def _statuses(words: Iterable[str]) -> set[str]:
    inactive = [status for status in STATUSES if status not in ACTIVE]
    groups = {"active": ACTIVE, "inactive": tuple(inactive)}
    values: set[str] = set()
    for word in words:
        if word not in STATUSES and word not in groups:
            choices = ", ".join((*STATUSES, *groups))
            raise ValueError(f"there is no status {word!r}; use {choices}")
        values.update(groups.get(word, (word,)))
    return values
