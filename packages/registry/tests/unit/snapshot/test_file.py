"""The snapshot file: what is in it, what damages it, and whose it is."""

import os
import random
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import Catalog, StoredService
from modularity_registry.catalog.entry import Renderer
from modularity_registry.model.service import CheckPlan, Fault, Registration, Service
from modularity_registry.snapshot import layout, read
from modularity_registry.snapshot.reading import Snapshot
from modularity_registry.snapshot.writing import SectionWriter, SnapshotFile
from modularity_registry.stores.base import Record
from support.registry import ManualClock

CLOCK = ManualClock()
NOW = CLOCK.now()
STORE = "the identity of a store"
TOKEN = Record("tokens/admin", b"{}", 7)
SEED = 20_261_130


def new_catalog() -> Catalog:
    return Catalog(Renderer(CheckPlan(5, 5)), CLOCK)


def service(number: int) -> Service:
    faults = (Fault("report", "it says so", NOW),) if number % 7 == 0 else ()
    return Service(
        Registration(
            id=f"svc-{number:05d}",
            name=f"service {number}",
            capabilities=(f"cap-{number % 40}", "all"),
            location="here",
            mode="standalone",
            zone=f"zone-{number % 3}",
            region="europe",
        ),
        NOW,
        NOW,
        owner=f"token:team-{number % 5}",
        faults=faults,
    )


def filled(services: int) -> Catalog:
    catalog = new_catalog()
    records = deque(
        Record(
            documents.key_of(f"svc-{number:05d}"),
            documents.encode(service(number)),
            number + 1,
        )
        for number in range(services)
    )
    for _ in catalog.load(records, stored, services):
        pass
    return catalog


def stored(record: Record) -> StoredService:
    decoded = documents.decode(record.key, record.value)
    return StoredService(decoded, record.value, record.revision)


def write(path: Path, catalogs: dict[str, Catalog], **changes: object) -> None:
    file = SnapshotFile(path)
    sections = {}
    for name, catalog in catalogs.items():
        writer = SectionWriter(file, catalog, [TOKEN])
        for step in writer.steps():
            step()
        assert writer.section is not None
        sections[name] = writer.section
    fields = {
        "format": layout.FORMAT,
        "byteorder": layout.BYTEORDER,
        "store": STORE,
        "epoch": "an epoch",
        "written_at": datetime(2026, 11, 30, tzinfo=UTC),
        "version": "1",
        "namespaces": sections,
        **changes,
    }
    file.finish(layout.Index(**fields))  # type: ignore[arg-type]  # a test's own


def previewed(snapshot: Snapshot, namespace: str = "") -> Catalog:
    catalog = new_catalog()
    view = snapshot.view(namespace, catalog.make, lambda name: None)
    catalog.preview(view, snapshot.revision(namespace))
    return catalog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snapshot"


@pytest.mark.parametrize("services", [0, 1, 15, 16, 17, 700])
def test_a_snapshot_answers_as_the_catalog_that_it_is_of(
    path: Path, services: int
) -> None:
    catalog = filled(services)
    write(path, {"": catalog})
    snapshot = read(path, STORE, ())
    assert snapshot is not None
    copy = previewed(snapshot)
    assert copy.is_preview
    assert len(copy) == len(catalog) == services
    assert copy.revision == catalog.revision
    assert copy.ids() == catalog.ids()
    assert [each.json for each in copy.services()] == [
        each.json for each in catalog.services()
    ]
    names = [each.name for each in catalog.capabilities()]
    assert [each.name for each in copy.capabilities()] == names
    assert copy.total_capabilities == catalog.total_capabilities
    for name in names:
        one, other = copy.capability(name), catalog.capability(name)
        assert one is not None and other is not None
        assert ids(one.providers().by_id) == ids(other.providers().by_id)
        assert ids(one.providers().candidates) == ids(other.providers().candidates)
    for numbers in ("by_status", "by_mode", "by_runtime", "by_owner", "bytes_by_owner"):
        assert getattr(copy, numbers) == getattr(catalog, numbers)
    assert copy.document_bytes == catalog.document_bytes
    assert copy.regions.known() == catalog.regions.known()
    assert copy.service("svc-99999") is None
    assert copy.capability("no") is None
    assert snapshot.records("") == [TOKEN]


def ids(entries: object) -> list[str]:
    return [entry.id for entry in entries]  # type: ignore[attr-defined]  # entries


