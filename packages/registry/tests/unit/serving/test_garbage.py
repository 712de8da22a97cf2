"""What survives a search for garbage is left out of the next ones, not for ever."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress

import pytest

from modularity_registry.serving.garbage import Survivors


class Ring:
    """Garbage that only a search finds, once nobody else holds it."""

    __slots__ = ("__weakref__", "itself")

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def survivors() -> Iterator[None]:
    gc.disable()  # a search in between would count as the last one
    gc.collect()
    gc.freeze()
    callback = Survivors()
    gc.callbacks.append(callback)
    yield
    with suppress(ValueError):
        gc.callbacks.remove(callback)
    gc.unfreeze()
    gc.enable()


def some(share: float) -> list[Ring]:
    """As many as this share of what has been left out so far."""
    return [Ring() for _ in range(int(gc.get_freeze_count() * share))]


def is_found_after_a_search(rings: list[Ring]) -> bool:
    """Whether these are found when they become garbage after they were left out."""
    gc.collect()
    last = weakref.ref(rings[-1])
    rings.clear()
    gc.collect()
    return last() is None


def test_garbage_is_found_when_a_quarter_has_been_left_out_since() -> None:
    assert is_found_after_a_search(some(0.3))


def test_a_little_garbage_waits_until_there_is_more() -> None:
    first = some(0.1)
    waiting = weakref.ref(first[0])
    assert not is_found_after_a_search(first)
    assert is_found_after_a_search(some(0.2))
    assert waiting() is None


def test_what_has_gone_by_itself_does_not_count() -> None:
    others = [[number] for number in range(int(gc.get_freeze_count() * 0.3))]
    gc.collect()
    others.clear()
    assert not is_found_after_a_search(some(0.1))
