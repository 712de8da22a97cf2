"""Who asks: an Envoy or a gRPC client, as it says of itself."""

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from google.protobuf.json_format import MessageToDict

EGRESS: Final = "egress"
"""What of a node's metadata says where its outbound listener listens."""

DEFAULT_EGRESS: Final = ("127.0.0.1", 15001)

LONGEST: Final = 256
"""Of an id, characters that are kept."""

LARGEST: Final = 65_536
"""Of the metadata, bytes up to which it is kept."""


class Way(Enum):
    """How a node gets its resources, and is told to get those that they refer to."""

    ADS = "ads"
    GRPC = "grpc"
    DELTA_GRPC = "delta_grpc"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Node:
    """One who asks. ``zone`` and ``region`` are where it is; empty if it does not say.

    ``egress`` is the host and port of its outbound listener, ``metadata`` all that it
    says of itself, as JSON.
    """

    id: str
    cluster: str = ""
    zone: str = ""
    region: str = ""
    way: Way = Way.ADS
    egress: tuple[str, int] = DEFAULT_EGRESS
    metadata: str = "{}"


def node_of(message: Any, way: Way) -> Node:
    """Return the node that a message ``envoy.config.core.v3.Node`` describes."""
    locality = message.locality
    return Node(
        message.id[:LONGEST],
        message.cluster[:LONGEST],
        locality.zone[:LONGEST],
        locality.region[:LONGEST],
        way,
        _egress(message.metadata.fields),
        _json(message.metadata),
    )


def _json(metadata: Any) -> str:
    """Return a node's metadata as JSON; that of an empty object for a long one."""
    if metadata.ByteSize() > LARGEST:
        return "{}"
    return json.dumps(MessageToDict(metadata), sort_keys=True)


def _egress(metadata: Any) -> tuple[str, int]:
    """Return the address in a node's metadata, as a port or as ``host:port``."""
    if EGRESS not in metadata:  # Asking for it would add it.
        return DEFAULT_EGRESS
    value = metadata[EGRESS]
    text = value.string_value or f"{value.number_value:.0f}"
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        return DEFAULT_EGRESS
    return host.strip("[]") or DEFAULT_EGRESS[0], int(port)
