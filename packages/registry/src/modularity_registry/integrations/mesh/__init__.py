"""A mesh of sidecars: mutual TLS with short-lived certificates, and who may call what.

``authority`` keeps the root certificates in the store and issues certificates,
``intentions`` keeps who may call what, and ``resources`` makes Envoy's resources of
both, for the nodes that are sidecars. The integration ``envoy`` brings them there, and
the command ``modularity-registry mesh run`` runs the sidecar.
"""

from pathlib import Path

from modularity_registry.config import OFF, Settings
from modularity_registry.errors import BadSetting
from modularity_registry.integrations import Integration
from modularity_registry.integrations.mesh.authority.key_file import read_key_file
from modularity_registry.runtime import Registry


def check(settings: Settings) -> None:
    """Raise `BadSetting` if the key file can't be read."""
    if settings.mesh_key_file == OFF:
        return
    try:
        read_key_file(Path(settings.mesh_key_file))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadSetting(
            f"--mesh-key-file {settings.mesh_key_file} can't be used: {reason}"
        ) from error


def create(registry: Registry) -> Integration:
    """Return the part, not started."""
    from modularity_registry.integrations.mesh.part import Mesh

    return Mesh(registry)
