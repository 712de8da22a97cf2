"""xDS v3: Envoy and gRPC clients learn of services, their health and their splits.

``resources`` makes them of the catalog, ``delivery`` brings them to nodes by streams
and by REST. Another part may have resources of its own, for all nodes or for some: it
is a `Source`, whose ``names`` and ``find`` are told which `Node` asks, and hands itself
to `Envoy.add_source` before the start::

    class Mesh(Integration):
        def connect(self, parts: Mapping[str, Integration]) -> None:
            envoy = parts.get("envoy")
            if isinstance(envoy, Envoy):
                envoy.add_source(MeshSource(...))

`Sources.for_node` puts all of them together, as the `Snapshot` that one node sees. A
source calls what `Source.listen` has given it with the names of what may have changed:
each stream then looks at these, and sends those whose version is another one. What a
source returns for the names of another source takes their place, so a part may replace
a listener of the registry's own for a node.
"""

from modularity_registry.config import Settings
from modularity_registry.errors import BadSetting
from modularity_registry.integrations import Integration
from modularity_registry.integrations.envoy.delivery import port
from modularity_registry.runtime import Registry


def check(settings: Settings) -> None:
    """Raise `BadSetting` if Envoy's messages or the port can't be had."""
    try:
        # Before the registry listens, and once for all workers: it takes a moment.
        from modularity_registry.integrations.envoy import part  # noqa: F401
    except ModuleNotFoundError as error:
        raise BadSetting(
            "--integrations envoy needs the package xds-protos, which is not"
            ' installed; run pip install "modularity-registry[envoy]"'
        ) from error
    if settings.xds_port:
        port.check(settings)


def create(registry: Registry) -> Integration:
    """Return the part, not started."""
    from modularity_registry.integrations.envoy.part import Envoy

    return Envoy(registry)
