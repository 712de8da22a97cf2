"""The same resources by REST, on the registry's own port, for nodes that ask again."""

from collections.abc import Sequence
from functools import lru_cache, partial
from http import HTTPStatus
from time import monotonic
from typing import Any, Final

import msgspec
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Node as NodeMessage
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from modularity_registry import tasks
from modularity_registry.errors import InvalidRequest
from modularity_registry.integrations.envoy.delivery.responses import version_of_all
from modularity_registry.integrations.envoy.delivery.subscriptions import (
    ALL,
    MOST_NAMES,
)
from modularity_registry.integrations.envoy.kinds import Kind
from modularity_registry.integrations.envoy.node import Node, Way, node_of
from modularity_registry.integrations.envoy.nodes import Nodes, NodeState
from modularity_registry.integrations.envoy.resources.source import (
    Resource,
    Snapshot,
    Sources,
)
from modularity_registry.integrations.http import Application, Call, Reply, Route

PREFIX: Final = "/v3/discovery:"
HOLD: Final = 10.0
"""Seconds that routes wait for a node to have all clusters: it asks for each twice."""

REMEMBERED: Final = 4096
"""So many resources need not be written as JSON again."""

_MESSAGES: Final[dict[Kind, Any]] = {
    Kind.CLUSTERS: Cluster,
    Kind.ENDPOINTS: ClusterLoadAssignment,
    Kind.LISTENERS: Listener,
    Kind.ROUTES: RouteConfiguration,
}

# Of a node, what matters here. Envoy names its extensions as well, hundreds of them.
_OF_NODE: Final = ("id", "cluster", "locality", "metadata")


class _Error(msgspec.Struct):
    message: str = ""


class _Request(msgspec.Struct):
    """A DiscoveryRequest; in JSON, each field may be written in two ways."""

    node: dict[str, Any] = msgspec.field(default_factory=dict)
    version_info: str = ""
    resource_names: list[str] = msgspec.field(default_factory=list)
    error_detail: _Error | None = None
    other_version: str = msgspec.field(default="", name="versionInfo")
    other_names: list[str] = msgspec.field(default_factory=list, name="resourceNames")
    other_error: _Error | None = msgspec.field(default=None, name="errorDetail")

    @property
    def version(self) -> str:
        return self.version_info or self.other_version

    @property
    def names(self) -> list[str]:
        return self.resource_names or self.other_names

    @property
    def refusal(self) -> str | None:
        error = self.error_detail or self.other_error
        return None if error is None else error.message


_decode = msgspec.json.Decoder(_Request).decode


class RestApplication(Application):
    """``POST /v3/discovery:clusters`` and its like. 304 says that nothing is new."""

    def __init__(self, sources: Sources, nodes: Nodes) -> None:
        self._sources = sources
        self._nodes = nodes
        routes = [
            Route("POST", PREFIX + kind.label, partial(self._fetch, kind))
            for kind in Kind
        ]
        super().__init__((PREFIX,), routes)

    async def _fetch(self, kind: Kind, call: Call) -> Reply:
        try:
            request = _decode(call.body)
            node = _node(request.node)
        except (msgspec.MsgspecError, ParseError) as error:
            raise InvalidRequest(
                f"this is no DiscoveryRequest of xDS v3 in JSON: {error}"
            ) from None
        if len(request.names) > MOST_NAMES:
            raise InvalidRequest(
                f"a request may name {MOST_NAMES} resources; name fewer, or none for"
                " all"
            )
        snapshot = self._sources.for_node(node)
        state = self._nodes.poller(node, call.client)
        self._take(state, kind, request)
        if kind is Kind.ENDPOINTS and request.version:
            await _note_supplied(state, request.names, snapshot)
        resources = await _resources(snapshot, kind, request.names)
        version = version_of_all(resources)
        if kind is Kind.ENDPOINTS and version == request.version:
            _note_empty(state, resources)
        if version == request.version or _holds(state, kind, request, snapshot):
            return Reply(HTTPStatus.NOT_MODIFIED)
        self._nodes.sent(state, kind, version)
        if len(state.unanswered) < MOST_NAMES:
            state.unanswered.add(version)
        parts = []
        async for resource in tasks.in_slices(resources):
            parts.append(_json(kind, resource))
        head = b'{"version_info":"%b","type_url":"%b","resources":['
        head %= version.encode(), kind.type_url.encode()
        return Reply(HTTPStatus.OK, head + b",".join(parts) + b"]}")

    def _take(self, state: NodeState, kind: Kind, request: _Request) -> None:
        """Note what a node says of the last response."""
        shown, refusal = request.version, request.refusal
        if refusal is not None:
            self._nodes.answered(state, kind, state.sent.get(kind, ""), refusal)
        elif shown in state.unanswered:
            # Of endpoints, a node asks for each cluster by itself.
            state.unanswered.discard(shown)
            self._nodes.answered(state, kind, shown, None)


