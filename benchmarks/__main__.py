"""Compares the registry with Consul, etcd and nginx on this machine, in one run.

uv run --group bench python -m benchmarks
uv run --group bench python -m benchmarks --quick --only lookup,checks
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from benchmarks.harness.machine import facts, filesystem
from benchmarks.harness.plan import Plan, quick
from benchmarks.harness.report import row_text, summary_text, write_json, write_plot
from benchmarks.harness.results import Row, rows_measured, rows_passed
from benchmarks.harness.systems import REGISTRY
from benchmarks.scenarios import SCENARIOS, run

OUT = Path(__file__).resolve().parent / "results"
TOOLS = {"wrk": "wrk", "taskset": "util-linux", "setpriv": "util-linux"}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare the registry with Consul, etcd and nginx on this machine.",
    )
    names = ",".join(SCENARIOS)
    parser.add_argument("--only", metavar="ROW,…", help=f"some of {names}")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="short runs, to see that all works; the figures mean little",
    )
    parser.add_argument("--repeats", type=int, help="repeats of each measurement")
    parser.add_argument("--seed", type=int, help="to ask for the same names again")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    parser.add_argument(
        "--data", type=Path, help="folder for the servers' data; on a real disk"
    )
    parser.add_argument(
        "--registry", type=Path, default=REGISTRY, help="another registry_service.py"
    )
    chosen = parser.parse_args(arguments)
    chosen.rows = chosen.only.split(",") if chosen.only else list(SCENARIOS)
    unknown = [name for name in chosen.rows if name not in SCENARIOS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {names}")
    if chosen.repeats is not None and chosen.repeats < 1:
        parser.error("--repeats must be 1 or more")
    return chosen


def make_plan(chosen: argparse.Namespace) -> Plan:
    """Return the plan; stops with one line when this machine can't do it."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("this needs two cores: one for the server, one for the load")
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            sys.exit(f"no {tool} on the path: apt-get install {package}")
    data = Path(chosen.data or tempfile.gettempdir()).resolve()
    if filesystem(data) == "tmpfs":
        sys.exit(f"{data} is in memory, so nothing is durable there: give --data")
    plan = Plan(
        seed=random.randrange(2**31) if chosen.seed is None else chosen.seed,
        server_core=cores[0],
        load_core=cores[1],
        data=data,
        registry=chosen.registry.resolve(),
    )
    plan = quick(plan) if chosen.quick else plan
    return plan.repeated(chosen.repeats) if chosen.repeats else plan


def main() -> int:
    """Run the rows and return 0 when all went well and kept its target, else 1."""
    chosen = parse()
    plan = make_plan(chosen)
    signal.signal(signal.SIGTERM, _interrupt)
    # The servers' core is theirs alone; what this process starts stays here as well.
    os.sched_setaffinity(0, {plan.load_core})
    about = facts(plan, "quick" if chosen.quick else "full")
    for name, value in about.items():
        print(f"{name}: {value}")
    rows: list[Row] = []
    try:
        for name in chosen.rows:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            rows.append(run(name, plan))
            print(f"\n{row_text(rows[-1])}\n", flush=True)
    except KeyboardInterrupt:
        print("\nstopped; the servers are down and nothing is written", file=sys.stderr)
        return 130
    print(summary_text(rows))
    _write(chosen.out, about, rows)
    # A quick run shows that all works; its figures are no ground to fail anything.
    return 0 if rows_measured(rows) and (chosen.quick or rows_passed(rows)) else 1


def _write(out: Path, about: dict[str, object], rows: Sequence[Row]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "results.json", about, rows)
    print(f"written: {out / 'results.json'}")
    try:
        write_plot(out / "results.png", about, rows)
        print(f"written: {out / 'results.png'}")
    except ImportError:
        print("no plot: matplotlib is not installed (uv run --group bench …)")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
