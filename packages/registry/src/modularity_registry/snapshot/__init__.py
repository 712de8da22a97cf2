"""A file with the catalog, from which a replica serves until it has read its store."""

from modularity_registry.snapshot.preview import Preview, Previewed
from modularity_registry.snapshot.reading import Snapshot, read
from modularity_registry.snapshot.writer import SnapshotWriter, Source

__all__ = ["Preview", "Previewed", "Snapshot", "SnapshotWriter", "Source", "read"]
