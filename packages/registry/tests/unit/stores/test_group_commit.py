"""Writers share commits, and one that is interrupted leaves the others unharmed."""

import threading
from concurrent.futures import ThreadPoolExecutor

from modularity_registry.stores.group_commit import LARGEST_BATCH, GroupCommit, Pending

SECONDS = 20.0


class Desk:
    """Counts what it commits; commits nothing while it is shut."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.threads: list[int] = []
        self.called = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self.group = GroupCommit(self.commit)

    def commit(self, batch: list[Pending]) -> None:
        self.threads.append(threading.get_ident())
        self.called.set()
        assert self.open.wait(SECONDS)
        self.batches.append(len(batch))

    def shut_on(self, pool: ThreadPoolExecutor) -> None:
        """Let a first writer wait in its commit."""
        self.open.clear()
        self.called.clear()
        pool.submit(self.group.run, Pending())
        assert self.called.wait(SECONDS)

    def await_waiting(self, count: int) -> None:
        pause = threading.Event()
        for _ in range(10_000):
            if len(self.group._waiting) == count:
                return
            pause.wait(0.002)
        raise AssertionError(f"{count} writers never waited")


def test_a_lone_writer_commits_in_its_own_thread() -> None:
    desk = Desk()
    desk.group.run(Pending())
    assert (desk.batches, desk.threads) == ([1], [threading.get_ident()])


def test_those_who_come_meanwhile_share_the_next_commit() -> None:
    desk = Desk()
    with ThreadPoolExecutor(10) as pool:
        desk.shut_on(pool)
        for _ in range(9):
            pool.submit(desk.group.run, Pending())
        desk.await_waiting(9)
        desk.open.set()
    assert desk.batches == [1, 9]
    desk.group.run(Pending())
    assert desk.batches == [1, 9, 1]


def test_a_batch_has_a_largest_size() -> None:
    desk = Desk()
    count = LARGEST_BATCH + 10
    with ThreadPoolExecutor(count + 1) as pool:
        desk.shut_on(pool)
        for _ in range(count):
            pool.submit(desk.group.run, Pending())
        desk.await_waiting(count)
        desk.open.set()
    assert desk.batches == [1, LARGEST_BATCH, 10]


def test_a_commit_that_raises_wakes_its_batch_and_the_next() -> None:
    calls: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def commit(batch: list[Pending]) -> None:
        calls.append(len(batch))
        begun.set()
        assert go_on.wait(SECONDS)
        raise RuntimeError("no")

    group = GroupCommit(commit)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(group.run, Pending())
        assert begun.wait(SECONDS)
        rest = [pool.submit(group.run, Pending()) for _ in range(3)]
        while len(group._waiting) < 3:
            begun.wait(0.001)
        go_on.set()
        raised = [each.exception(SECONDS) is not None for each in (first, *rest)]
    assert calls == [1, 3]
    assert sum(raised) == 2  # those who led
