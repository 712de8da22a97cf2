"""Writes are split into batches that every store accepts."""

import random

from modularity_registry.stores.base import (
    LARGEST_BATCH,
    LARGEST_BATCH_BYTES,
    Write,
    batches,
    require_valid,
)


def test_batches_hold_all_writes_in_order_and_each_is_valid() -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    sizes = (0, 100, 5_000, LARGEST_BATCH_BYTES // 2, LARGEST_BATCH_BYTES + 1)
    writes = [
        Write(f"services/{number}", chance.choice([None, bytes(chance.choice(sizes))]))
        for number in range(500)
    ]
    split = list(batches(writes))
    for batch in split:
        require_valid(batch)
    assert [write for batch in split for write in batch] == writes


def test_small_writes_fill_their_batches() -> None:
    writes = [Write(f"services/{number}", b"x") for number in range(150)]
    assert [len(batch) for batch in batches(writes)] == [LARGEST_BATCH] * 2 + [22]
    assert list(batches([])) == []


def test_a_write_that_would_be_too_much_begins_the_next_batch() -> None:
    half = bytes(LARGEST_BATCH_BYTES // 2)
    writes = [Write(f"services/{number}", half) for number in range(3)]
    assert list(batches(writes)) == [writes[:2], writes[2:]]
