"""What a sidecar says of itself, in its node's metadata."""

from functools import lru_cache
from typing import Annotated, Literal

import msgspec

from modularity_registry.schema import MAX_CAPABILITIES
from modularity_registry.schema.patterns import LONGEST_CAPABILITY

Text = Annotated[str, msgspec.Meta(max_length=512)]
Capability = Annotated[str, msgspec.Meta(max_length=LONGEST_CAPABILITY)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class Sidecar(msgspec.Struct, frozen=True):
    """A sidecar with mutual TLS, and the service beside it.

    It takes calls at ``address`` and ``port``. Checks of the registry come to
    ``health_path`` there, without TLS.
    """

    service_id: Text
    capabilities: Annotated[
        tuple[Capability, ...], msgspec.Meta(max_length=MAX_CAPABILITIES)
    ]
    address: Text
    port: Port
    health_path: Text
    protocol: Literal["http", "grpc"] = "http"


class _Metadata(msgspec.Struct, frozen=True):
    mesh: Sidecar | None = None


# Envoy's numbers are floating-point ones.
_convert = msgspec.json.Decoder(_Metadata, strict=False).decode


@lru_cache(1024)  # A node's metadata may be long.
def sidecar_of(metadata: str) -> Sidecar | None:
    """Return the sidecar that a node is; None if it says nothing that can be used."""
    try:
        return _convert(metadata).mesh
    except msgspec.DecodeError:
        return None
