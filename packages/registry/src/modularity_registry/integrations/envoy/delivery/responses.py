"""The messages that resources travel in."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryResponse,
    DiscoveryResponse,
)

from modularity_registry.integrations.envoy.kinds import Kind
from modularity_registry.integrations.envoy.resources.source import (
    Resource,
    version_of,
)

REMEMBERED: Final = 32
"""So many responses need not be made again: many nodes get the same."""


class Response(NamedTuple):
    """A response without its nonce, as bytes, and the version that it has."""

    body: bytes
    version: str


@lru_cache(REMEMBERED)
def whole(kind: Kind, resources: tuple[Resource, ...]) -> Response:
    """Return a response of the state of the world."""
    version = version_of_all(resources)
    message = DiscoveryResponse(version_info=version, type_url=kind.type_url)
    for each in resources:
        message.resources.add(type_url=kind.type_url, value=each.body)
    return Response(message.SerializeToString(), version)


@lru_cache(REMEMBERED)
def delta(
    kind: Kind, resources: tuple[Resource, ...], removed: tuple[str, ...]
) -> Response:
    """Return a response with what has changed, and what is gone."""
    version = version_of_all(resources)
    message = DeltaDiscoveryResponse(
        system_version_info=version, type_url=kind.type_url, removed_resources=removed
    )
    for each in resources:
        one = message.resources.add(name=each.name, version=each.version)
        one.resource.type_url, one.resource.value = kind.type_url, each.body
    return Response(message.SerializeToString(), version)


def version_of_all(resources: Sequence[Resource]) -> str:
    """Return the version of several resources: that of the one, if it is one."""
    if len(resources) == 1:
        return resources[0].version
    return version_of("".join(each.version for each in resources).encode())


def with_nonce(body: bytes, nonce: str, is_delta: bool) -> bytes:
    """Return a response with its nonce; two messages behind each other are one."""
    kind = DeltaDiscoveryResponse if is_delta else DiscoveryResponse
    tail: bytes = kind(nonce=nonce).SerializeToString()
    return body + tail
