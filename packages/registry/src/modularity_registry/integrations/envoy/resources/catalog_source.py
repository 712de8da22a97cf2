"""The catalog as a source of resources: a few for each capability."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from modularity_registry import tasks
from modularity_registry.catalog.catalog import Capability, Catalog
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.splits import groups_of
from modularity_registry.catalog.zones import Place
from modularity_registry.integrations.envoy.kinds import Kind
from modularity_registry.integrations.envoy.node import Node
from modularity_registry.integrations.envoy.resources.clusters import (
    GROUP,
    HTTPS,
    cluster,
    cluster_name,
)
from modularity_registry.integrations.envoy.resources.endpoints import assignment
from modularity_registry.integrations.envoy.resources.listeners import (
    outbound_listener,
    target_listener,
)
from modularity_registry.integrations.envoy.resources.places import (
    Destination,
    HostNames,
    destination_of,
)
from modularity_registry.integrations.envoy.resources.routes import (
    OUTBOUND,
    Target,
    outbound_routes,
    target_routes,
)
from modularity_registry.integrations.envoy.resources.source import (
    Resource,
    Tell,
    resource,
)
from modularity_registry.schema.patterns import LONGEST_CAPABILITY

LINGER: Final = 60.0
"""Seconds that a cluster stays whose capability, or group of a split, is gone.

