"""What a sidecar and the registry agree on, beside their calls."""

from typing import Final

MESH: Final = "mesh"
"""What of a registration's metadata, and of a node's, is about the mesh."""

MTLS: Final = "mtls"
"""The value in a registration's metadata of who takes calls by mutual TLS alone."""

CERTIFICATE, TRUST = "certificate", "trust"
"""The names of a sidecar's secrets, and of their files."""

SECRETS: Final = (CERTIFICATE, TRUST)

INBOUND, OUTBOUND = "@inbound", "@egress"
"""The names of a sidecar's listeners; no capability has them."""

APP: Final = "@app"
"""The name of the cluster of the service beside the sidecar, in Envoy's own file."""


def path_of(secret: str) -> str:
    """Return where a secret is, in the folder of the sidecar, in which Envoy runs.

    So it is the same for all sidecars, and they share what refers to it.
    """
    return f"./{secret}.json"
