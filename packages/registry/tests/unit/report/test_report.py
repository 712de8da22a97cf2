"""The page with the benchmarks' figures, from results that are made up."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.harness.plan import Plan, medium, quick
from benchmarks.harness.results import Check, Row, Sample, Series, at_least
from benchmarks.report import command, page, saved
from benchmarks.report.saved import Measured
from benchmarks.report.sections import SECTIONS

FACTS: Mapping[str, object] = {
    "date": "2026-01-02T03:04:05+00:00",
    "mode": "full",
    "seed": 7,
    "repeats": 3,
    "seconds": 2,
    "cpu": "a processor",
    "cores": 2,
    "memory": "16000000 kB",
    "kernel": "6",
    "disk": "ext4",
    "python": "3.12",
    "commit": "abc1234",
    "changed": False,
    "versions": {"consul": "1", "etcd": "2", "nginx": "3", "wrk": "4"},
}
PLAN = Plan(7, 0, 1, Path("data"))


def series(system: str, at: float | None, *rates: float) -> Series:
    samples = tuple(Sample(rate, 1.0, 2.0, server_busy=0.5) for rate in rates)
    return Series(system, "calls/s", samples, at)


def measured(row: Row) -> dict[str, Measured]:
    return {row.key: Measured(row, FACTS, 60.0)}


GROWTH = Row(
    "growth",
    "lookups",
    (
        series("registry", 100, 1_000, 1_200, 1_100),
        series("registry", 10_000, 990),
        series("registry list", 10_000, 660),
        series("consul", 10_000, 110),
    ),
    axis="services",
)


def test_a_curve_becomes_a_table_with_a_gap_where_a_system_was_left_out() -> None:
    text = page.parts_of(measured(GROWTH))["lookups"]
    assert "| services | registry | registry list | Consul |" in text
    assert "| 100 | 1,100 (1,000 to 1,200) | none | none |" in text
    assert "| 10,000 | 990 | 660 | 110 |" in text
    # Half a core for 1,000 lookups a second.
    assert "| 100 | 455 (417 to 500) |" in text
    assert "Measured on 2026-01-02 at commit `abc1234`, 3 repeats of 2 s." in text


def test_the_summary_also_compares_the_call_that_returns_all() -> None:
    text = page.parts_of(measured(GROWTH))["summary"]
    assert "0.90 times the rate of one among 100" in text
    assert "9.00 times as many lookups as Consul; 6.00 times, if it returns all" in text


def test_what_was_not_measured_says_how_to_measure_it() -> None:
    parts = page.parts_of(measured(GROWTH))
    assert "--only fanout" in parts["watchers"]
    assert "2026-01-02 03:04" in parts["runs"]


def test_a_rate_at_which_a_system_falls_behind_is_marked() -> None:
    row = Row(
        "saturation",
        "load",
        (series("registry", None, 1_000), series("registry", 900, 899),
         series("registry", 1_100, 1_000)),
        notes=("left out: nginx",),
        axis="calls offered a second",
    )  # fmt: skip
    text = page.parts_of(measured(row))["load"]
    assert "| registry | 900 | 899 | 1.00 ms | 2.00 ms | too few | yes |" in text
    assert "| registry | 1,100 | 1,000 | 1.00 ms | 2.00 ms | too few | no |" in text
    assert "- Left out: nginx." in text


def test_a_disturbed_section_says_so() -> None:
    busy = replace(GROWTH.series[0], samples=(Sample(1.0, foreign=0.5),))
    text = page.parts_of(measured(replace(GROWTH, series=(busy,))))["lookups"]
    assert "Other programs took more than a tenth of a core" in text


def test_saved_results_are_read_as_they_were(tmp_path: Path) -> None:
    check = at_least(GROWTH.series[1], GROWTH.series[1], 1.0)
    row = replace(GROWTH, checks=(check, Check("p99", (1.0,), 2, "less", "ms")))
    saved.save(tmp_path, Measured(row, FACTS, 60.0))
    assert saved.read(tmp_path) == measured(row)


def test_results_of_a_trial_are_never_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets: list[Path] = []

    def write(target: Path, *_: object) -> None:
        targets.append(target)

    monkeypatch.setattr(page, "write", write)
    saved.save(tmp_path, Measured(GROWTH, {**FACTS, "mode": "quick"}, 60.0))
    command.write_page(tmp_path, published=True)
    saved.save(tmp_path, Measured(GROWTH, FACTS, 60.0))
    command.write_page(tmp_path, published=True)
    assert [target.parent for target in targets] == [tmp_path, page.PAGE.parent]


def test_the_page_has_a_place_for_each_part() -> None:
    text = page.PAGE.read_text()
    marks = set(re.findall(r"<!-- end of (.+?) -->", text))
    assert marks == set(page.parts_of({}))


def test_a_medium_report_takes_about_35_minutes() -> None:
    def minutes(plan: Plan) -> float:
        return sum(each.estimate(plan) for each in SECTIONS.values()) / 60

    assert minutes(quick(PLAN)) < 12
    assert 25 < minutes(medium(PLAN)) < 40
    assert minutes(PLAN) < 90
