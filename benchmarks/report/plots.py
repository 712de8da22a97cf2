"""Draws the plots of docs/benchmarks.md as small SVG files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.harness.results import Row, Series
from benchmarks.load.constant_rate import kept_up
from benchmarks.report.rows import OURS, REFERENCE, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Value = Callable[[Series], Sequence[float]]
"""The figures of a series, one for each repeat."""

DASHED = ("nginx", "registry list")
"""A floor, and another call of the same system."""


def draw(folder: Path, rows: Mapping[str, Row]) -> None:
    """Write a file for each of the rows that has a plot; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    # The same figures make the same file.
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"
    # Text stays text, which is a fifth of the size.
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    for name, (row, panels, height) in PLOTS.items():
        if row not in rows or not rows[row].series:
            continue
        size = (9, height)
        figure, axes = pyplot.subplots(
            1, len(panels), figsize=size, layout="constrained", squeeze=False
        )
        for place, panel in zip(axes[0], panels, strict=True):
            panel(place, rows[row])
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=len(labels),
            fontsize=8,
            frameon=False,
        )
        figure.savefig(folder / f"benchmarks-{name}.svg", metadata={"Date": None})
        pyplot.close(figure)


def systems(row: Row, unit: str) -> list[str]:
    """Return the systems of a row's curves in this unit, in the order of the row."""
    curves = [s.system for s in row.series if s.at is not None and s.unit == unit]
    return list(dict.fromkeys(curves))


def shown(system: str) -> str:
    """Return a system's name as its makers write it."""
    return {"consul": "Consul", "zookeeper": "ZooKeeper"}.get(system, system)


def curve(row: Row, system: str, unit: str) -> list[Series]:
    """Return the series of a system in this unit, by where they stand."""
    ours = [s for s in row.series if s.system == system and s.unit == unit]
    return sorted((s for s in ours if s.at is not None), key=lambda s: s.at or 0.0)


def core_time(series: Series) -> list[float]:
    """Return the microseconds of the server's core for a call, for each repeat."""
    return [
        1e6 * sample.server_busy / sample.value
        for sample in series.samples
        if sample.server_busy is not None
    ]


def saturated(series: Series) -> bool:
    """Say whether a system answered less than was offered, in most repeats."""
    behind = [not kept_up(sample, series.at or 0.0) for sample in series.samples]
    return 2 * sum(behind) > len(behind)


def _curves(unit: str, value: Value, title: str) -> Callable[["Axes", Row], None]:
    """Return what draws a line for each system, with a band from least to most."""

    def panel(axes: "Axes", row: Row) -> None:
        for system in systems(row, unit):
            points = [(s, value(s)) for s in curve(row, system, unit)]
            points = [(s, values) for s, values in points if values]
            if not points:
                continue
            at = [s.at or 0.0 for s, _ in points]
            middle = [median(values) for _, values in points]
            shade = REFERENCE if system == "registry list" else colour(system)
            style = "--" if system in DASHED else "-"
            axes.plot(at, middle, style, color=shade, label=shown(system))
            low = [min(values) for _, values in points]
            high = [max(values) for _, values in points]
            axes.fill_between(at, low, high, color=shade, alpha=0.15, linewidth=0)
            for (one, _), x, y in zip(points, at, middle, strict=True):
                behind = row.key == "saturation" and saturated(one)
                face = "white" if behind else shade
                axes.plot(x, y, "o", color=shade, markerfacecolor=face, markersize=5)
        axes.set_xscale("log")
        axes.set_yscale("log")
        _number_ticks(axes)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel(row.axis, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)

    return panel


def _number_ticks(axes: "Axes") -> None:
    """Write plain numbers beside the ticks, and more of them where decades are few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    def text(value: float, _place: int | None) -> str:
        return f"{value:,.0f}" if value >= 1 else f"{value:g}"

    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        steps = (1.0, 2.0, 5.0) if high < 30 * low else (1.0,)
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(FuncFormatter(text))
        axis.set_minor_formatter(NullFormatter())


def _of(field: str) -> Value:
    def value(series: Series) -> list[float]:
        figures = [getattr(sample, field) for sample in series.samples]
        return [figure for figure in figures if figure is not None]

    return value


def _bars(axes: "Axes", row: Row) -> None:
    """Draw the row's series as bars, each with its spread."""
    for place, one in enumerate(row.series):
        shade = REFERENCE if one.system.endswith(" driver") else OURS
        spread = [[one.median - min(one.values)], [max(one.values) - one.median]]
        axes.barh(place, one.median, xerr=spread, color=shade, height=0.65)
        axes.text(max(one.values), place, f"  {one.median:,.0f}", va="center", size=8)
    axes.set_yticks(range(len(row.series)), [one.system for one in row.series])
    axes.tick_params(labelsize=8)
    axes.invert_yaxis()
    axes.set_title("writes a second", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    for reference, label in ((OURS, "the registry"), (REFERENCE, "its plain driver")):
        axes.barh(0, 0, color=reference, label=label)


PLOTS: Mapping[str, tuple[str, tuple[Callable[["Axes", Row], None], ...], float]] = {
    "lookups": (
        "growth",
        (
            _curves("calls/s", _of("value"), "lookups a second"),
            _curves("calls/s", core_time, "microseconds of a core for a lookup"),
        ),
        3.6,
    ),
    "load": (
        "saturation",
        tuple(
            _curves("calls/s", _of(field), f"{name}, milliseconds")
            for field, name in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"))
        ),
        3.6,
    ),
    "watchers": (
        "fanout",
        tuple(
            _curves("ms", _of(field), f"{field} from a change, milliseconds")
            for field in ("p50", "p99")
        ),
        3.4,
    ),
    "size": (
        "growth",
        (
            _curves("bytes/service", _of("value"), "bytes of memory for a service"),
            _curves("s", _of("value"), "seconds from the start to /ready"),
        ),
        3.4,
    ),
    "stores": ("stores", (_bars,), 3.6),
}
"""Each plot: its row, its panels from left to right, and its height in inches."""
