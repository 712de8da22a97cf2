"""Each store is broken in each way while clients use a registry over it.

``FAULTS_SECONDS`` is for how long, in all. Without it, or with little, some rows of
the table run once each; with more, all of them share the time, again and again. Then
``FAULTS_TABLE`` names a file for the figures.
"""

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.faults.cable import Cable
from support.faults.checker import check, lost_writes
from support.faults.client import Replica
from support.faults.figures import Figures, figures, together
from support.faults.history import History
from support.faults.load import Load
from support.faults.scenarios import SCENARIOS, Scenario
from support.faults.stores import Backend
from support.faults.violation import Violation
from support.servers.registry import RegistryProcess

SECONDS = float(os.environ.get("FAULTS_SECONDS", "60"))
LONG = SECONDS > 120
ROWS = [scenario for scenario in SCENARIOS if scenario.short or LONG]
SHARE = SECONDS / len(ROWS)
PATIENCE = 120.0
"""Seconds for a store to be back on a busy machine."""

OF_A_LOSS = {"lost write", "not linearizable", "revisions go back", "never written"}
"""Violations that the loss of acknowledged writes consists of."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("scenario", ROWS, ids=str)
def test_a_store_under_faults(
    scenario: Scenario, tmp_path: Path, stack: ExitStack
) -> None:
    end = time.monotonic() + SHARE
    cable = Cable(stack) if scenario.cable else None
    store = scenario.store(tmp_path, stack, cable)
    rounds: list[Figures] = []
    while not rounds or (time.monotonic() < end and LONG and not scenario.once):
        seed = random.SystemRandom().randrange(2**32)
        print(f"{scenario}: seed {seed}")
        history = run(scenario, store, seed)
        rounds.append(judge(scenario, history))
        print(rounds[-1])
    note(scenario, rounds)


def run(scenario: Scenario, store: Backend, seed: int) -> History:
    """Use a registry while its store is broken, and read what is left of it."""
    chance = random.Random(seed)
    seconds = chance.uniform(0.5, 9.0) if LONG else chance.uniform(0.3, 1.5)
    # The round before has left its services in the store.
    url = f"{store.url}?prefix=round-{seed}"
    start = store.cable.start if store.cable else _start
    with ExitStack() as stack:
        registry = start(url)
        stack.callback(registry.stop)
        replicas = [Replica("one", registry.port)]
        with Load(replicas, seed, new_ids=scenario.lossy) as load:
            load.wait_for_writes(40, PATIENCE)
            scenario.break_it(store, seconds, chance)
            load.wait_for_writes(40, PATIENCE)
            load.stop()
            # What it shows was in the store, not only in the memory of the other.
            newcomer = start(url)
            stack.callback(newcomer.stop)
            return load.finish([Replica("newcomer", newcomer.port)], PATIENCE)


def _start(url: str) -> RegistryProcess:
    return RegistryProcess(store=url)


def judge(scenario: Scenario, history: History) -> Figures:
    violations: list[Violation] = check(history)
    lost = len(lost_writes(history)) if scenario.lossy else 0
    if scenario.lossy:
        violations = [v for v in violations if v.kind not in OF_A_LOSS]
    result = figures(history, violations, lost)
    assert violations == [], f"{result}\n" + "\n".join(map(str, violations[:5]))
    failed = [asked.failed for asked in history.asked if asked.failed]
    assert failed == [], result
    return result


def note(scenario: Scenario, rounds: list[Figures]) -> None:
    """Add a row to the table, if one is asked for."""
    name = os.environ.get("FAULTS_TABLE")
    if name:
        row = together(rounds).row()
        with Path(name).open("a", encoding="utf-8") as table:
            cells = scenario.store.kind, scenario.fault, str(len(rounds)), *row
            table.write(f"| {' | '.join(cells)} |\n")