async def _note_supplied(
    state: NodeState, names: Sequence[str], snapshot: Snapshot
) -> None:
    """Note of which clusters a node has the endpoints; other names it may make up."""
    async for name in tasks.in_slices(names):
        cluster = snapshot.find(Kind.CLUSTERS, name)
        if cluster is not None and len(state.supplied) < MOST_NAMES:
            state.supplied.add(cluster.name)  # Of all nodes, the same text.


def _note_empty(state: NodeState, resources: Sequence[Resource]) -> None:
    """Note which clusters have no endpoints, as the node knows."""
    for each in resources:
        if each.name in state.supplied and _is_empty(each):
            state.empty.add(each.name)
        else:
            state.empty.discard(each.name)


@lru_cache(REMEMBERED)
def _is_empty(endpoints: Resource) -> bool:
    return not ClusterLoadAssignment.FromString(endpoints.body).endpoints


def _has_news(state: NodeState, snapshot: Snapshot) -> bool:
    """Say whether a cluster has got endpoints since the node found it without any."""
    found = (snapshot.find(Kind.ENDPOINTS, name) for name in state.empty)
    return any(each is not None and not _is_empty(each) for each in found)


def _holds(state: NodeState, kind: Kind, request: _Request, snapshot: Snapshot) -> bool:
    """Say whether routes have to wait, since the node lacks a cluster's endpoints.

    A node that never asks for some of them gets the routes nevertheless, later.
    """
    if kind.comes_first or not request.version or Kind.CLUSTERS not in state.sent:
        return False
    names = frozenset(snapshot.names(Kind.CLUSTERS))
    state.supplied &= names  # One that comes back is another one.
    state.empty &= names
    if state.supplied.issuperset(names) and not _has_news(state, snapshot):
        state.held_until = None
        return False
    if state.held_until is None:
        state.held_until = monotonic() + HOLD
    return monotonic() < state.held_until


async def _resources(
    snapshot: Snapshot, kind: Kind, asked: Sequence[str]
) -> list[Resource]:
    """Return what is asked for, by name; all if nothing is named."""
    names: list[str] = sorted({*asked} - {ALL})
    if not asked or ALL in asked:
        names = list(dict.fromkeys((*snapshot.names(kind), *names)))
    resources = []
    async for name in tasks.in_slices(names):
        resource = snapshot.find(kind, name)
        if resource is not None:
            resources.append(resource)
    return resources


def _node(content: dict[str, Any]) -> Node:
    known: dict[str, Any] = {key: content[key] for key in _OF_NODE if key in content}
    message = ParseDict(known, NodeMessage(), ignore_unknown_fields=True)
    return node_of(message, Way.REST)


@lru_cache(REMEMBERED)
def _json(kind: Kind, resource: Resource) -> bytes:
    message = _MESSAGES[kind].FromString(resource.body)
    fields = MessageToDict(message, preserving_proto_field_name=True)
    return msgspec.json.encode({"@type": kind.type_url, **fields})
