"""Services move into a server; the command line loads nothing heavy."""

import subprocess
import sys
from pathlib import Path

import pytest

from modularity_registry.stores.base import put
from support.servers.stores.redis import running
from support.transfer import (
    document,
    export_of,
    fill,
    opened,
    run,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A store with three services and the record of a replica."""
    path = tmp_path / "source.db"
    with opened(path) as store:
        fill(store, document("c"), document("a", ttl=30), document("b", weight=0))
        put(store, "replicas/r-1", b"{}")
    return path


def test_services_move_to_a_server(source: Path, tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    with running(tmp_path / "redis") as server:
        there = f"redis://127.0.0.1:{server.port}/0"
        lines = export_of(source)
        for expected in ("3 new, 0 replaced, 0", "0 new, 0 replaced, 3"):
            result = run("import", "--store", there, stdin=lines)
            assert f"imported: {expected} unchanged" in result.stderr
        again = run("export", "--store", there).stdout_bytes
    assert again.splitlines()[1:] == lines.splitlines()[1:]


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys, modularity_registry.cli.main;"
        "heavy = {'rich', 'pydantic', 'flask', 'modularity_registry.transfer'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
