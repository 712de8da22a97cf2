"""Loads a registry for an hour, and says whether it needs more and more for it.

uv run --group bench python -m benchmarks.soak
uv run --group bench python -m benchmarks.soak 60 --seed 7
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.machine import surroundings
from benchmarks.harness.paths import PROGRAMS
from benchmarks.harness.plan import Plan
from benchmarks.soak.report import Outcome, summary, write, write_docs
from benchmarks.soak.session import soak

OUT = Path(__file__).resolve().parents[1] / "results" / "soak"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("seconds", nargs="?", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, help="seed of a former run")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    parser.add_argument("--data", type=Path, help="folder for the registry's data")
    parser.add_argument(
        "--docs", action="store_true", help="write the figures into docs/soak.md"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when nothing grew and nothing failed, else 1."""
    options = parse(arguments)
    cores = sorted(os.sched_getaffinity(0))
    plan = Plan(
        seed=random.randrange(2**31) if options.seed is None else options.seed,
        server_core=cores[0],
        load_core=cores[-1],
        data=Path(options.data or tempfile.gettempdir()).resolve(),
        registry=PROGRAMS / "counted_registry.py",
    )
    facts = surroundings(plan.data)
    facts |= {"seed": plan.seed, "seconds": options.seconds}
    for name, value in facts.items():
        print(f"{name}: {value}", flush=True)
    random.seed(plan.seed)
    outcome: Outcome = asyncio.run(soak(plan, cores, options.seconds))
    print(summary(outcome))
    write(options.out, facts, outcome)
    if options.docs:
        write_docs(facts, outcome)
    return 0 if outcome.passed else 1


if __name__ == "__main__":
    sys.exit(main())
