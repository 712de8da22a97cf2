"""What the original registry saved, as this one reads it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from modularity_registry.catalog.documents import decode
from modularity_registry.cli import main
from modularity_registry.model.service import Service
from modularity_registry.model.status import status
from modularity_registry.transfer.jsonl import BadFile
from modularity_registry.transfer.original import read_original


def saved(service_id: str = "hello-service", **changes: Any) -> dict[str, Any]:
    service = {
        "id": service_id,
        "name": "Hello",
        "version": "1.0.0",
        "capabilities": ["greet"],
        "location": "http://127.0.0.1:9001",
        "mode": "http",
        "metadata": {"runtime": "python"},
        "status": "active",
        "registered_at": "2025-10-17T02:59:31.123456",
        "last_seen": "2025-10-17T03:59:31.123456",
        "failed_checks": 0,
    }
    return service | changes


def read(data: Any) -> dict[str, Service]:
    documents = read_original(json.dumps(data, indent=2).encode())
    assert documents is not None
    services = [decode(key, document) for key, document in documents.items()]
    return {service.registration.id: service for service in services}


@pytest.mark.parametrize(
    "form",
    [
        lambda services: {service["id"]: service for service in services},
        lambda services: {"services": services, "count": len(services)},
    ],
    ids=["registry.json", "its list"],
)
def test_both_forms_are_read(form: Any) -> None:
    services = read(form([saved("a"), saved("b", mode="embedded", location="b.py")]))
    assert services.keys() == {"a", "b"}
    registration = services["a"].registration
    assert (registration.name, registration.capabilities) == ("Hello", ("greet",))
    assert json.loads(bytes(registration.metadata)) == {"runtime": "python"}


def test_times_without_a_zone_are_those_of_this_machine() -> None:
    service = read({"a": saved("a")})["a"]
    local = datetime(2025, 10, 17, 2, 59, 31, 123456).astimezone()
    assert service.registered_at == local
    assert service.registered_at.tzinfo is UTC


def test_a_failed_service_is_unhealthy_until_its_next_good_check() -> None:
    service = read({"a": saved("a", status="inactive", failed_checks=4)})["a"]
    assert status(service) == "unhealthy"
    assert "4 failed checks" in service.faults[0].reason


@pytest.mark.parametrize(
    "changes",
    [{"name": " "}, {"location": "nowhere"}, {"capabilities": ["a//b"]}, {"x": 1}],
)
def test_what_this_registry_would_refuse_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(BadFile, match="'bad'"):
        read({"good": saved("good"), "bad": saved("bad", **changes)})


def test_the_command_imports_it(tmp_path: Path) -> None:
    file, store = tmp_path / "registry.json", tmp_path / "registry.db"
    file.write_text(json.dumps({"a": saved("a"), "b": saved("b")}))
    command = ["import", "--store", f"sqlite:///{store}", "--input", str(file)]
    result = CliRunner().invoke(main.main, command)
    assert (result.exit_code, result.output) == (
        0,
        "imported: 2 new, 0 replaced, 0 unchanged, 0 pruned\n",
    )


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"a": 1', b'{"a": "b"}', b"{}"])
def test_another_file_is_none_of_its(data: bytes) -> None:
    assert read_original(data) is None
