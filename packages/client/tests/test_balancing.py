"""Picks from memory: each strategy, and the same choice by key as the registry's."""

from collections import Counter

import pytest

from client_support.harness import RegistryProcess
from client_support.services import service
from modularity_client import Registry
from modularity_client.balancing import Choice

ALL = tuple(service(f"s{number}") for number in range(5))


def test_turns_go_round() -> None:
    choice = Choice(ALL)
    picked = [choice.pick("round_robin") for _ in range(10)]
    assert picked[:5] == picked[5:]
    assert set(picked) == set(ALL)


def test_turns_do_not_all_begin_with_the_first() -> None:
    assert len({Choice(ALL).pick("round_robin").id for _ in range(200)}) > 1


def test_chance_takes_everybody() -> None:
    choice = Choice(ALL)
    assert {choice.pick("random") for _ in range(1_000)} == set(ALL)


def test_weights_are_shares() -> None:
    heavy, light, none = (service(str(each), weight=each) for each in (9, 1, 0))
    choice = Choice((none, light, heavy))
    counts = Counter(choice.pick("weighted").weight for _ in range(5_000))
    assert counts[0] == 0
    assert 4_000 < counts[9] < 5_000 - counts[1] + 1


def test_a_weight_of_0_is_taken_when_there_is_no_other() -> None:
    choice = Choice((service("a", weight=0), service("b", weight=0)))
    assert {choice.pick("weighted").id for _ in range(200)} == {"a", "b"}


def test_when_a_provider_leaves_only_its_own_keys_move() -> None:
    before, after = Choice(ALL), Choice(ALL[1:])
    for number in range(200):
        old = before.pick("hash", str(number))
        if old != ALL[0]:
            assert after.pick("hash", str(number)) == old


def test_a_key_gets_the_provider_that_the_registry_gives_it(
    shared: RegistryProcess,
) -> None:
    with Registry(shared.url) as registry:
        for number in range(5):
            registry.put(
                id=f"hashed-{number}",
                name="x",
                capabilities=["hashed"],
                location="here",
                mode="standalone",
            )
        choice = Choice(registry.providers("hashed").services)
        for number in range(50):
            key = f"käse-{number}"
            theirs = registry.capability("hashed", strategy="hash", key=key)
            assert choice.pick("hash", key).id == theirs.id


def test_a_key_is_wanted_for_hash_and_a_strategy_must_exist() -> None:
    with pytest.raises(ValueError, match="key="):
        Choice(ALL).pick("hash")
    with pytest.raises(ValueError, match="round_robin, random"):
        Choice(ALL).pick("best")  # type: ignore[arg-type]  # the point of it
