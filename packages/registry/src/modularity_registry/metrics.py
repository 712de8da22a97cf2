"""What the registry counts, by Prometheus' names."""

from prometheus_client import CollectorRegistry, Histogram

# From well under a frame of a screen to what nobody would call prompt any more.
_PROPAGATION = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Metrics:
    """The metrics of one registry, in a collector registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.propagation = Histogram(
            "registry_propagation_seconds",
            "Time from a change being accepted to its event being written.",
            registry=self.registry,
            buckets=_PROPAGATION,
        )
