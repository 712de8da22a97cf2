"""A real registry's audit: of several processes, from its start to its end."""

import threading
from collections import Counter
from pathlib import Path

import pytest
import requests

from modularity_registry.audit.writer import MEGABYTE
from support.access.audit import acts, events
from support.cli import Served, run
from support.registry import eventually, registration
from support.servers.streams import running
from support.serving import free_port

CALLERS = 4
EACH = 60


def test_workers_share_a_file_and_every_change_is_in_it_once(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    store = f"sqlite:///{tmp_path}/registry.db"
    # Long enough for the file to be put aside under way.
    told = ["x" * 120 + f"-{number}" for number in range(40)]

    def call(caller: int) -> None:
        for number in range(EACH):
            body = registration(
                f"s-{caller}-{number}",
                mode="standalone",
                location="here",
                capabilities=told,
            )
            # On a connection of its own each time, so that both workers are asked.
            reply = requests.post(f"{registry.url}/api/register", json=body, timeout=20)
            assert reply.status_code == 201, reply.text

    with running(
        store=store, workers=2, audit_file=str(path), audit_megabytes=1
    ) as registry:
        callers = [threading.Thread(target=call, args=(n,)) for n in range(CALLERS)]
        for each in callers:
            each.start()
        for each in callers:
            each.join()
    found = acts(path)
    ids = Counter(
        each["service_id"] for each in found if each["event"] == "service.registered"
    )
    assert ids == {f"s-{c}-{n}": 1 for c in range(CALLERS) for n in range(EACH)}
    assert path.with_name("audit.jsonl.1").exists()
    assert path.with_name("audit.jsonl.1").stat().st_size <= MEGABYTE
    assert {each["peer"] for each in found if "peer" in each} == {"127.0.0.1"}
    replicas = {each["replica"] for each in found}
    assert len(replicas) == 2
    for event in ("registry.started", "registry.stopped"):
        assert {e["replica"] for e in found if e["event"] == event} == replicas


def test_a_line_is_soon_written_and_outlives_a_registry_that_is_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "audit.jsonl"
    served = Served(audit_file=str(path))
    try:
        served.register("a")
        eventually(lambda: len(events(path)) == 2)
    finally:
        served.kill()
    assert events(path) == ["registry.started", "service.registered"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("none/a.jsonl", "there is no folder"), ("db", "holds something else")],
)
def test_it_does_not_start_without_its_audit(
    tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "db").write_bytes(b"SQLite format 3\0")
    result = run(
        "serve",
        "--port",
        str(free_port()),
        REGISTRY_AUDIT_FILE=str(tmp_path / name),
    )
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("modularity-registry: --audit-file")
    assert said in line


def test_tokens_and_audit_are_not_one_file(tmp_path: Path) -> None:
    file = str(tmp_path / "one")
    result = run("serve", "--auth", "--tokens-file", file, "--audit-file", file)
    assert result.exit_code == 1
    assert "choose another file for one of them" in result.stderr
