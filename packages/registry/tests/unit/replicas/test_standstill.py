"""A standstill is noticed, whatever else the loop has to do."""

import asyncio
from collections.abc import Iterator

import pytest

from modularity_registry.replicas import standstill
from modularity_registry.replicas.standstill import MAX_STALL, Standstill
from support.registry import LOOP, ManualClock, eventually, on_loop


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.terms = 0
        self.standstill = Standstill(self.clock, self._give)

    def _give(self) -> None:
        self.terms += 1

    def turn_after(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.standstill.look()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    LOOP.call(bench.standstill.start())
    yield bench
    LOOP.call(bench.standstill.stop())


def test_a_turn_that_comes_too_late_gives_everyone_a_full_term(bench: Bench) -> None:
    def turns() -> None:
        for _ in range(10):
            bench.turn_after(MAX_STALL - 0.1)
        assert bench.terms == 0
        bench.turn_after(MAX_STALL + 0.1)
        assert bench.terms == 1
        bench.turn_after(0.0)
        assert bench.terms == 1

    on_loop(turns)


def test_it_looks_by_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standstill, "BEAT", 0.01)
    LOOP.call(bench.standstill.stop())
    LOOP.call(bench.standstill.start())
    bench.clock.advance(60)
    eventually(lambda: bench.terms == 1)


def test_before_the_start_and_after_the_stop_nothing_is_noticed() -> None:
    bench = Bench()
    bench.turn_after(60)

    async def start_and_stop() -> None:
        await bench.standstill.start()
        await bench.standstill.stop()
        await bench.standstill.stop()

    asyncio.run(start_and_stop())
    bench.turn_after(60)
    assert bench.terms == 0
