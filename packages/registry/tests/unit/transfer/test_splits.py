"""Splits move with the services, and files without them stay as they were."""

import json
from pathlib import Path

import pytest

from modularity_registry import transfer
from modularity_registry.catalog import documents
from modularity_registry.model.split import split_of
from modularity_registry.stores.base import Store, put
from modularity_registry.stores.memory import MemoryStore
from modularity_registry.transfer.jsonl import export_lines, read_documents
from support.transfer import (
    HEADER,
    NOW,
    bring,
    brought,
    document,
    export_of,
    exported,
    fill,
    opened,
)

SPLIT = b'{"capability":"x/y","groups":{"v1":90,"v2":10}}'


def split(store: Store, capability: str = "x/y", **groups: int) -> None:
    value = documents.encode_split(split_of(capability, groups))
    put(store, documents.key_of_split(capability), value)


def lines(*after: bytes, services: int = 0, splits: int = 1) -> list[bytes]:
    header = HEADER | {"services": services, "splits": splits}
    return [json.dumps(header).encode(), *after]


def test_splits_follow_the_services() -> None:
    store = MemoryStore()
    split(store, v2=10, v1=90)
    fill(store, document())
    header, service, line = export_lines(transfer.snapshot_of(store), NOW)
    assert json.loads(header)["splits"] == 1
    assert service == document() + b"\n" and line == SPLIT + b"\n"
    other = MemoryStore()
    bring(other, [header, service, line])
    assert exported(other) == [service, line]


def test_without_splits_a_file_says_nothing_of_them() -> None:
    store = MemoryStore()
    fill(store, document())
    assert b"split" not in b"".join(export_lines(transfer.snapshot_of(store), NOW))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"capability":"x","groups":{"v1":0}}', "the split is refused"),
        (b'{"capability":"a b","groups":{"v1":1}}', "the split is refused"),
        (b'{"capability":"x","groups":[]}', "the split is refused"),
        (b'{"groups":{"v1":1}}', "is not a split"),
        (b'{"capability":"x","groups":{"v1":1},"colour":1}', "is not a split"),
    ],
)
def test_a_line_that_is_no_split_is_named(line: bytes, why: str) -> None:
    with pytest.raises(transfer.BadFile, match=f"line 2:? {why}"):
        read_documents(lines(line))


def test_a_missing_or_repeated_split_is_found() -> None:
    with pytest.raises(transfer.BadFile, match="promises 0 services and 2 splits"):
        read_documents(lines(SPLIT, splits=2))
    with pytest.raises(transfer.BadFile, match="'the split of x/y' is on line 2"):
        read_documents(lines(SPLIT, SPLIT, splits=2))


def test_the_commands_count_splits_and_prune_takes_them(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    with opened(source) as store:
        fill(store, document())
        split(store, v1=1)
    with opened(target) as store:
        split(store, "gone", v1=1)
    file = export_of(source)
    result = brought(target, file)
    assert result.exit_code == 0, result.stderr
    assert "2 new" in result.stderr
    assert "kept: 0 services and 1 split that only the store has" in result.stderr
    assert "1 pruned" in brought(target, file, "--prune").stderr
    assert export_of(target).splitlines()[1:] == file.splitlines()[1:]
