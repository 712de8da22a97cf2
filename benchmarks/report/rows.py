"""Writes the results as text, as JSON and as a plot."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.harness.results import FOREIGN_LIMIT, Check, Row, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "consul": "#c2476e",
    "etcd": "#3d85b8",
    "nginx": "#7a8b5c",
    "zookeeper": "#7f6a9c",
}
OURS = "#e08a2e"
REFERENCE = "#8d929b"


def number(value: float) -> str:
    """Return a figure with about three significant digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def row_text(row: Row) -> str:
    """Return a row as text: the figures, then the targets, problems and notes."""
    lines = [f"{row.key}: {row.title}"]
    lines += [_series_line(series) for series in row.series]
    lines += [_check_line(check) for check in row.checks]
    checked = {check.text for check in row.checks}
    lines += [
        f"  {text:<38} {number(median(values)):>8} x {_spread(values)}"
        for text, values in row.beside.items()
        if text not in checked
    ]
    lines += [f"  FAIL  {problem}" for problem in row.problems]
    lines += [f"  note: {note}" for note in row.notes]
    return "\n".join(lines)


def _series_line(series: Series) -> str:
    parts = [f"  {series.label:<24}{number(series.median):>9} {series.unit:<12}"]
    parts.append(_spread(series.values).ljust(22))
    p50, p99 = series.median_of("p50"), series.median_of("p99")
    if p50 is not None and p99 is not None:
        parts.append(f"p50 {p50:6.2f} ms  p99 {p99:6.2f} ms")
    if (p999 := series.median_of("p999")) is not None:
        parts.append(f" p99.9 {p999:6.2f} ms")
    busy, client = series.median_of("server_busy"), series.median_of("client_busy")
    if busy is not None and client is not None:
        parts.append(f"  server {busy:4.0%}  other core {client:4.0%}")
    foreign = series.median_of("foreign") or 0.0
    if foreign > FOREIGN_LIMIT:
        parts.append(f"  other programs {foreign:.0%}")
    return " ".join(parts).rstrip()


def _spread(values: Sequence[float]) -> str:
    return f"({number(min(values))} to {number(max(values))})"


def _check_line(check: Check) -> str:
    verdict = "pass" if check.passed else "MISS"
    sign = ">=" if check.better == "more" else "<="
    value = f"{number(check.value)} {check.unit}"
    spread = _spread(check.values)
    target = f"{sign} {check.target:g} {check.unit}"
    return f"  {verdict}  {check.text:<32} {value:>10} {spread:<18} target {target}"


def summary_text(rows: Sequence[Row]) -> str:
    """Return the verdict on all rows in one line."""
    checks = [check for row in rows for check in row.checks]
    met = sum(check.passed for check in checks)
    text = f"{met} of {len(checks)} targets met"
    broken = [row.key for row in rows if row.problems]
    disturbed = [row.key for row in rows if row.disturbed]
    skipped = [row.key for row in rows if row.skipped]
    if broken:
        text += f"; not measured: {', '.join(broken)}"
    if skipped:
        text += f"; skipped, see the notes: {', '.join(skipped)}"
    if disturbed:
        text += f"; disturbed by other programs, run again: {', '.join(disturbed)}"
    return text


def write_json(path: Path, facts: Mapping[str, object], rows: Sequence[Row]) -> None:
    """Write the facts and every row with all its samples."""
    data = {"facts": facts, "rows": [row.to_json() for row in rows]}
    path.write_text(json.dumps(data, indent=2) + "\n")


def write_plot(path: Path, facts: Mapping[str, object], rows: Sequence[Row]) -> None:
    """Draw a panel for each row, and one with the margins to the targets.

    Raises `ImportError` where matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [row for row in rows if row.series]
    count = len(measured) + 1
    height = (count + 1) // 2
    figure, grid = pyplot.subplots(
        height, 2, figsize=(13, 2.7 * height), layout="constrained", squeeze=False
    )
    panels = list(grid.flat)
    for axes, row in zip(panels, measured, strict=False):
        _draw_row(axes, row)
    _draw_margins(panels[len(measured)], measured)
    for axes in panels[count:]:
        axes.axis("off")
    figure.suptitle(
        f"{facts['cpu']}, one core for the server, one for the load; kernel"
        f" {facts['kernel']}, {facts['date']}, seed {facts['seed']}",
        fontsize=10,
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_row(axes: "Axes", row: Row) -> None:
    names = [series.label for series in row.series]
    places = list(range(len(names)))
    medians = [series.median for series in row.series]
    low = [m - min(s.values) for m, s in zip(medians, row.series, strict=True)]
    high = [max(s.values) - m for m, s in zip(medians, row.series, strict=True)]
    colours = [colour(series.system) for series in row.series]
    axes.barh(places, medians, xerr=[low, high], color=colours, height=0.65)
    axes.set_yticks(places, names, fontsize=9)
    axes.set_ylim(max(len(names), 4) - 0.5, -0.5)
    axes.set_xlim(0, max(max(s.values) for s in row.series) * 1.22 or 1)
    for place, series in zip(places, row.series, strict=True):
        text = f"  {number(series.median)}"
        axes.text(max(series.values), place, text, va="center", fontsize=9)
    axes.set_title(f"{row.title} [{row.series[0].unit}]", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def colour(system: str) -> str:
    """Return the colour of a system; grey is for what a store is compared with."""
    reference = (
        system.endswith(" driver") or system.startswith("memory, ") or " @" in system
    )
    return REFERENCE if reference else COLOURS.get(system, OURS)


def _draw_margins(axes: "Axes", rows: Sequence[Row]) -> None:
    checks = [(row.key, check) for row in rows for check in row.checks]
    names = [f"{key}: {check.text}" for key, check in checks]
    places = list(range(len(checks)))
    margins = [check.margin for _, check in checks]
    colours = ["#5b9a68" if check.passed else "#c0392b" for _, check in checks]
    axes.barh(places, margins, color=colours, height=0.65)
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=1)
    axes.set_title("result as a multiple of the target (right of the line: met)")
    axes.title.set_fontsize(10)
    axes.spines[["top", "right"]].set_visible(False)
