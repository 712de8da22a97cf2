"""The commands export and import: whole or not at all, repeatable, plain words."""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from modularity_registry import transfer
from modularity_registry.cli import main
from modularity_registry.stores.base import put
from support.transfer import (
    HEADER,
    brought,
    document,
    export_of,
    fill,
    lines_of,
    opened,
    run,
    url,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A store with three services and the record of a replica."""
    path = tmp_path / "source.db"
    with opened(path) as store:
        fill(store, document("c"), document("a", ttl=30), document("b", weight=0))
        put(store, "replicas/r-1", b"{}")
    return path


# Export


def test_an_export_is_a_header_and_the_services_by_id(source: Path) -> None:
    header, *lines = export_of(source).splitlines()
    said = json.loads(header)
    moment = datetime.fromisoformat(said.pop("exported_at"))
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    assert said == HEADER | {"services": 3, "revision": 4}
    assert lines == [document("a", ttl=30), document("b", weight=0), document("c")]


def test_a_file_gets_the_same_and_a_summary_is_on_stderr(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "services.jsonl"
    target.write_text("an older one")
    result = run("export", "--store", url(source), "--output", target)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "exported 3 services\n"
    assert target.read_bytes().partition(b"\n")[2] == (
        export_of(source).partition(b"\n")[2]
    )


def test_a_record_that_is_no_service_stops_the_export(
    source: Path, tmp_path: Path
) -> None:
    with opened(source) as store:
        put(store, "services/broken", b"{}")
    target = tmp_path / "services.jsonl"
    target.write_text("an older one")
    before = set(tmp_path.iterdir())
    result = run("export", "--store", url(source), "--output", target)
    assert result.exit_code == 1
    assert "services/broken" in result.stderr
    assert target.read_text() == "an older one"
    assert set(tmp_path.iterdir()) == before


def test_a_file_that_can_not_be_finished_leaves_the_old_one(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "services.jsonl"
    target.write_text("an older one")
    before = set(tmp_path.iterdir())
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(transfer.BadFile, match="No space left"):
        transfer.export_services(url(source), str(target))
    assert target.read_text() == "an older one"
    assert set(tmp_path.iterdir()) == before


def test_a_link_leads_to_the_file_and_a_device_stays_one(
    source: Path, tmp_path: Path
) -> None:
    (tmp_path / "real").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    for name in ("link", "pipe"):
        result = run("export", "--store", url(source), "--output", tmp_path / name)
        assert result.exit_code == 0
    received = os.read(reader, 65_536)
    os.close(reader)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "real").read_bytes().splitlines()[1:] == (
        received.splitlines()[1:]
    )


def test_the_store_is_not_overwritten_by_its_export(source: Path) -> None:
    result = run("export", "--store", url(source), "--output", source)
    assert result.exit_code == 1
    assert "is the store itself" in result.stderr
    assert len(export_of(source).splitlines()) == 4


def test_a_slip_in_the_path_is_no_empty_export(tmp_path: Path) -> None:
    result = run("export", "--store", url(tmp_path / "nowhere.db"))
    assert result.exit_code == 1
    assert "there is no store file" in result.stderr
    assert list(tmp_path.iterdir()) == []


# Import


def test_five_thousand_services_move_and_the_second_time_nothing_is_written(
    tmp_path: Path,
) -> None:
    steps = [document(f"s-{number}", weight=number) for number in range(5000)]
    lines = b"\n".join([msgspec.json.encode(HEADER | {"services": 5000}), *steps])
    for path in (tmp_path / "a.db", tmp_path / "b.db"):
        result = brought(path, lines)
        assert result.stderr == (
            "imported: 5,000 new, 0 replaced, 0 unchanged, 0 pruned\n"
        )
        lines = export_of(path)
    with opened(tmp_path / "b.db") as store:
        revision = transfer.snapshot_of(store).revision
    result = brought(tmp_path / "b.db", lines)
    assert result.exit_code == 0
    assert result.stderr == (
        "imported: 0 new, 0 replaced, 5,000 unchanged, 0 pruned; nothing to write\n"
    )
    with opened(tmp_path / "b.db") as store:
        assert transfer.snapshot_of(store).revision == revision
    assert export_of(tmp_path / "b.db").splitlines()[1:] == sorted(
        steps, key=lambda step: str(json.loads(step)["registration"]["id"])
    )


def test_what_differs_is_replaced_and_the_rest_is_left(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target.db"
    with opened(target) as store:
        fill(store, document("a", ttl=30), document("b", weight=9), document("own"))
        put(store, "replicas/r-2", b"{}")
    lines = export_of(source)
    dry = brought(target, lines, "--dry-run", "--prune")
    assert "would import: 1 new, 1 replaced, 1 unchanged, 1 pruned" in dry.stderr
    result = brought(target, lines)
    assert "imported: 1 new, 1 replaced, 1 unchanged, 0 pruned" in result.stderr
    assert "1 service that only the store has (--prune deletes them)" in result.stderr
    result = brought(target, lines, "--prune")
    assert "0 new, 0 replaced, 3 unchanged, 1 pruned" in result.stderr
    assert export_of(target).splitlines()[1:] == lines.splitlines()[1:]
    with opened(target) as store:
        assert "replicas/r-2" in {e.key for e in transfer.snapshot_of(store).records}


def test_a_dry_run_creates_no_file(source: Path, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    result = brought(tmp_path / "new.db", export_of(source), "--dry-run")
    assert "would import: 3 new" in result.stderr
    assert set(tmp_path.iterdir()) == before


# What is said


@pytest.mark.parametrize("command", ["export", "import"])
def test_without_a_store_it_says_how_to_go_on(command: str) -> None:
    result = run(command)
    assert result.exit_code == 1
    assert "--store" in result.stderr and "REGISTRY_STORE" in result.stderr
    result = run(command, "--store", "memory://")
    assert result.exit_code == 1
    assert "within one process" in result.stderr and "sqlite://" in result.stderr


def test_the_environment_names_the_store(source: Path) -> None:
    result = CliRunner().invoke(
        main.main, ["export"], env={"REGISTRY_STORE": url(source)}
    )
    assert result.stderr == "exported 3 services\n"


@pytest.mark.parametrize(
    "bad",
    [
        "mysql://user:secret@host/x",
        "redis://user:secret\u2100@host",
        "redis://:secret@127.0.0.1:1/0",
        "postgresql://user:secret",
        "sqlite://user:secret@host/x",
    ],
)
@pytest.mark.parametrize("command", ["export", "import"])
def test_no_password_is_repeated(command: str, bad: str) -> None:
    lines = b"\n".join(lines_of(1))
    for result in (
        run(command, "--store", bad, stdin=lines),
        CliRunner().invoke(
            main.main, [command], env={"REGISTRY_STORE": bad}, input=lines
        ),
    ):
        assert (result.exit_code, result.stdout) == (1, "")
        assert "secret" not in result.stderr and result.stderr.count("\n") == 1


def test_a_file_that_is_not_there_is_named(tmp_path: Path, source: Path) -> None:
    missing = tmp_path / "no" / "file"
    for command, flag in (("import", "--input"), ("export", "--output")):
        result = run(command, "--store", url(source), flag, missing)
        assert result.exit_code == 1
        assert f"{missing}: No such file" in result.stderr


def test_a_terminal_gets_a_bar(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    lines = tmp_path / "services.jsonl"
    transfer.export_services(url(source), str(lines))
    transfer.import_services(url(tmp_path / "target.db"), str(lines))
    assert "exporting" in terminal.getvalue() and "importing" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()


def test_a_new_epoch_keeps_the_services(source: Path) -> None:
    before = export_of(source).splitlines()[1:]
    with opened(source) as store:
        epoch = store.epoch
    result = run("store", "new-epoch", "--store", url(source))
    assert (result.exit_code, result.stderr) == (0, "")
    with opened(source) as store:
        assert result.stdout == f"began epoch {store.epoch}\n"
        assert store.epoch != epoch
    assert export_of(source).splitlines()[1:] == before


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        ("memory://", "--store: memory:// lives within one process"),
        ("sqlite:///missing.db", "there is no store file"),
    ],
)
def test_a_new_epoch_needs_a_store_that_lasts(
    store: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("store", "new-epoch", "--store", store)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_is_for_its_owner_and_an_old_one_keeps_its_mode(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "services.jsonl"
    before = os.umask(0)
    try:
        for mode in (0o600, 0o640):
            run("export", "--store", url(source), "--output", target)
            assert target.stat().st_mode & 0o777 == mode
            target.chmod(0o640)
    finally:
        os.umask(before)