def test_the_store_replaces_a_preview_at_once(path: Path) -> None:
    write(path, {"": filled(100)})
    snapshot = read(path, STORE, ())
    assert snapshot is not None
    catalog = previewed(snapshot)
    changed = [
        Record(documents.key_of(f"svc-{n:05d}"), documents.encode(service(n)), 200 + n)
        for n in range(50, 120)
    ]
    steps = catalog.load(deque(changed), stored, 400)
    seen = set()
    for _ in steps:
        seen.add((len(catalog), catalog.service("svc-00001") is not None))
    assert seen == {(100, True)}
    assert not catalog.is_preview
    assert catalog.ids() == [f"svc-{n:05d}" for n in range(50, 120)]
    assert catalog.revision == 400
    assert catalog.service("svc-00001") is None
    assert sum(catalog.by_status.values()) == 70


def test_a_file_that_is_damaged_anywhere_is_ignored(path: Path) -> None:
    write(path, {"": filled(60)})
    whole = path.read_bytes()
    draw = random.Random(SEED)
    places = {*range(40), *range(len(whole) - 40, len(whole))}
    places.update(draw.sample(range(len(whole)), 300))
    for place in sorted(places):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        assert read(path, STORE, ()) is None, (SEED, place)
    for length in sorted(places):
        path.write_bytes(whole[:length])
        assert read(path, STORE, ()) is None, (SEED, length)
    path.write_bytes(whole + b"\0")
    assert read(path, STORE, ()) is None
    path.write_bytes(whole)
    assert read(path, STORE, ()) is not None


def test_one_of_another_store_namespace_or_format_is_ignored(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = filled(3)
    write(path, {"": catalog, "team-a": filled(2)})
    assert read(path, "another", ("team-a",)) is None
    assert "is one of another store: it is ignored" in caplog.text
    for namespaces in ((), ("team-b",), ("team-a", "team-b")):
        assert read(path, STORE, namespaces) is None
    assert "is one of other namespaces" in caplog.text
    both = read(path, STORE, ("team-a",))
    assert both is not None
    assert len(previewed(both)) == 3
    assert len(previewed(both, "team-a")) == 2
    write(path, {"": catalog}, format=layout.FORMAT + 1)
    assert read(path, STORE, ()) is None
    write(path, {"": catalog}, byteorder="mixed")
    assert read(path, STORE, ()) is None
    assert "another version or machine" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="needs links and modes of POSIX")
def test_a_file_that_others_may_have_written_is_ignored(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(path, STORE, ()) is None
    assert not caplog.text
    real = path.with_name("real")
    write(real, {"": filled(1)})
    assert real.stat().st_mode & 0o777 == 0o600
    path.symlink_to(real)
    assert read(path, STORE, ()) is None
    real.chmod(0o620)
    assert read(real, STORE, ()) is None
    assert "may be written by other users" in caplog.text
    assert read(real.parent, STORE, ()) is None
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    assert read(pipe, STORE, ()) is None
    assert "is not a file" in caplog.text


def test_a_write_that_ends_midway_leaves_the_former_file(path: Path) -> None:
    write(path, {"": filled(5)})
    before = path.read_bytes()
    file = SnapshotFile(path)
    steps = SectionWriter(file, filled(100), []).steps()
    next(steps)()
    assert path.read_bytes() == before
    file.abandon()
    assert os.listdir(path.parent) == [path.name]
    # As after a kill: what is left over does not stop the next one.
    path.with_name("snapshot.new").write_bytes(b"half")
    write(path, {"": filled(6)})
    snapshot = read(path, STORE, ())
    assert snapshot is not None and len(previewed(snapshot)) == 6
    assert not path.with_name("snapshot.new").exists()


def test_a_change_while_it_is_written_leaves_a_whole_file(path: Path) -> None:
    catalog = filled(1_200)
    file = SnapshotFile(path)
    writer = SectionWriter(file, catalog, [])
    for number, step in enumerate(writer.steps()):
        step()
        if number == 0:
            catalog.apply("svc-00001", None, 2_000)
            catalog.apply("svc-01100", None, 2_001)
            new = service(1_300)
            put = StoredService(new, documents.encode(new), 2_002)
            catalog.apply("svc-01300", put, 2_002)
    assert writer.section is not None
    index = layout.Index(
        layout.FORMAT, layout.BYTEORDER, STORE, "e", NOW, "1", {"": writer.section}
    )
    file.finish(index)
    snapshot = read(path, STORE, ())
    assert snapshot is not None
    copy = previewed(snapshot)
    assert copy.revision == 1_200
    assert copy.service("svc-01100") is None
    everyone = copy.capability("all")
    assert everyone is not None
    assert ids(everyone.providers().by_id) == copy.ids()
