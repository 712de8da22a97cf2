"""Simulates many services, up to a million, and says what comes first at the limit.

uv run --group bench python -m benchmarks.simulator
uv run --group bench python -m benchmarks.simulator --services 1000000 --replicas 100
uv run --group bench python -m benchmarks.simulator --calibrate
uv run --group bench python -m benchmarks.simulator --verify
"""

import argparse
import logging
import sys

from benchmarks.harness.paths import IMAGES
from benchmarks.report.markdown import fill
from benchmarks.simulator import calibrate, costs, report, scenarios, verify
from benchmarks.simulator.simulation import Setup
from benchmarks.simulator.store import StoreModel

SERVICES = (1_000, 10_000, 100_000, 1_000_000)
REPLICAS = (1, 3, 10, 30, 100)


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulator")
    parser.add_argument("--services", type=int, default=100_000)
    parser.add_argument("--replicas", type=int, default=30)
    parser.add_argument("--interval", type=float, default=5.0, help="of checks, in s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--calibrate", action="store_true", help="measure the costs on this machine"
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare with ten real replicas"
    )
    parser.add_argument(
        "--docs", action="store_true", help="write the figures into docs/scale.md"
    )
    return parser.parse_args()


def main() -> int:
    """Return 0; what was found is printed."""
    options = parse()
    # Every replica would tell of every other one that it loses.
    logging.getLogger("modularity_registry").setLevel(logging.ERROR)
    print(f"seed: {options.seed}")
    if options.calibrate:
        costs.write(*calibrate.calibrate(options.seed))
    values, machine = costs.read()
    print(", ".join(f"{name}: {value}" for name, value in machine.items()))
    print(report.costs_table(values), flush=True)
    store = StoreModel(values.batch, values.write)
    setup = Setup(
        options.services, options.replicas, values, options.seed, store,
        interval=options.interval,
    )  # fmt: skip
    if options.verify:
        comparison = verify.compare(setup)
        print(comparison)
        if options.docs:
            fill(report.PAGE, {"verify": comparison})
        return 0
    if options.calibrate:
        return 0
    outcomes = list(scenarios.all_of(setup))
    growth = list(scenarios.growth(setup, SERVICES, REPLICAS))
    parts = {
        "scenarios": report.scenario_table(outcomes),
        "limits": report.limits_table(growth[-1].setup),
        "growth": report.growth_table(growth),
        "costs": report.costs_table(values),
    }
    for part in parts.values():
        print(f"\n{part}", flush=True)
    if options.docs:
        from benchmarks.simulator.plots import draw

        fill(report.PAGE, parts)
        draw(IMAGES, outcomes, growth)
    return 0


if __name__ == "__main__":
    sys.exit(main())
