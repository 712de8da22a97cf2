"""`python -m benchmarks report`: measures the sections, and writes their page."""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.machine import facts
from benchmarks.harness.paths import IMAGES
from benchmarks.harness.plan import Plan
from benchmarks.harness.results import rows_measured
from benchmarks.report import page, saved
from benchmarks.report.rows import row_text
from benchmarks.report.saved import Measured
from benchmarks.report.sections import SECTIONS
from benchmarks.scenarios import run


def estimate_text(names: Sequence[str], plan: Plan) -> str:
    """Return about how long each section takes, and all of them."""
    minutes = {name: SECTIONS[name].estimate(plan) / 60 for name in names}
    each = ", ".join(f"{name} {value:.1f}" for name, value in minutes.items())
    return f"estimate: {sum(minutes.values()):.0f} minutes ({each})"


def measure(names: Sequence[str], plan: Plan, mode: str, folder: Path) -> bool:
    """Measure the sections; say whether each could be.

    Each is saved as soon as it is there. What failed does not replace what was saved.
    """
    complete = True
    for name in names:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        run_facts = facts(plan, mode)
        began = time.perf_counter()
        row = run(name, plan)
        seconds = time.perf_counter() - began
        print(f"\n{row_text(row)}\n", flush=True)
        if rows_measured([row]) and row.series:
            file = saved.save(folder, Measured(row, run_facts, seconds))
            print(f"saved after {seconds / 60:.1f} minutes: {file}", flush=True)
        else:
            complete = False
            print(f"not saved: {name} could not be measured", flush=True)
    return complete


def write_page(folder: Path, published: bool) -> None:
    """Write the page from what is saved: in docs, or as a trial into the folder.

    Results of `--quick` prove nothing, so they are never published.
    """
    measured = saved.read(folder)
    published &= all(each.facts["mode"] != "quick" for each in measured.values())
    target, images = page.PAGE, IMAGES
    if not published:
        # Its links lead nowhere from there, so it is no .md that is searched for them.
        target, images = folder / "benchmarks.markdown", folder / "images"
        shutil.copy(page.PAGE, target)
    page.write(target, images, measured)
    print(f"written: {target}")
