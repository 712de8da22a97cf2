"""Makes Traefik's dynamic configuration: a service for each capability, and routers.

The same catalog gives the same bytes: Traefik tells by them that something has changed.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple, get_args

import msgspec

from modularity_registry import schema, tasks
from modularity_registry.catalog.catalog import Capability, Catalog, Providers
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.splits import groups_of
from modularity_registry.catalog.zones import near
from modularity_registry.integrations.traefik.labels import ROUTER, SERVICE, options
from modularity_registry.integrations.traefik.providers import (
    Protocol,
    Provider,
    ProviderCache,
)
from modularity_registry.integrations.traefik.query import Query
from modularity_registry.model.labels import label_of

Section = dict[str, msgspec.Raw]
"""The services, the routers or the middlewares, by name, each as JSON."""


class _Part(NamedTuple):
    """The providers of a capability that speak one protocol."""

    capability: str
    protocol: Protocol
    providers: Providers


async def configuration(catalog: Catalog, cache: ProviderCache, query: Query) -> bytes:
    """Return the configuration as JSON. Other work has its turn in between."""
    sections: dict[str, dict[str, Section]] = {}
    async for capability in tasks.in_slices(catalog.capabilities()):
        for part in _parts(capability, cache):
            for kind, name, definition in _definitions(catalog, cache, query, part):
                section = sections.setdefault(part.protocol, {}).setdefault(kind, {})
                section[name] = msgspec.Raw(schema.encode(definition))
    # Traefik takes no empty section. It takes a document that is empty.
    return schema.encode(sections)


def _parts(capability: Capability, cache: ProviderCache) -> Iterator[_Part]:
    providers = capability.providers()
    for protocol in get_args(Protocol):

        def speaks(entry: Entry, protocol: Protocol = protocol) -> bool:
            return cache.of(entry).protocol == protocol

        part = providers.part(("traefik", protocol), speaks)
        if part.entries:
            yield _Part(capability.name, protocol, part)


def _definitions(
    catalog: Catalog, cache: ProviderCache, query: Query, part: _Part
) -> Iterator[tuple[str, str, Any]]:
    """Yield the section, the name and the definition of all that a part leads to."""
    name = part.capability
    for service, definition in _services(catalog, cache, query, part):
        yield "services", service, definition
    labelled = _options(cache, part, "routers", ROUTER)
    if part.protocol == "tcp":
        labelled.pop("middlewares", None)
    if "rule" in labelled:
        yield "routers", name, {**_on(query), **labelled, "service": name}
    elif part.protocol == "http" and (query.host or query.path):
        path = _filled(query.path, name).rstrip("/")
        middlewares = [*query.middlewares]
        if path:
            yield "middlewares", name, {"stripPrefix": {"prefixes": [path]}}
            middlewares.append(name)
        router = {**_on(query), "rule": _default_rule(query, name), "service": name}
        if middlewares:
            router["middlewares"] = middlewares
        yield "routers", name, {**router, **labelled}


def _on(query: Query) -> dict[str, Any]:
    return {"entryPoints": query.entrypoints} if query.entrypoints else {}


def _default_rule(query: Query, name: str) -> str:
    rules = []
    if query.host:
        rules.append(f"Host(`{_filled(query.host, name)}`)")
    if query.path:
        path = _filled(query.path, name).rstrip("/")
        below = f"PathPrefix(`{path}/`)"
        # Traefik's prefixes end anywhere: that of /greet would take /greetings.
        rules.append(f"(Path(`{path}`) || {below})" if path else below)
    return " && ".join(rules)


def _filled(text: str, name: str) -> str:
    return text.replace("{label}", label_of(name)).replace("{capability}", name)


def _services(
    catalog: Catalog, cache: ProviderCache, query: Query, part: _Part
) -> Iterator[tuple[str, Any]]:
    """Yield the service of a capability, and one for each group if it is split."""
    name, providers = part.capability, part.providers
    common = _options(cache, part, "services", SERVICE)
    if part.protocol == "tcp":
        common = {}

    def balanced(members: Providers) -> Any:
        if query.place is not None:
            members = near(catalog, members, query.place)
        servers = _servers(part.protocol, map(cache.of, members.candidates))
        return {"loadBalancer": {"servers": servers, **common}}

    groups = groups_of(providers)
    if groups is None or not groups.weights:
        yield name, balanced(providers)
        return
    weighted = []
    for group, weight in groups.weights.items():
        yield f"{name}~{group}", balanced(groups.members[group])
        weighted.append({"name": f"{name}~{group}", "weight": weight})
    yield name, {"weighted": {"services": weighted}}


def _servers(
    protocol: Protocol, providers: Iterator[Provider]
) -> list[Mapping[str, Any]]:
    """Return the servers in order of id.

    Those of weight 0 only if there are no others. TCP servers have no weights.
    """
    members = sorted(providers, key=lambda provider: provider.entry.id)
    weighty = [provider for provider in members if provider.weight]
    if protocol == "tcp":
        return [provider.server for provider in weighty or members]
    return [
        {**provider.server, "weight": provider.weight or 1}
        for provider in weighty or members
    ]


def _options(
    cache: ProviderCache, part: _Part, kind: str, known: Any
) -> dict[str, Any]:
    """Return what the labels of a capability's providers say, healthy or not.

    If several say something, the one that registered last does.
    """
    prefix = f"traefik.{part.protocol}.{kind}.{part.capability}."
    chosen: dict[str, Any] = {}
    labelled = [
        provider
        for provider in map(cache.of, part.providers.entries)
        if provider.labels
    ]
    for provider in sorted(labelled, key=_age):
        chosen = options(provider.labels, prefix, known) or chosen
    return chosen


def _age(provider: Provider) -> tuple[datetime, str]:
    return provider.entry.registered_at, provider.entry.id
