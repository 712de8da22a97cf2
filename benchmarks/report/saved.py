"""Results that are kept, a file for each section, so that the page can be made again.

Sections may be measured at different times: each file has the date, the commit and the
machine of its own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.results import Row
from benchmarks.report.sections import SECTIONS


@dataclass(frozen=True, slots=True)
class Measured:
    """A section's row, the facts of its run, and the seconds that it took."""

    row: Row
    facts: Mapping[str, Any]
    seconds: float


def save(folder: Path, measured: Measured) -> Path:
    """Write a section's results, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{measured.row.key}.json"
    data = {
        "facts": measured.facts,
        "seconds": measured.seconds,
        "row": measured.row.to_json(),
    }
    file.write_text(json.dumps(data, indent=2) + "\n")
    return file


def read(folder: Path) -> dict[str, Measured]:
    """Return the sections that the folder has, in the order of the page."""
    measured = {}
    for name in SECTIONS:
        file = folder / f"{name}.json"
        if file.exists():
            data = json.loads(file.read_text())
            row = Row.from_json(data["row"])
            measured[name] = Measured(row, data["facts"], data["seconds"])
    return measured
