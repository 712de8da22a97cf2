"""A soak of a few seconds: it does not show growth, but that the tool works."""

import json
from pathlib import Path

import pytest

from benchmarks.soak.__main__ import main

SEED = 20_261_130
KINDS = {"DNS", "fill", "lookup", "refused", "register", "renew", "token"}
"""So often done that some are in every run."""


def test_soak_of_a_few_seconds_has_no_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["3", "--seed", str(SEED), "--out", str(tmp_path)])
    assert code == 0, capsys.readouterr().out
    found = json.loads((tmp_path / "soak.json").read_text())
    assert set(found["calls"]) >= KINDS
    assert found["fault_count"] == 0
    assert {growth["limit"]["field"] for growth in found["growths"]} >= {
        *("anonymous", "threads", "descriptors", "objects"),
    }
    assert len((tmp_path / "samples.csv").read_text().splitlines()) > 10
