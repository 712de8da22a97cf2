"""A registry over SQLite that is killed under load, and that loses its power."""

import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from faults.sqlite.disk import put_back
from faults.sqlite.load import Load
from faults.sqlite.machine import NAME, Machine, Moment, held_by
from faults.sqlite.writes import acknowledged, mistakes
from support.registry import eventually

SECONDS = float(os.environ.get("FAULTS_SECONDS", "0"))
CRASHES, MOST_CRASHES = 8, 100
MOMENTS = 10 if SECONDS else 4
"""Earlier moments that are looked at, for each crash."""


class Trial:
    """A machine under load, and what was counted."""

    def __init__(self, machine: Machine, folder: Path, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._machine = machine
        self._folder = folder
        self._rng = random.Random(seed)
        self._load = Load(machine.port, seed)
        folder.mkdir()
        machine.start()
        self._epoch = machine.ask().epoch
        self._settled = time.monotonic_ns()

    def crash(self) -> None:
        """Crash at some moment, start again, and compare."""
        goal = len(self._load.writes) + self._rng.randint(20, 400)
        self._load.start(self.counts["crashes"])
        eventually(lambda: len(self._load.writes) >= goal)
        power = self._rng.random() < 0.5
        moments = self._machine.crash(self._rng, power, MOMENTS)
        self._load.stop()
        crashed = time.monotonic_ns()
        for moment in moments:
            if moment.at >= self._settled:
                self._look(moment)
        self._machine.start()
        ready = time.monotonic_ns()
        self._compare(crashed)
        self._settled = crashed if power else ready
        self._load.settle(self._machine.ask().held, self._settled)
        self.counts["crashes"] += 1
        self.counts["power cuts"] += power

    def _compare(self, crashed: int) -> None:
        view = self._machine.ask()
        assert mistakes(self._load.writes, view.held, crashed) == []
        # A revision that a watcher may have seen never names another write.
        assert view.epoch == self._epoch
        assert view.revision >= self._load.revision
        assert integrity(self._machine.disk / NAME) == "ok"
        self.counts["acknowledged"] += acknowledged(self._load.writes, crashed)

    def _look(self, moment: Moment) -> None:
        """Open what a power cut at a moment would have left, and compare."""
        put_back(self._folder, moment.files)
        held = held_by(self._folder / NAME)
        assert mistakes(self._load.writes, held, moment.at) == []
        assert integrity(self._folder / NAME) == "ok"
        self.counts["moments"] += 1


def integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as file:
        [[answer]] = file.execute("PRAGMA integrity_check").fetchall()
    return str(answer)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with closing(Machine(tmp_path)) as machine:
        yield machine


def test_what_was_acknowledged_survives_kills_and_power_cuts(
    machine: Machine, tmp_path: Path
) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    trial = Trial(machine, tmp_path / "earlier", seed)
    counts, end = trial.counts, time.monotonic() + SECONDS
    while counts["crashes"] < CRASHES or (
        counts["crashes"] < MOST_CRASHES and time.monotonic() < end
    ):
        trial.crash()
    print(
        f"{counts['crashes']} crashes, {counts['power cuts']} of them power cuts, and"
        f" {counts['moments']} moments in between: of {counts['acknowledged']}"
        " acknowledged writes none was lost"
    )
