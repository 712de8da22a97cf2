"""What the tests of export and import share: documents, stores, the commands."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner, Result

from modularity_registry import schema, transfer
from modularity_registry.catalog import documents as records
from modularity_registry.cli import main
from modularity_registry.model.service import Service
from modularity_registry.stores import open_store
from modularity_registry.stores.base import Store, put
from modularity_registry.transfer.import_plan import carry_out, plan_of
from modularity_registry.transfer.jsonl import export_lines, read_documents
from support.registry import registration

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HEADER = {"format": "modularity-registry", "version": 1, "services": 1}


def document(service_id: str = "hello-service", **changes: Any) -> bytes:
    body = json.dumps(registration(service_id, **changes)).encode()
    return records.encode(Service(schema.parse_registration(body), NOW, NOW))


def fill(store: Store, *documents: bytes) -> None:
    for each in documents:
        service_id = json.loads(each)["registration"]["id"]
        put(store, records.key_of(service_id), each)


def exported(store: Store) -> list[bytes]:
    """The export without its header, which says when it was made."""
    return export_lines(transfer.snapshot_of(store), NOW)[1:]


def bring(store: Store, lines: list[bytes], prune: bool = False) -> None:
    steps = plan_of(transfer.snapshot_of(store), read_documents(lines), prune).steps
    assert carry_out(store, steps, lambda: None) == ()


def url(path: Path) -> str:
    return f"sqlite:///{path}"


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    store = open_store(url(path))
    try:
        yield store
    finally:
        store.close()


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(
        main.main, [*map(str, arguments)], input=stdin, env={"REGISTRY_STORE": None}
    )


def brought(path: Path, lines: bytes, *flags: str) -> Result:
    return run("import", "--store", url(path), *flags, stdin=lines)


def export_of(path: Path) -> bytes:
    result = run("export", "--store", url(path))
    assert result.exit_code == 0, result.stderr
    return result.stdout_bytes


def lines_of(count: int) -> list[bytes]:
    """An export of so many services."""
    header = msgspec.json.encode(HEADER | {"services": count})
    return [header, *(document(f"s-{number}") for number in range(count))]
