"""Writes share batches, and what becomes of one does not touch the others."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import pytest

from modularity_registry.errors import (
    OutcomeUnknown,
    StoreConflict,
    StoreError,
    StoreUnavailable,
)
from modularity_registry.stores.base import (
    LARGEST_BATCH,
    LARGEST_BATCH_BYTES,
    Outcome,
    Write,
)
from modularity_registry.stores.group_commit import GroupCommit
from modularity_registry.stores.memory import MemoryStore

SECONDS = 20.0


class SlowStore(MemoryStore):
    """Waits with each batch until it is let go; notes the keys of each."""

    embedded: Final = False  # type: ignore[misc]  # a test's own

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.open = threading.Event()
        self.error: Exception | None = None

    def commit(self, batch: Sequence[Write]) -> list[Outcome]:
        self.batches.append([write.key for write in batch])
        assert self.open.wait(SECONDS)
        if self.error is not None:
            raise self.error
        return super().commit(batch)


class Bench:
    """A group commit over a slow store, and its first write, of "first"."""

    def __init__(self) -> None:
        self.store = SlowStore()
        self.group = GroupCommit(self.store)
        self.first = self.submit(Write("first", b""))

    def submit(self, write: Write) -> asyncio.Task[int | None]:
        return asyncio.ensure_future(self.group.write(write))

    async def all_wait(self) -> None:
        """Return when all that was submitted has reached the group commit."""
        await asyncio.sleep(0)

    async def outcomes(self, *tasks: Awaitable[int | None]) -> list[object]:
        """Let the store go on; return what became of ``tasks``."""
        self.store.open.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))


async def begun() -> Bench:
    """Return a bench whose first write is under way."""
    bench = Bench()
    await asyncio.sleep(0)
    await asyncio.to_thread(_until, lambda: bool(bench.store.batches))
    return bench


def _until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(10_000):
        if condition():
            return
        pause.wait(0.002)
    raise AssertionError("it did not happen in time")


def test_over_an_embedded_store_a_write_never_suspends() -> None:
    writing = GroupCommit(MemoryStore()).write(Write("a", b""))
    with pytest.raises(StopIteration) as ended:
        writing.send(None)
    assert ended.value.value == 1


def test_writes_of_one_turn_of_the_loop_share_a_batch() -> None:
    async def run() -> None:
        bench = Bench()
        tasks = [bench.submit(Write(key, b"")) for key in "ab"]
        assert await bench.outcomes(bench.first, *tasks) == [1, 2, 3]
        assert bench.store.batches == [["first", "a", "b"]]

    asyncio.run(run())


def test_writes_that_come_meanwhile_share_the_next_batch() -> None:
    async def run() -> None:
        bench = await begun()
        tasks = [bench.submit(Write(f"k{number}", b"")) for number in range(9)]
        await bench.all_wait()
        assert await bench.outcomes(bench.first, *tasks) == [*range(1, 11)]
        assert bench.store.batches == [["first"], [f"k{number}" for number in range(9)]]

    asyncio.run(run())


def test_a_batch_has_one_write_of_a_key_and_keeps_their_order() -> None:
    async def run() -> None:
        bench = await begun()
        tasks = [bench.submit(Write(key, b"")) for key in "abacaab"]
        await bench.all_wait()
        await bench.outcomes(*tasks)
        assert bench.store.batches == [
            ["first"],
            ["a", "b", "c"],
            ["a", "b"],
            ["a"],
            ["a"],
        ]
        revisions = [await task for task in tasks]
        of_a = [r for r, key in zip(revisions, "abacaab", strict=True) if key == "a"]
        assert of_a == sorted(of_a, key=lambda revision: revision or 0)

    asyncio.run(run())


def test_batches_are_bounded_in_number_and_in_bytes() -> None:
    async def run() -> None:
        bench = await begun()
        large = bytes(LARGEST_BATCH_BYTES // 2)
        tasks = [bench.submit(Write(f"k{number}", b"")) for number in range(100)]
        tasks += [bench.submit(Write(key, large)) for key in "abc"]
        tasks.append(bench.submit(Write("huge", large * 3)))
        await bench.all_wait()
        await bench.outcomes(*tasks)
        sizes = [len(batch) for batch in bench.store.batches]
        assert sizes == [1, LARGEST_BATCH, 100 - LARGEST_BATCH + 2, 1, 1]

    asyncio.run(run())


def test_a_batch_holds_not_a_byte_too_much() -> None:
    async def run() -> None:
        bench = await begun()
        half = bytes(LARGEST_BATCH_BYTES // 2)
        values = {"a": half, "b": half, "c": b"x"}
        tasks = [bench.submit(Write(key, value)) for key, value in values.items()]
        await bench.all_wait()
        await bench.outcomes(*tasks)
        assert bench.store.batches == [["first"], ["a", "b"], ["c"]]

    asyncio.run(run())


def test_writes_of_several_turns_share_a_batch_while_several_are_under_way() -> None:
    async def run() -> None:
        bench = Bench()
        second = bench.submit(Write("second", b""))
        await asyncio.sleep(0)
        await asyncio.to_thread(_until, lambda: bool(bench.store.batches))
        tasks = []
        for key in "ab":
            tasks.append(bench.submit(Write(key, b"")))
            for _ in range(3):
                await asyncio.sleep(0)
        await bench.outcomes(bench.first, second, *tasks)
        assert bench.store.batches == [["first", "second"], ["a", "b"]]

    asyncio.run(run())


def test_a_conflict_stands_beside_a_success() -> None:
    async def run() -> None:
        bench = await begun()
        tasks = [
            bench.submit(Write("a", b"", 0)),
            bench.submit(Write("b", b"", 7)),
            bench.submit(Write("c", None)),
        ]
        await bench.all_wait()
        good, conflict, nothing = await bench.outcomes(*tasks)
        assert (good, nothing) == (2, None)
        assert isinstance(conflict, StoreConflict) and conflict.actual == 0
        assert len(bench.store.batches) == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StoreUnavailable("away"), StoreUnavailable),
        (OutcomeUnknown("who knows"), OutcomeUnknown),
        (RuntimeError("a bug of the driver"), OutcomeUnknown),
    ],
)
def test_the_error_of_a_batch_reaches_each_of_its_writers(
    error: Exception, kind: type[StoreError]
) -> None:
    async def run() -> None:
        bench = await begun()
        tasks = [bench.submit(Write(key, b"")) for key in "ab"]
        await bench.all_wait()
        bench.store.error = error
        one, other = await bench.outcomes(*tasks)
        assert type(one) is type(other) is kind
        assert one is not other
        bench.store.error = None
        assert await bench.submit(Write("c", b"")) == 1

    asyncio.run(run())


def test_a_write_whose_caller_has_gone_is_not_made() -> None:
    async def run() -> None:
        bench = await begun()
        gone, stays = (bench.submit(Write(key, b"")) for key in "ab")
        await bench.all_wait()
        gone.cancel()
        assert await bench.outcomes(bench.first, stays) == [1, 2]
        assert bench.store.batches == [["first"], ["b"]]

    asyncio.run(run())


def test_at_the_end_only_what_is_under_way_is_written() -> None:
    async def run() -> None:
        bench = await begun()
        waits = bench.submit(Write("a", b""))
        await bench.all_wait()
        bench.group.stop()
        bench.group.stop()
        late = bench.submit(Write("b", b""))
        first, *others = await bench.outcomes(bench.first, waits, late)
        assert first == 1
        assert [type(each) for each in others] == [StoreUnavailable] * 2
        assert bench.store.batches == [["first"]]

    asyncio.run(run())


def test_a_batch_that_outlives_its_loop_ends_quietly_and_holds_up_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    before = set(threading.enumerate())

    async def run() -> SlowStore:
        return (await begun()).store

    store = asyncio.run(run())
    [writer] = set(threading.enumerate()) - before
    assert writer.daemon
    store.open.set()
    writer.join(SECONDS)
    assert not writer.is_alive()
    assert failures == []