Until then, every Envoy has new routes that do not need it, and a capability whose
providers all restart comes back to the same cluster.
"""

LONGEST_NAME: Final = 2 * LONGEST_CAPABILITY
"""Of a resource, characters: those of a capability, and of a group of its split."""


class Shape(NamedTuple):
    """What clusters, listeners and routes of a capability depend on."""

    clusters: tuple[str, ...]
    protocol: str
    tls: bool
    target: Target


class CatalogSource:
    """Resources made of the catalog, each once for all nodes that get the same.

    ``host_names`` are told from where a name's addresses are needed.
    """

    def __init__(
        self,
        catalog: Catalog,
        host_names: Callable[[Callable[[str], None]], HostNames],
    ) -> None:
        self.host_names = host_names(self._host_changed)
        self._catalog = catalog
        self._tell: Tell = lambda names: None
        self._shapes: dict[str, Shape] = {}
        self._gone: dict[str, Shape] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        # The host names of a capability's providers, and the other way round.
        self._hosts: dict[str, frozenset[str]] = {}
        self._capabilities_at: dict[str, set[str]] = {}
        # By capability: what depends on it.
        self._made: dict[str, dict[Any, Resource]] = {}
        self._outbound: Resource | None = None
        self._noted: set[str] = set()
        self._all_changed = False
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # What there is

    def listen(self, tell: Tell) -> None:
        self._tell = tell

    def names(self, kind: Kind, node: Node) -> Sequence[str]:
        if kind in (Kind.LISTENERS, Kind.ROUTES):
            # Envoy can't use the listeners that are for gRPC, and would complain.
            return (OUTBOUND,)
        shapes = (*self._shapes.values(), *self._gone.values())
        return list(dict.fromkeys(name for one in shapes for name in one.clusters))

    def covers(self, kind: Kind, name: str, node: Node) -> bool:
        return kind in (Kind.CLUSTERS, Kind.ENDPOINTS) or name == OUTBOUND

    def find(self, kind: Kind, name: str, node: Node) -> Resource | None:
        if len(name) > LONGEST_NAME:  # No cluster can have it, and nobody keeps it.
            return None
        if name == OUTBOUND:
            return self._find_outbound(kind, node)
        capability, _, group = name.partition(GROUP)
        shape = self._shapes.get(capability) or self._gone.get(capability)
        if kind is Kind.ENDPOINTS:
            return self._endpoints(shape, name, capability, group, node)
        is_known = name in shape.clusters if shape else False
        if shape is None or not (is_known or self._lingers(name)):
            return None
        if kind is Kind.CLUSTERS:
            way, protocol, tls = node.way, shape.protocol, shape.tls
            return self._once(
                name, (kind, way), lambda: cluster(name, protocol, tls, way)
            )
        if group:
            return None
        target = shape.target
        if kind is Kind.ROUTES:
            return self._once(name, kind, lambda: target_routes(target))
        return self._once(name, kind, lambda: target_listener(target_routes(target)))

    def _lingers(self, name: str) -> bool:
        gone = self._gone.get(name.partition(GROUP)[0])
        return gone is not None and name in gone.clusters

    def _find_outbound(self, kind: Kind, node: Node) -> Resource | None:
        if kind is Kind.LISTENERS:
            return _outbound_listener(node.egress, node.way)
        if kind is not Kind.ROUTES:
            return None
        if self._outbound is None:
            special = [
                shape.target
                for _, shape in sorted(self._shapes.items())
                if not shape.target.is_plain
            ]
            self._outbound = resource(OUTBOUND, outbound_routes(special))
        return self._outbound

    def _endpoints(
        self, shape: Shape | None, name: str, capability: str, group: str, node: Node
    ) -> Resource:
        offered = self._catalog.capability(capability)
        if offered is None or shape is None:
            # Whoever waits for endpoints is better off with none.
            return _nobody(name, self._catalog.zone_threshold)
        if group and name not in shape.clusters and not self._lingers(name):
            return _nobody(name, self._catalog.zone_threshold)
        entries = _members(offered, group)
        place = self._place(entries, node)
        return self._once(
            name,
            (Kind.ENDPOINTS, place),
            lambda: assignment(
                name,
                entries,
                place,
                self.host_names.addresses,
                self._catalog.zone_threshold,
            ),
        )

    def _place(self, entries: Sequence[Entry], node: Node) -> Place:
        """Return where a node is, as far as that makes a difference."""
        if not (node.zone or node.region):
            return Place("")
        region = node.region or self._catalog.regions.of(node.zone)
        zones = {entry.zone for entry in entries}
        regions = {entry.region for entry in entries}
        return Place(
            node.zone if node.zone in zones else "",
            region if region in regions else "",
        )

    def _once(self, name: str, key: object, make: Callable[[], Message]) -> Resource:
        made = self._made.setdefault(name.partition(GROUP)[0], {})
        found = made.get((name, key))
        if found is None:
            found = made[name, key] = resource(name, make())
        return found

    # What changes

    async def start(self) -> None:
        """Read the whole catalog, and follow what is noted from now on."""
        self.note(None)
        await self._take_noted()
        self.host_names.start()
        self._task = tasks.start("envoy-catalog", self._run())

    async def stop(self) -> None:
        """Follow nothing any more. Idempotent."""
        task, self._task = self._task, None
        await tasks.cancel(task)
        await self.host_names.stop()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def note(self, capabilities: Iterable[str] | None) -> None:
        """Note that these have changed, None for any. Looked at soon, in slices."""
        if capabilities is None:
            self._all_changed = True
            names = (capability.name for capability in self._catalog.capabilities())
            self._noted.update(names, self._shapes)
        else:
            self._noted.update(capabilities)
        self._news.set()

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            await self._take_noted()

    async def _take_noted(self) -> None:
        self._news.clear()
        everything, self._all_changed = self._all_changed, False
        names, self._noted = self._noted, set()
        async for name in tasks.in_slices(names):
            self.changed((name,))
        if everything:
            self._outbound = None
            self._tell(None)

    def changed(self, capabilities: Iterable[str]) -> None:
        """Take note that providers or splits of these capabilities have changed."""
        names: dict[Kind, set[str]] = {kind: set() for kind in Kind}
        for capability in capabilities:
            before, after = self._update(capability)
            clusters = {*before.clusters, *after.clusters} if before else ()
            names[Kind.ENDPOINTS].update(clusters or after.clusters)
            if before == after:
                continue
            names[Kind.CLUSTERS].update(clusters or after.clusters)
            names[Kind.LISTENERS].add(capability)
            names[Kind.ROUTES].add(capability)
            targets = {after.target, before.target if before else after.target}
            if not all(target.is_plain for target in targets):
                self._outbound = None
                names[Kind.ROUTES].add(OUTBOUND)
        self._tell({kind: frozenset(those) for kind, those in names.items() if those})

    def _update(self, name: str) -> tuple[Shape | None, Shape]:
        """Take the present shape of a capability; return the one before, and it."""
        self._made.pop(name, None)
        before = self._shapes.get(name)
        capability = self._catalog.capability(name)
        targets = _targets(capability) if capability else ()
        self._update_hosts(name, targets)
        after = _shape(capability, targets) if capability and targets else None
        if after is not None:
            self._shapes[name] = after
        else:
            self._shapes.pop(name, None)
        if before is not None and (
            after is None or not set(before.clusters) <= set(after.clusters)
        ):
            self._linger(name, before)
        nothing = Shape((), "http1", False, Target(name))
        return before, after or nothing

    def _update_hosts(self, name: str, targets: Iterable[Destination]) -> None:
        """Have those host names looked up that providers of a capability are at."""
        locations = {
            target.location.host: target.location
            for target in targets
            if target.location.address is None
        }
        before = self._hosts.get(name, frozenset())
        for host in before - locations.keys():
            self._capabilities_at[host].discard(name)
            if not self._capabilities_at[host]:
                del self._capabilities_at[host]
                self.host_names.forget(host)
        for host, location in locations.items():
            self._capabilities_at.setdefault(host, set()).add(name)
            self.host_names.want(location)
        if locations:
            self._hosts[name] = frozenset(locations)
        else:
            self._hosts.pop(name, None)

    def _linger(self, name: str, shape: Shape) -> None:
        earlier = self._gone.get(name)
        if earlier is not None:
            clusters = dict.fromkeys((*earlier.clusters, *shape.clusters))
            shape = shape._replace(clusters=tuple(clusters))
        self._gone[name] = shape._replace(target=Target(name, path=shape.target.path))
        if name in self._timers:
            self._timers[name].cancel()
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(LINGER, self._forget, name)

    def _forget(self, name: str) -> None:
        del self._timers[name]
        gone = frozenset(self._gone.pop(name).clusters)
        self._made.pop(name, None)
        self._tell(
            {
                Kind.CLUSTERS: gone,
                Kind.ENDPOINTS: gone,
                Kind.LISTENERS: frozenset((name,)),
                Kind.ROUTES: frozenset((name,)),
            }
        )

    def _host_changed(self, host: str) -> None:
        self.changed(tuple(self._capabilities_at.get(host, ())))


def _members(capability: Capability, group: str) -> Sequence[Entry]:
    providers = capability.providers()
    split = capability.split
    if not group or split is None or group not in split.groups:
        # Until routes no longer name a group that is gone, anybody will do.
        return providers.entries
    groups = groups_of(providers)
    members = groups.members.get(group) if groups else None
    return members.entries if members else ()


def _targets(capability: Capability) -> Sequence[Destination]:
    """Return where the providers are that can be called from elsewhere."""
    entries = capability.providers().entries
    return [target for entry in entries if (target := destination_of(entry))]


def _shape(capability: Capability, targets: Sequence[Destination]) -> Shape:
    schemes = {target.location.scheme for target in targets}
    speaks_grpc = "grpc" in schemes
    protocol = "http1" if not speaks_grpc else "http2" if len(schemes) == 1 else "both"
    paths = {target.location.path for target in targets}
    path = paths.pop() if len(paths) == 1 else ""
    groups = groups_of(capability.providers())
    weights = tuple(groups.weights.items()) if groups else ()
    names = tuple(capability.split.groups) if capability.split else ()
    name = capability.name
    clusters = tuple(cluster_name(name, group) for group in ("", *names))
    return Shape(clusters, protocol, HTTPS in schemes, Target(name, weights, path))


@lru_cache(1024)
def _outbound_listener(address: tuple[str, int], way: Any) -> Resource:
    return resource(OUTBOUND, outbound_listener(address, way))


@lru_cache(1024)
def _nobody(name: str, threshold: float) -> Resource:
    return resource(name, assignment(name, (), Place(""), lambda _: (), threshold))
