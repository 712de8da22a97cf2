"""Compares the registry with Consul, etcd and nginx on this machine, in one run.

uv run --group bench python -m benchmarks
uv run --group bench python -m benchmarks --quick --only lookup,checks
uv run --group bench python -m benchmarks report --medium
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from benchmarks.harness.machine import facts, filesystem
from benchmarks.harness.plan import Plan, medium, quick
from benchmarks.harness.results import Row, rows_measured, rows_passed
from benchmarks.harness.revision import checkout
from benchmarks.report.command import estimate_text, measure, write_page
from benchmarks.report.rows import row_text, summary_text, write_json, write_plot
from benchmarks.report.sections import SECTIONS
from benchmarks.scenarios import SCENARIOS, run

OUT = Path(__file__).resolve().parent / "results"
# A trial is kept apart, so that it never gets into the page.
REPORT, TRIAL = OUT / "report", OUT / "trial"
TOOLS = {"wrk": "wrk", "taskset": "util-linux", "setpriv": "util-linux"}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare the registry with Consul, etcd and nginx on this machine.",
    )
    names = ",".join(SCENARIOS)
    parser.add_argument(
        "command",
        nargs="?",
        choices=["report"],
        help="measure the sections of docs/benchmarks.md, and write it",
    )
    parser.add_argument(
        "--only",
        metavar="ROW,…",
        help=f"rows to measure: {names}; of a report: {','.join(SECTIONS)}",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="short runs, to see that everything works; the figures mean little",
    )
    parser.add_argument(
        "--medium",
        action="store_true",
        help="fewer repeats and points: a report in about 35 minutes",
    )
    parser.add_argument(
        "--docs",
        action="store_true",
        help="write the page of the report from saved results, without measuring",
    )
    parser.add_argument("--repeats", type=int, help="repeats of each measurement")
    parser.add_argument(
        "--seed",
        type=int,
        help="seed of a former run, to draw the same names and requests",
    )
    parser.add_argument("--out", type=Path, help="folder for the results")
    parser.add_argument(
        "--data", type=Path, help="folder for the servers' data, on a disk"
    )
    parser.add_argument(
        "--against",
        metavar="REV",
        help="commit whose registry is measured beside this one",
    )
    options = parser.parse_args(arguments)
    possible = list(SECTIONS if options.command else SCENARIOS)
    options.rows = options.only.split(",") if options.only else possible
    if unknown := [name for name in options.rows if name not in possible]:
        text = f"no such row: {', '.join(unknown)}; the rows are {','.join(possible)}"
        parser.error(text)
    if options.docs and not options.command:
        parser.error("--docs belongs to report: python -m benchmarks report --docs")
    if options.quick and options.medium:
        parser.error("use either --quick or --medium")
    folder = TRIAL if options.quick else REPORT
    options.out = options.out or (folder if options.command else OUT)
    if options.repeats is not None and options.repeats < 1:
        parser.error("--repeats must be 1 or more")
    return options


def make_plan(options: argparse.Namespace) -> Plan:
    """Return the plan; exits with a message when this machine can't run it."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("this needs two cores: one for the server and one for the load")
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            sys.exit(f"no {tool} on the path: apt-get install {package}")
    data = Path(options.data or tempfile.gettempdir()).resolve()
    if filesystem(data) == "tmpfs":
        sys.exit(f"{data} is in memory, so nothing there is durable: use --data")
    plan = Plan(
        seed=random.randrange(2**31) if options.seed is None else options.seed,
        server_core=cores[0],
        load_core=cores[1],
        data=data,
        against=_other_registry(options.against),
    )
    plan = quick(plan) if options.quick else plan
    plan = medium(plan) if options.medium else plan
    return replace(plan, repeats=options.repeats) if options.repeats else plan


def _other_registry(revision: str | None) -> Path | None:
    try:
        return checkout(revision) if revision else None
    except subprocess.CalledProcessError as error:
        sys.exit(f"--against {revision}: {' '.join(error.cmd)} failed")


def main() -> int:
    """Return 0 when every row was measured and met its targets, else 1."""
    options = parse()
    if options.docs:
        write_page(options.out, not options.quick)
        return 0
    plan = make_plan(options)
    signal.signal(signal.SIGTERM, _interrupt)
    # The servers have their core for themselves; child processes stay on this one.
    os.sched_setaffinity(0, {plan.load_core})
    mode = "quick" if options.quick else "medium" if options.medium else "full"
    if options.command:
        return _report(options, plan, mode)
    run_facts = facts(plan, mode)
    for name, value in run_facts.items():
        print(f"{name}: {value}")
    rows: list[Row] = []
    try:
        for name in options.rows:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            rows.append(run(name, plan))
            print(f"\n{row_text(rows[-1])}\n", flush=True)
    except KeyboardInterrupt:
        print("\ninterrupted: servers stopped, nothing written", file=sys.stderr)
        return 130
    print(summary_text(rows))
    _write(options.out, run_facts, rows)
    # A quick run only shows that everything works: a missed target does not fail it.
    return 0 if rows_measured(rows) and (options.quick or rows_passed(rows)) else 1


def _report(options: argparse.Namespace, plan: Plan, mode: str) -> int:
    """Measure the sections and write the page; return 0 when each could be measured."""
    print(f"seed: {plan.seed}")
    print(estimate_text(options.rows, plan), flush=True)
    try:
        complete = measure(options.rows, plan, mode, options.out)
    except KeyboardInterrupt:
        print("\ninterrupted: what was saved before stays", file=sys.stderr)
        return 130
    write_page(options.out, not options.quick)
    return 0 if complete else 1


def _write(out: Path, run_facts: dict[str, object], rows: Sequence[Row]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "results.json", run_facts, rows)
    print(f"written: {out / 'results.json'}")
    try:
        write_plot(out / "results.png", run_facts, rows)
        print(f"written: {out / 'results.png'}")
    except ImportError:
        print("no plot: matplotlib is not installed; use uv run --group bench")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
