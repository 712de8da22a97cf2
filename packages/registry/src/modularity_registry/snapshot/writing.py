"""Writes a snapshot file: a piece at a time, and under its name when it is whole."""

import os
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.entry import Entry
from modularity_registry.snapshot import layout
from modularity_registry.snapshot.layout import Index, Numbers, Section, Stored
from modularity_registry.stores.base import Record

PRIVATE: Final = 0o600
"""It holds tokens' hashes and private metadata, as the store does."""

LEVEL: Final = 1
"""Of zlib: three times as fast as the default, and a fifth larger."""

Step = Callable[[], None]


class SnapshotFile:
    """A file that is being written; each method blocks."""

    def __init__(self, path: Path) -> None:
        """Begin; raises `OSError`."""
        self._path = path
        self._new = path.with_name(path.name + ".new")
        self._new.unlink(missing_ok=True)  # of one who was killed
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        self._file: BinaryIO = os.fdopen(os.open(self._new, flags, PRIVATE), "wb")
        self._checksum = 0
        self.position = 0
        self.write(layout.MAGIC)

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)
        self._checksum = zlib.crc32(data, self._checksum)
        self.position += len(data)

    def write_blocks(self, services: list[Stored], starts: "array[int]") -> None:
        """Append services in blocks, and note where each begins."""
        for first in range(0, len(services), layout.BLOCK):
            starts.append(self.position)
            block = layout.encode(services[first : first + layout.BLOCK])
            self.write(zlib.compress(block, LEVEL))

    def finish(self, index: Index) -> None:
        """Write the index and the end, and give the file its name."""
        begin = self.position
        self.write(layout.encode(index))
        self.write(layout.END.pack(begin, 0)[: -layout.CHECKSUM.size])
        self._file.write(layout.CHECKSUM.pack(self._checksum))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._new, self._path)
        _sync_folder(self._path.parent)

    def abandon(self) -> None:
        """Leave the former file as it is. Idempotent, and for one that is finished."""
        self._file.close()
        self._new.unlink(missing_ok=True)


class SectionWriter:
    """Writes the services of one catalog. ``section`` is there when all are written.

    The catalog may change meanwhile: each service is written as it is when its turn
    comes, and who comes later is left out.
    """

    def __init__(
        self, file: SnapshotFile, catalog: Catalog, records: Iterable[Record]
    ) -> None:
        self._file = file
        self._catalog = catalog
        self._records = [(one.key, one.value, one.revision) for one in records]
        self._starts = array("Q")
        self._ids, self._id_ends = bytearray(), array("I")
        self._providers: dict[str, array[int]] = {}
        self._services: list[Stored] = []
        self.section: Section | None = None

    def steps(self) -> Iterator[Step]:
        """Do the work of the event loop; yield what blocks, to be done in a thread.

        A step of either takes about a millisecond.
        """
        catalog = self._catalog
        revision, chunks = catalog.revision, catalog.id_chunks()
        names = catalog.capability_chunks()
        for chunk in chunks:
            for service_id in chunk:
                entry = catalog.service(service_id)
                if entry is not None:
                    self._add(entry)
            whole = len(self._services) // layout.BLOCK * layout.BLOCK
            ready, self._services = self._services[:whole], self._services[whole:]
            yield partial(self._file.write_blocks, ready, self._starts)
        yield partial(self._file.write_blocks, self._services, self._starts)
        self._starts.append(self._file.position)
        providers, ends = array("I"), array("I")
        text, text_ends = bytearray(), array("I")
        for chunk in names:
            for name in chunk:
                numbers = self._providers.pop(name, None)
                if numbers is not None:
                    providers.extend(numbers)
                    ends.append(len(providers))
                    text += name.encode()
                    text_ends.append(len(text))
            yield _nothing
        self.section = Section(
            revision,
            _names(self._ids, self._id_ends),
            memoryview(self._starts.tobytes()),
            _names(text, text_ends),
            memoryview(providers.tobytes()),
            memoryview(ends.tobytes()),
            _numbers(catalog),
            self._records,
        )

    def _add(self, entry: Entry) -> None:
        number = len(self._id_ends)
        self._ids += entry.id.encode()
        self._id_ends.append(len(self._ids))
        for name in entry.capabilities:
            numbers = self._providers.get(name)
            if numbers is None:
                numbers = self._providers[name] = array("I")
            numbers.append(number)
        self._services.append((entry.revision, entry.document))


def _nothing() -> None: ...


def _names(text: bytearray, ends: "array[int]") -> layout.Names:
    return layout.Names(memoryview(text), memoryview(ends.tobytes()))


def _numbers(catalog: Catalog) -> Numbers:
    return Numbers(
        [
            (status, mode, services)
            for (status, mode), services in catalog.by_status_and_mode.items()
        ],
        dict(catalog.by_runtime),
        dict(catalog.by_owner),
        dict(catalog.bytes_by_owner),
        catalog.document_bytes,
        catalog.regions.known(),
    )


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows has no such thing
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
