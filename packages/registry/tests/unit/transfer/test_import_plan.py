"""The writes of an import: stores that fail, and others who write."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from modularity_registry import config, runtime, transfer
from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import LARGEST_BATCH, Outcome, Write, put
from modularity_registry.stores.memory import MemoryStore
from modularity_registry.transfer.import_plan import carry_out, plan_of
from modularity_registry.transfer.jsonl import read_documents
from support.registry import ManualClock
from support.transfer import bring, brought, document, exported, fill, lines_of


class Tripping(MemoryStore):
    """Calls ``trip`` with every batch before it is written."""

    def __init__(self, trip: Callable[[Sequence[Write]], None]) -> None:
        super().__init__()
        self.trip = trip

    def commit(self, batch: Sequence[Write]) -> list[Outcome]:
        self.trip(batch)
        return super().commit(batch)


def test_a_store_that_fails_stops_the_import_and_a_second_one_goes_on() -> None:
    left = iter(range(2))

    def trip(_: object) -> None:
        if next(left, None) is None:
            raise StoreUnavailable("the server is away")

    store = Tripping(trip)
    with pytest.raises(transfer.ImportStopped) as caught:
        bring(store, lines_of(200))
    assert caught.value.detail == (
        "the server is away; 128 of 200 changes were written; run it again to"
        " continue from there"
    )
    assert len(exported(store)) == 128
    store.trip = lambda _: None
    bring(store, lines_of(200))
    assert len(exported(store)) == 200
    assert transfer.snapshot_of(store).revision == 200


def test_a_write_that_fails_in_its_batch_stops_the_import() -> None:
    class Failing(MemoryStore):
        def commit(self, batch: Sequence[Write]) -> list[Outcome]:
            return [StoreUnavailable("no room"), *super().commit(batch[1:])]

    store = Failing()
    with pytest.raises(transfer.ImportStopped, match="no room; 63 of 200 changes"):
        bring(store, lines_of(200))
    assert len(exported(store)) == 63


def test_ctrl_c_stops_it_as_well() -> None:
    store = MemoryStore()
    steps = plan_of(transfer.snapshot_of(store), read_documents(lines_of(200)), False)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(transfer.ImportStopped, match=r"interrupted; .* of 200 changes"):
        carry_out(store, steps.steps, interrupt)
    assert len(exported(store)) == LARGEST_BATCH


def test_a_newer_write_of_somebody_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = document("s-1", weight=7)
    store = Tripping(lambda _: None)
    fill(store, document("own"))

    def trip(_: object) -> None:
        store.trip = lambda _: None
        for key in ("services/s-1", "services/own"):
            put(store, key, newer)

    store.trip = trip
    monkeypatch.setattr(transfer, "open_store", lambda _: store)
    monkeypatch.setattr(store, "close", lambda: None)
    result = brought(tmp_path / "any.db", b"\n".join(lines_of(3)), "--prune")
    assert result.exit_code == 1
    assert "imported: 2 new, 0 replaced, 0 unchanged, 0 pruned" in result.stderr
    assert "2 services that changed meanwhile; run it again" in result.stderr
    held = {each.key: each.value for each in transfer.snapshot_of(store).records}
    assert held["services/s-1"] == held["services/own"] == newer


def test_a_registry_starts_on_what_was_imported() -> None:
    store = MemoryStore()
    bring(store, lines_of(3))
    registry = runtime.build(config.Settings(), ManualClock(), store=store)
    registry.feed.start()
    assert registry.view_health.problems() == []
    assert registry.catalog.service("s-1") is not None
    registry.feed.stop()
