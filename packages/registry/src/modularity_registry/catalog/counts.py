"""How many services there are of each kind, kept up to date with every change."""

from collections import Counter

from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.regions import Regions


class Counts:
    """The services of a catalog in numbers. Written by the catalog alone."""

    def __init__(self) -> None:
        self.by_status_and_mode: Counter[tuple[str, str]] = Counter()
        self.by_runtime: Counter[str] = Counter()
        self.document_bytes = 0
        self.by_owner: Counter[str] = Counter()
        self.bytes_by_owner: Counter[str] = Counter()
        self.regions = Regions()

    def count(self, old: Entry | None, new: Entry | None) -> None:
        """Note that ``new`` has taken the place of ``old``."""
        self.regions.count(old, new)
        if new is not None:
            self.by_status_and_mode[new.status, new.mode] += 1
            self.by_runtime[new.runtime] += 1
            self.document_bytes += len(new.document)
            self.by_owner[new.owner] += 1
            self.bytes_by_owner[new.owner] += len(new.document)
        if old is not None:
            self.document_bytes -= len(old.document)
            self.by_owner[old.owner] -= 1
            self.bytes_by_owner[old.owner] -= len(old.document)
            if not self.by_owner[old.owner]:
                del self.by_owner[old.owner], self.bytes_by_owner[old.owner]
            self.by_status_and_mode[old.status, old.mode] -= 1
            self.by_runtime[old.runtime] -= 1
            if not self.by_runtime[old.runtime]:
                del self.by_runtime[old.runtime]
