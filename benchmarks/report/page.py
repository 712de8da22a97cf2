"""Writes the parts of docs/benchmarks.md from saved results."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.harness.paths import DOCS
from benchmarks.harness.results import Check, Row, Sample, Series
from benchmarks.report.markdown import fill, table
from benchmarks.report.plots import core_time, curve, draw, saturated, shown, systems
from benchmarks.report.rows import number
from benchmarks.report.saved import Measured
from benchmarks.report.sections import SECTIONS

PAGE = DOCS / "benchmarks.md"
RATE, MEMORY, DELAY = "calls/s", "bytes/service", "ms"
OURS = ("registry", "registry list")
SAME_RUN = "*From the same run as the [lookups](#lookups-as-the-services-grow).*"


def write(page: Path, images: Path, measured: Mapping[str, Measured]) -> None:
    """Fill the page's parts, and draw its plots into ``images``."""
    images.mkdir(parents=True, exist_ok=True)
    draw(images, {name: each.row for name, each in measured.items()})
    fill(page, parts_of(measured))


def parts_of(measured: Mapping[str, Measured]) -> dict[str, str]:
    """Return the text of each part. What has not been measured says so."""
    rows = {name: each.row for name, each in measured.items()}
    parts = {"summary": _summary(rows), "runs": _runs(measured)}
    for name, section in SECTIONS.items():
        for part in section.parts:
            text = _missing(name)
            if name in measured:
                text = f"{PARTS[part](rows[name])}\n\n{_run(part, measured[name])}"
            parts[part] = text
    return parts


def _missing(name: str) -> str:
    return (
        "*Not measured yet: `uv run --group bench python -m benchmarks report --only"
        f" {name}` does.*"
    )


def _run(part: str, measured: Measured) -> str:
    """Return the notes of a section, and when and how it was measured."""
    facts, row = measured.facts, measured.row
    if part not in SECTIONS[row.key].parts[:1]:
        return SAME_RUN
    lines = [f"- {_capital(note)}." for note in row.notes]
    lines += [f"- **Failed**: {problem}." for problem in row.problems]
    if row.disturbed:
        lines.append("- **Other programs took more than a tenth of a core meanwhile.**")
    date = str(facts["date"])[:10]
    lines.append(
        f"- Measured on {date} at commit `{facts['commit']}`, {facts['repeats']}"
        f" repeats of {facts['seconds']} s."
    )
    return "\n".join(lines)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".")


def _cell(values: Sequence[float]) -> str:
    """Return the median, and the least and most of several."""
    if not values:
        return "none"
    middle, least, most = median(values), min(values), max(values)
    spread = f" ({number(least)} to {number(most)})" if len(values) > 1 else ""
    return f"{number(middle)}{spread}"


def _pivot(
    row: Row,
    unit: str,
    cell: Callable[[Series], str],
    names: Iterable[str] | None = None,
) -> str:
    """Return a table with a line for each place on the curves, a column a system."""
    columns = list(names if names is not None else systems(row, unit))
    cells = {
        (one.at, name): cell(one) for name in columns for one in curve(row, name, unit)
    }
    places = sorted({at for at, _ in cells if at is not None})
    return table(
        (row.axis, *map(shown, columns)),
        (
            (f"{at:,.0f}", *(cells.get((at, name), "none") for name in columns))
            for at in places
        ),
    )


def _image(name: str, text: str) -> str:
    return f"![{text}](images/benchmarks-{name}.svg)"


def _lookups(row: Row) -> str:
    rates = _pivot(row, RATE, lambda one: _cell(one.values))
    costs = _pivot(row, RATE, lambda one: _cell(core_time(one)))
    plot = _image(
        "lookups",
        "Two plots against the number of services, a line for each system: lookups a"
        " second, and microseconds of the server's core for a lookup",
    )
    return (
        f"{plot}\n\nLookups a second:\n\n{rates}\n\nMicroseconds of the server's core"
        f" for a lookup:\n\n{costs}"
    )


def _memory(row: Row) -> str:
    plot = _image(
        "size",
        "Two plots against the number of services: bytes of memory for a service, a"
        " line for each system, and the seconds of the registry's start",
    )
    figures = _pivot(row, MEMORY, lambda one: _cell(one.values))
    return f"{plot}\n\nBytes of memory for a service:\n\n{figures}"


def _start(row: Row) -> str:
    return _pivot(row, "s", lambda one: f"{_cell(one.values)} s")


def _checked_memory(row: Row) -> str:
    (series,) = row.series[:1]
    return f"{_capital(row.title)}: **{_cell(series.values)} bytes a service**."


def _load(row: Row) -> str:
    plot = _image(
        "load",
        "Three plots of latency against the calls offered a second, a line for each"
        " system: p50, p99 and p99.9",
    )
    head = ("system", "offered a second", "answered", "p50", "p99", "p99.9", "kept up")
    lines = [
        (
            shown(name),
            f"{one.at or 0.0:,.0f}",
            number(one.median),
            *(_milliseconds(one, field) for field in ("p50", "p99", "p999")),
            "no" if saturated(one) else "yes",
        )
        for name in systems(row, RATE)
        for one in curve(row, name, RATE)
    ]
    most = [s for s in row.series if s.at is None]
    closed = ", ".join(f"{shown(s.system)} {number(s.median)}" for s in most)
    return (
        f"{plot}\n\nAn empty circle is a rate at which the system fell behind.\n\n"
        f"{table(head, lines)}\n\nCalls a second at most, in a closed loop: {closed}."
    )


def _milliseconds(series: Series, field: str) -> str:
    figure = series.median_of(field)
    return "too few" if figure is None else f"{number(figure)} ms"


