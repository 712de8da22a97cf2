"""Prints, writes and draws what a soak found."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.harness.paths import DOCS, IMAGES
from benchmarks.report.markdown import fill, table
from benchmarks.report.rows import number
from benchmarks.soak.callers.calls import Tally
from benchmarks.soak.samples import Sample
from benchmarks.soak.verdict import JUDGED, LIMITS, Growth, warmup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = DOCS / "soak.md"

SHOWN = 20
"""Faults that are printed; the file has more."""

TOO_SHORT = f"growth is judged in runs of {JUDGED:.0f} s or more: caches still fill"

POINTS = 120
"""Points of a line in the plot, each the median of its samples."""

PANELS = (
    ("memory (MiB)", ("resident", "anonymous")),
    ("allocated blocks, and objects known to the collector", ("blocks", "objects")),
    ("threads, tasks, descriptors", ("threads", "tasks", "descriptors")),
)
COLOURS = ("#3d85b8", "#e08a2e", "#c2476e")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of so many seconds found; ``left`` is what was held after the load."""

    seconds: float
    samples: Sequence[Sample]
    growths: Sequence[Growth]
    tally: Tally
    left: Mapping[str, int]

    @property
    def passed(self) -> bool:
        """Whether nothing failed and, in a run that is long enough, nothing grew."""
        flat = self.seconds < JUDGED or all(one.flat for one in self.growths)
        return flat and not self.tally.fault_count


def progress(sample: Sample) -> str:
    """Return a line for a terminal."""
    return (
        f"{sample.seconds / 60:5.0f} min: {sample.anonymous:.1f} MiB,"
        f" {sample.blocks:,} blocks, {sample.objects:,} objects,"
        f" {sample.threads} threads, {sample.descriptors} descriptors"
    )


def growth_table(growths: Sequence[Growth]) -> str:
    """Return a row for each figure, in Markdown."""
    head = ("figure", "first median", "last median", "growth", "allowed", "verdict")
    return table(head, (_row(one) for one in growths))


def _row(one: Growth) -> tuple[str, ...]:
    unit = f" {one.limit.unit}".rstrip()
    return (
        one.limit.title,
        f"{number(one.first)}{unit}",
        f"{number(one.last)}{unit}",
        f"{one.growth:+,.2f}{unit} ({one.per_hour:+,.2f} an hour)",
        f"{number(one.allowed)}{unit}",
        "flat" if one.flat else "GROWS",
    )


def summary(outcome: Outcome) -> str:
    """Return the outcome for people."""
    tally, last = outcome.tally, outcome.samples[-1]
    calls = ", ".join(f"{kind} {n:,}" for kind, n in sorted(tally.calls.items()))
    left = ", ".join(f"{name} {n:,}" for name, n in outcome.left.items())
    lines = [
        f"calls: {calls}; called again after a 503: {tally.retries}",
        f"processor: {last.cpu / last.seconds:.0%} of a core",
        f"after the load: {left}",
        f"counted from {warmup(outcome.seconds):.0f} s on:",
        growth_table(outcome.growths),
        *([TOO_SHORT] if outcome.seconds < JUDGED else []),
        f"faults: {tally.fault_count}",
        *(f"  {fault}" for fault in tally.faults[:SHOWN]),
        "PASSED" if outcome.passed else "FAILED",
    ]
    return "\n".join(lines)


def write(out: Path, facts: Mapping[str, object], outcome: Outcome) -> None:
    """Write soak.json, samples.csv and, if matplotlib is there, soak.svg."""
    out.mkdir(parents=True, exist_ok=True)
    tally = outcome.tally
    data = {
        "facts": facts,
        "passed": outcome.passed,
        "growths": [asdict(one) | {"flat": one.flat} for one in outcome.growths],
        "calls": tally.calls,
        "retries": tally.retries,
        "fault_count": tally.fault_count,
        "faults": tally.faults,
        "left": outcome.left,
    }
    (out / "soak.json").write_text(json.dumps(data, indent=2) + "\n")
    with (out / "samples.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(field.name for field in fields(Sample))
        for sample in outcome.samples:
            rows.writerow(f"{value:.10g}" for value in asdict(sample).values())
    try:
        draw(out / "soak.svg", outcome)
    except ImportError:
        print("no plot: matplotlib is not installed; use uv run --group bench")
    print(f"written: {out}")


def write_docs(facts: Mapping[str, object], outcome: Outcome) -> None:
    """Write the figures into docs/soak.md, and draw its plot; needs matplotlib."""
    parts = {"limits": _limits_table(), "outcome": _outcome_text(facts, outcome)}
    fill(PAGE, parts)
    draw(IMAGES / "soak.svg", outcome)


def _limits_table() -> str:
    head = ("figure", "may grow by, in an hour", "why so much")
    rows = (
        (one.title, f"{number(one.per_hour)} {one.unit}".rstrip(), one.reason)
        for one in LIMITS
    )
    return table(head, rows)


def _outcome_text(facts: Mapping[str, object], outcome: Outcome) -> str:
    tally, last = outcome.tally, outcome.samples[-1]
    events = tally.calls["event"]
    calls = tally.calls.total() - events - tally.calls["reported"]
    lines = (
        f"{outcome.seconds / 60:.0f} minutes on two cores of an {facts['cpu']} with"
        f" Python {facts['python']}, seed {facts['seed']}, commit {facts['commit']};"
        f" before it, other programs kept {facts['load_before']:.0f} processes waiting"
        f" for these cores. {calls:,} calls and datagrams were made, and {events:,}"
        f" events were read; {tally.fault_count} failed, and {tally.retries} were made"
        f" again after a 503. The registry took {last.cpu / last.seconds:.0%} of a"
        f" core. After the load, it had {outcome.left['lost']:,} lost objects of"
        f" {outcome.left['objects']:,}: garbage that was left out of the"
        f" {outcome.left['searches']} searches.",
        "",
        growth_table(outcome.growths),
    )
    return "\n".join(lines)


def draw(path: Path, outcome: Outcome) -> None:
    """Draw the figures over time; raises `ImportError` without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    # The same figures make the same file, and text stays text.
    matplotlib.rcParams["svg.hashsalt"] = "soak"
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(len(PANELS), figsize=(9, 7), layout="tight")
    for axes, (title, names) in zip(panels, PANELS, strict=True):
        _draw_panel(axes, outcome, title, names)
    panels[-1].set_xlabel("minutes", fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _draw_panel(
    axes: "Axes", outcome: Outcome, title: str, names: Sequence[str]
) -> None:
    size = -(-len(outcome.samples) // POINTS)
    samples = outcome.samples
    parts = [samples[at : at + size] for at in range(0, len(samples), size)]
    minutes = [median(one.seconds for one in part) / 60 for part in parts]
    for name, colour in zip(names, COLOURS, strict=False):
        values = [median(getattr(one, name) for one in part) for part in parts]
        axes.plot(minutes, values, color=colour, linewidth=1.2, label=name)
    axes.axvspan(0, warmup(outcome.seconds) / 60, color="#8d929b", alpha=0.2)
    axes.set_ylim(bottom=0)
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
