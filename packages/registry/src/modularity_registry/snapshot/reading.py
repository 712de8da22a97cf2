"""Reads a snapshot file, and answers from it without decoding all of it."""

import logging
import os
import stat
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec

from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import Capability, StoredService, View
from modularity_registry.catalog.counts import Counts
from modularity_registry.catalog.entry import Entry
from modularity_registry.errors import StoreCorrupt
from modularity_registry.model.split import Split
from modularity_registry.snapshot import layout
from modularity_registry.snapshot.layout import Index, Names, Section
from modularity_registry.stores.base import Record

log = logging.getLogger(__name__)

REMEMBERED: Final = 20_000
"""Services and capabilities that are kept decoded; the store's come soon."""

ValueT = TypeVar("ValueT")


class Unusable(Exception):
    """A snapshot can't be used; the text says why, after the name of the file."""


class Snapshot:
    """What a file holds; see `read`."""

    def __init__(self, data: bytes, index: Index) -> None:
        self._data = data
        self._index = index

    @property
    def epoch(self) -> str:
        """The history of the store's revisions that it is of."""
        return self._index.epoch

    @property
    def written_at(self) -> datetime:
        """When it was written, by the clock of the machine."""
        return self._index.written_at

    def revision(self, namespace: str) -> int:
        """Return how far the view of a namespace had come; "" is the default one."""
        return self._index.namespaces[namespace].revision

    def records(self, namespace: str) -> list[Record]:
        """Return the records of a namespace that are no services."""
        records = self._index.namespaces[namespace].records
        return [Record(key, value, revision) for key, value, revision in records]

    def view(
        self,
        namespace: str,
        entry: Callable[[StoredService], Entry],
        split: Callable[[str], Split | None],
    ) -> View:
        """Return the view of a namespace; entries and capabilities are made when asked.

        ``entry`` makes one of a service, ``split`` returns that of a capability.
        """
        section = self._index.namespaces[namespace]
        services = Services(self._data, section, entry)
        return View(
            services,
            Capabilities(section, services, split),
            section.ids,
            section.capabilities,
            _counts(section.numbers),
        )


class _Remembered(ABC, Generic[ValueT]):
    """Values by name: the last ones that were asked for are kept."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._made: dict[str, ValueT] = {}

    def __len__(self) -> int:
        return len(self._names)

    def get(self, name: str, /) -> ValueT | None:
        """Return what has this name; None if nothing has. For any thread."""
        value = self._made.get(name)
        if value is None:
            number = self._names.find(name)
            value = None if number is None else self._make(name, number)
            if value is not None:
                if len(self._made) >= REMEMBERED:
                    self._made.clear()
                self._made[name] = value
        return value

    @abstractmethod
    def _make(self, name: str, number: int) -> ValueT | None:
        """Return the value with this name and number; None if it can't be read."""


class Services(_Remembered[Entry]):
    """The services by id."""

    def __init__(
        self, data: bytes, section: Section, entry: Callable[[StoredService], Entry]
    ) -> None:
        super().__init__(section.ids)
        self._data = data
        self._blocks = section.blocks.cast("Q")
        self._entry = entry
        # The last block, for who reads one service after the other.
        self._unpacked: tuple[int, list[layout.Stored]] = -1, []

    def of_number(self, number: int) -> Entry | None:
        """Return the service with this number; None if it can't be read."""
        block, place = divmod(number, layout.BLOCK)
        unpacked = self._unpacked
        if unpacked[0] != block:
            packed = self._data[self._blocks[block] : self._blocks[block + 1]]
            unpacked = block, layout.decode_block(zlib.decompress(packed))
            self._unpacked = unpacked
        revision, document = unpacked[1][place]
        try:
            return self._entry(
                StoredService(documents.decode_any(document), document, revision)
            )
        except StoreCorrupt as error:
            log.error("the snapshot holds an unreadable service: %s", error.detail)
            return None

    def _make(self, name: str, number: int) -> Entry | None:
        return self.of_number(number)


class Capabilities(_Remembered[Capability]):
    """The capabilities by name."""

    def __init__(
        self,
        section: Section,
        services: Services,
        split: Callable[[str], Split | None],
    ) -> None:
        super().__init__(section.capabilities)
        self._providers = section.providers.cast("I")
        self._ends = section.ends.cast("I")
        self._services = services
        self._split = split

    def _make(self, name: str, number: int) -> Capability:
        capability = Capability(name, self._split(name))
        begin = self._ends[number - 1] if number else 0
        for service in self._providers[begin : self._ends[number]]:
            entry = self._services.of_number(service)
            if entry is not None:
                capability.put(entry)
        return capability


def _counts(numbers: layout.Numbers) -> Counts:
    counts = Counts()
    for status, mode, services in numbers.by_status_and_mode:
        counts.by_status_and_mode[status, mode] = services
    counts.by_runtime = Counter(numbers.by_runtime)
    counts.by_owner = Counter(numbers.by_owner)
    counts.bytes_by_owner = Counter(numbers.bytes_by_owner)
    counts.document_bytes = numbers.document_bytes
    counts.regions.assume(numbers.regions)
    return counts


def read(path: Path, store: str, namespaces: tuple[str, ...]) -> Snapshot | None:
    """Return the snapshot in a file; None, with a warning, if it can't be used.

    It must be whole, and one of this ``store`` (its `identity`) and of these
    namespaces, no more and no less. No file at all is no reason for a warning.
    """
    try:
        data = _contents(path)
        index = _index(data)
        if index.store != store:
            raise Unusable("is one of another store")
        if set(index.namespaces) != {"", *namespaces}:
            raise Unusable("is one of other namespaces")
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("the snapshot %s can't be read: %s", path, error.strerror)
        return None
    except Unusable as reason:
        log.warning("the snapshot %s %s: it is ignored", path, reason)
        return None
    return Snapshot(data, index)


def _contents(path: Path) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Unusable("is not a file")
        if hasattr(os, "geteuid"):
            # Who may write it could tell callers anything.
            if status.st_uid not in (0, os.geteuid()):
                raise Unusable("belongs to another user")
            if status.st_mode & 0o022:
                raise Unusable("may be written by other users (chmod 600 it)")
        return file.read()


def _index(data: bytes) -> Index:
    end = layout.END.size
    if len(data) < len(layout.MAGIC) + end or not data.startswith(layout.MAGIC):
        raise Unusable("is not a snapshot, or only its beginning")
    view = memoryview(data)
    begin, checksum = layout.END.unpack(view[-end:])
    if zlib.crc32(view[: -layout.CHECKSUM.size]) != checksum:
        raise Unusable("is damaged or not complete")
    try:
        kind = layout.decode_kind(view[begin:-end])
        if (kind.format, kind.byteorder) != (layout.FORMAT, layout.BYTEORDER):
            raise Unusable("has the format of another version or machine")
        return layout.decode_index(view[begin:-end])
    except msgspec.DecodeError as error:
        raise Unusable(f"can't be decoded ({error})") from None