def _watchers(row: Row) -> str:
    plot = _image(
        "watchers",
        "Two plots against the number of watchers, a line for each system: the median"
        " and the 99th percentile of the delay from a change to each watcher",
    )

    def cell(one: Series) -> str:
        p50 = number(one.median_of("p50") or 0.0)
        return f"{p50} / {_cell(one.values)} ms"

    return f"{plot}\n\np50 / p99:\n\n{_pivot(row, DELAY, cell)}"


def _checks(row: Row) -> str:
    head = ("connections", "checks a second", "the registry's core")
    return table(
        head,
        (
            (one.system, _cell(one.values), f"{one.median_of('server_busy') or 0:.0%}")
            for one in row.series
        ),
    )


def _stores(row: Row) -> str:
    plot = _image("stores", "Bars: writes a second over each store, and by its driver")
    by_name = {one.system: one for one in row.series}
    lines = []
    for name, ours in by_name.items():
        kind = name.removeprefix("over ")
        driver = by_name.get(f"{kind} driver")
        if driver is not None and name != kind:
            share = ours.median / driver.median
            p99 = _milliseconds(ours, "p99")
            lines.append(
                (kind, _cell(ours.values), p99, _cell(driver.values), number(share))
            )
    head = ("store", "registrations a second", "p99", "plain driver", "ratio")
    return f"{plot}\n\n{table(head, lines)}"


def _million(row: Row) -> str:
    figures = table(
        ("figure", "measured"),
        ((one.system, f"{_cell(one.values)} {one.unit}") for one in row.series),
    )
    targets = table(
        ("target", "measured", "limit", "met"), (_target(c) for c in row.checks)
    )
    return f"{figures}\n\n{targets}"


def _target(check: Check) -> tuple[str, ...]:
    sign = "at least" if check.better == "more" else "at most"
    limit = f"{sign} {check.target:g} {check.unit}"
    met = "yes" if check.passed else "no"
    return check.text, f"{number(check.value)} {check.unit}", limit, met


PARTS: Mapping[str, Callable[[Row], str]] = {
    "lookups": _lookups,
    "load": _load,
    "watchers": _watchers,
    "memory": _memory,
    "checked memory": _checked_memory,
    "start": _start,
    "checks": _checks,
    "stores": _stores,
    "million": _million,
}


def _summary(rows: Mapping[str, Row]) -> str:
    """Return a line for each finding that the results have."""
    lines = []
    if (growth := rows.get("growth")) is not None:
        lines += _of_growth(growth)
    if (fanout := rows.get("fanout")) is not None and (
        ours := curve(fanout, "registry", DELAY)
    ):
        most = ours[-1]
        lines.append(
            f"99 of 100 of {most.at:,.0f} watchers have a change within"
            f" {number(most.median)} ms."
        )
    if (checks := rows.get("checks")) is not None and checks.series:
        best = checks.series[0].median
        lines.append(f"One core makes {number(best)} health checks a second.")
    if not lines:
        return "*Nothing has been measured yet.*"
    return "\n".join(f"- {line}" for line in lines)


def _of_growth(row: Row) -> list[str]:
    ours = curve(row, "registry", RATE)
    if not ours:
        return []
    first, last = ours[0], ours[-1]
    lines = [
        f"A lookup among {last.at:,.0f} services runs at"
        f" {number(last.median / first.median)} times the rate of one among"
        f" {first.at:,.0f}: {number(last.median)} a second on one core."
    ]
    one, ten = ({s.at: s for s in curve(row, n, RATE)} for n in OURS)
    for name in systems(row, RATE):
        theirs = curve(row, name, RATE)
        if name.startswith("registry") or not theirs:
            continue
        at, rate = theirs[-1].at, theirs[-1].median
        if at in one and at in ten:
            alike = f"; {number(ten[at].median / rate)} times, if it returns all ten"
            more = f"{alike} providers, as the other does."
            if name == "nginx":
                more = ", which gives the same reply from its configuration."
            ratio = f"{number(one[at].median / rate)} times as many lookups as"
            lines.append(
                f"Among {at:,.0f} services, the registry answers {ratio}"
                f" {shown(name)}{more}"
            )
    return lines


def _runs(measured: Mapping[str, Measured]) -> str:
    """Return when, where and on what each section was measured."""
    head = (
        "section",
        "date",
        "commit",
        "plan",
        "seed",
        "repeats",
        "took",
        "other programs",
    )
    lines = [
        (
            name,
            str(each.facts["date"])[:16].replace("T", " "),
            f"`{each.facts['commit']}`" + (" changed" if each.facts["changed"] else ""),
            str(each.facts["mode"]),
            str(each.facts["seed"]),
            f"{each.facts['repeats']} x {each.facts['seconds']} s",
            f"{each.seconds / 60:.1f} min",
            f"{_foreign(each.row):.0%} of a core",
        )
        for name, each in measured.items()
    ]
    machines = {_machine(each) for each in measured.values()}
    texts = [f"- {machine}" for machine in sorted(machines)]
    return "\n\n".join(filter(None, (table(head, lines), "\n".join(texts))))


def _foreign(row: Row) -> float:
    samples: list[Sample] = [s for series in row.series for s in series.samples]
    return median([s.foreign for s in samples if s.foreign is not None] or [0.0])


def _machine(measured: Measured) -> str:
    facts = measured.facts
    gigabytes = int(str(facts["memory"]).split()[0]) / 1e6
    versions = facts["versions"]
    names = ("consul", "etcd", "nginx", "wrk")
    programs = "; ".join(" ".join(str(versions[n]).split()[:3]) for n in names)
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {gigabytes:.0f} GB, Linux"
        f" {facts['kernel']}, {facts['disk']}, Python {facts['python']}; {programs}"
    )
