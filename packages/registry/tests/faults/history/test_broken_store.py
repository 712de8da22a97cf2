"""A whole run, over a right store and over one that loses writes."""

import random
from collections.abc import Iterator

import pytest

from support.faults.checker import check
from support.faults.client import Replica
from support.faults.figures import figures
from support.faults.load import Load
from support.faults.lossy_registry import LossyRegistry
from support.servers.registry import RegistryProcess


@pytest.fixture
def seed() -> int:
    """Printed with a failure."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    return seed


@pytest.fixture
def registry() -> Iterator[RegistryProcess]:
    registry = RegistryProcess()
    yield registry
    registry.stop()


def test_a_registry_that_nothing_breaks(registry: RegistryProcess, seed: int) -> None:
    with Load([Replica("one", registry.port)], seed) as load:
        for _ in range(4):
            load.wait_for_writes(30)
            load.break_stream()
        history = load.finish()
    violations = check(history)
    print(figures(history, violations))
    assert violations == []
    assert not [each.failed for each in history.asked if each.failed]
    assert sum(signal.kind == "connected" for signal in history.signals) > 1


@pytest.fixture
def lossy(seed: int) -> Iterator[LossyRegistry]:
    registry = LossyRegistry(each=20, seed=seed)
    yield registry
    registry.stop()


def test_a_store_that_loses_writes_is_found_out(
    lossy: LossyRegistry, seed: int
) -> None:
    with Load([Replica("one", lossy.port)], seed) as load:
        load.wait_for_writes(200)
        history = load.finish()
    kinds = {violation.kind for violation in check(history)}
    print(kinds)
    assert kinds & {"stale read", "lost write", "resurrected", "not linearizable"}
    assert "gap" in kinds
