"""Intentions in an export."""

import json
from pathlib import Path

import pytest

from modularity_registry import transfer
from modularity_registry.catalog.documents import encode_intention, key_of_intention
from modularity_registry.model.intention import Intention
from modularity_registry.stores import open_store
from modularity_registry.stores.base import put, snapshot_of
from modularity_registry.transfer.jsonl import read_documents

INTENTION = Intention("web-*", "shop/pay", "allow")
KEY = key_of_intention("web-*", "shop/pay")
HEADER = {"format": "modularity-registry", "version": 1, "services": 0}


def lines(*after: object, intentions: int = 1) -> list[bytes]:
    documents = [HEADER | {"intentions": intentions}, *after]
    return [json.dumps(each).encode() for each in documents]


def test_intentions_are_moved_and_the_authority_is_not(tmp_path: Path) -> None:
    old, new = (f"sqlite:///{tmp_path / name}.db" for name in ("old", "new"))
    store = open_store(old)
    put(store, KEY, encode_intention(INTENTION))
    put(store, "mesh/authority", b"{}")
    store.close()

    file = str(tmp_path / "all.jsonl")
    summary = transfer.export_services(old, file)
    assert summary == "exported 0 services and 1 intention"
    outcome = transfer.import_services(new, file)
    assert "1 new" in outcome.summary
    store = open_store(new)
    [record] = snapshot_of(store).records
    assert (record.key, record.value) == (KEY, encode_intention(INTENTION))
    store.close()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            {"source": "we b", "capability": "a", "action": "allow"},
            "is refused: the so",
        ),
        (
            {"source": "web", "capability": "-", "action": "allow"},
            "is refused: the cap",
        ),
        (
            {"source": "web", "capability": "a", "action": "maybe"},
            "is not an intention",
        ),
        ({"source": "web", "action": "allow"}, "is not an intention"),
    ],
)
def test_a_bad_intention_is_refused(line: object, message: str) -> None:
    with pytest.raises(transfer.BadFile, match=message):
        read_documents(lines(line))


def test_an_intention_twice_or_missing_is_told() -> None:
    line = {"source": "web", "capability": "a", "action": "allow"}
    with pytest.raises(transfer.BadFile, match="the intention for web and a"):
        read_documents(lines(line, line, intentions=2))
    with pytest.raises(transfer.BadFile, match="promises 0 services and 2 intentions"):
        read_documents(lines(line, intentions=2))
