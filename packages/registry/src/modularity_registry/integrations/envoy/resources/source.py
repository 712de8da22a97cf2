"""Where resources come from, and all that one node may see of them."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from google.protobuf.message import Message

from modularity_registry.integrations.envoy.kinds import Kind
from modularity_registry.integrations.envoy.node import Node

Names = dict[Kind, frozenset[str]]
"""Names of resources, by kind."""

Tell = Callable[[Names | None], None]
"""Takes the names of resources that may have changed; None for any."""


class Resource(NamedTuple):
    """A resource, rendered. Equal contents have equal versions on all replicas.

    ``body`` is the message of its kind, ``weight`` of bytes.
    """

    name: str
    version: str
    body: bytes


def resource(name: str, message: Message) -> Resource:
    """Return ``message`` as the resource with this name."""
    body = message.SerializeToString(deterministic=True)
    return Resource(name, version_of(body), body)


def version_of(content: bytes) -> str:
    """Return what no other content has, on every replica and after every start."""
    return hashlib.blake2b(content, digest_size=9).hexdigest()


class Source(Protocol):
    """Where some of the resources come from. All of it is called on the event loop."""

    def names(self, kind: Kind, node: Node) -> Sequence[str]:
        """Return the names of all that a node gets that asks for everything."""

    def covers(self, kind: Kind, name: str, node: Node) -> bool:
        """Say whether a name is, was or may be one of these names."""

    def find(self, kind: Kind, name: str, node: Node) -> Resource | None:
        """Return a resource as this node is to have it; None if it is not of here.

        It is called again and again: what is the same for many is to be made once.
        """

    def listen(self, tell: Tell) -> None:
        """Call ``tell`` with what may have changed, from now on."""


class Snapshot:
    """What one node may see of several sources, at the time of each call.

    Of two resources with the same name, that of the first source counts.
    """

    __slots__ = ("_sources", "node")

    def __init__(self, sources: Sequence[Source], node: Node) -> None:
        self._sources = sources
        self.node = node

    def names(self, kind: Kind) -> Iterable[str]:
        """Return the names of all that asking for everything means, each once."""
        if len(self._sources) == 1:
            return self._sources[0].names(kind, self.node)
        return dict.fromkeys(
            name for source in self._sources for name in source.names(kind, self.node)
        )

    def covers(self, kind: Kind, name: str) -> bool:
        """Say whether asking for everything means this name as well."""
        return any(source.covers(kind, name, self.node) for source in self._sources)

    def find(self, kind: Kind, name: str) -> Resource | None:
        """Return the resource with this name; None if there is none."""
        for source in self._sources:
            resource = source.find(kind, name, self.node)
            if resource is not None:
                return resource
        return None


class Sources:
    """All sources. Those that are added first win over those that come after."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self._listeners: list[Tell] = []
        for source in sources:
            source.listen(self._tell)

    def add_first(self, source: Source) -> None:
        """Add a source whose resources win over all others'."""
        self._sources.insert(0, source)
        source.listen(self._tell)

    def listen(self, tell: Tell) -> None:
        """Call ``tell`` with what may have changed in any of them."""
        self._listeners.append(tell)

    def for_node(self, node: Node) -> Snapshot:
        """Return what a node may see."""
        return Snapshot(self._sources, node)

    def _tell(self, names: Names | None) -> None:
        for tell in self._listeners:
            tell(names)
