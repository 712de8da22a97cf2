"""Draws the plots of docs/scale.md as small SVG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.simulator.report import division
from benchmarks.simulator.scenarios import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#e08a2e", "#c2476e", "#3d85b8", "#7a8b5c", "#8d929b")


def draw(folder: Path, scenarios: Sequence[Outcome], sizes: Sequence[Outcome]) -> None:
    """Write scale-core.svg and scale-notice.svg; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    # The same figures make the same file.
    matplotlib.rcParams["svg.hashsalt"] = "scale"
    # Text stays text, which is a fifth of the size.
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="tight")
    _by_services(left, sizes, "core", "share of a core for checks and changes")
    _by_services(right, sizes, "division", "seconds of a core for a new division")
    left.axhline(1, color="black", linewidth=1)
    right.axhline(sizes[0].setup.interval, color="black", linewidth=1)
    right.legend(fontsize=8, title="replicas", title_fontsize=8)
    figure.savefig(folder / "scale-core.svg", metadata={"Date": None})
    pyplot.close(figure)
    figure, axes = pyplot.subplots(figsize=(9, 2.8), layout="tight")
    _notices(axes, scenarios)
    figure.savefig(folder / "scale-notice.svg", metadata={"Date": None})
    pyplot.close(figure)


def _by_services(axes: "Axes", sizes: Sequence[Outcome], what: str, title: str) -> None:
    counts = sorted({each.setup.replicas for each in sizes})
    for count, colour in zip(counts, COLOURS, strict=False):
        ours = [each for each in sizes if each.setup.replicas == count]
        values = [e.core if what == "core" else division(e.setup) for e in ours]
        services = [each.setup.services for each in ours]
        axes.plot(services, values, color=colour, marker="o", label=str(count))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("services", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _notices(axes: "Axes", outcomes: Sequence[Outcome]) -> None:
    measured = [each for each in outcomes if each.notices]
    for place, each in enumerate(measured):
        p50, p99, worst = (each.notice(share) or 0.0 for share in (0.5, 0.99, 1.0))
        axes.plot([p50, worst], [place, place], color=COLOURS[4], linewidth=2)
        axes.plot([p50, p99, worst], [place] * 3, "o", color=COLOURS[0])
        axes.text(worst * 1.05, place, f"{worst:.0f} s", va="center", fontsize=8)
    axes.set_yticks(range(len(measured)), [each.name for each in measured], fontsize=8)
    axes.invert_yaxis()
    axes.set_title("seconds until a death is noticed: p50, p99, worst", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
