"""Writers share commits, and one that is interrupted leaves the others unharmed."""

import threading
from concurrent.futures import ThreadPoolExecutor

from modularity_registry.stores.group_commit import LARGEST_BATCH, GroupCommit, Write

SECONDS = 20.0


def a_write() -> Write:
    return Write("services/a", None, None)


class Committer:
    """Counts what it commits; commits nothing while it is blocked."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.threads: list[int] = []
        self.called = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self.group = GroupCommit(self.commit)

    def commit(self, batch: list[Write]) -> None:
        self.threads.append(threading.get_ident())
        self.called.set()
        assert self.open.wait(SECONDS)
        self.batches.append(len(batch))

    def block_on(self, pool: ThreadPoolExecutor) -> None:
        """Let a first writer wait in its commit."""
        self.open.clear()
        self.called.clear()
        pool.submit(self.group.run, a_write())
        assert self.called.wait(SECONDS)

    def wait_for_waiting(self, count: int) -> None:
        pause = threading.Event()
        for _ in range(10_000):
            if len(self.group._waiting) == count:
                return
            pause.wait(0.002)
        raise AssertionError(f"{count} writers never waited")


def test_a_lone_writer_commits_in_its_own_thread() -> None:
    committer = Committer()
    committer.group.run(a_write())
    assert (committer.batches, committer.threads) == ([1], [threading.get_ident()])


def test_writers_that_come_meanwhile_share_the_next_commit() -> None:
    committer = Committer()
    with ThreadPoolExecutor(10) as pool:
        committer.block_on(pool)
        for _ in range(9):
            pool.submit(committer.group.run, a_write())
        committer.wait_for_waiting(9)
        committer.open.set()
    assert committer.batches == [1, 9]
    committer.group.run(a_write())
    assert committer.batches == [1, 9, 1]


def test_a_batch_has_a_largest_size() -> None:
    committer = Committer()
    count = LARGEST_BATCH + 10
    with ThreadPoolExecutor(count + 1) as pool:
        committer.block_on(pool)
        for _ in range(count):
            pool.submit(committer.group.run, a_write())
        committer.wait_for_waiting(count)
        committer.open.set()
    assert committer.batches == [1, LARGEST_BATCH, 10]


def test_a_commit_that_raises_wakes_its_batch_and_the_next() -> None:
    calls: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def commit(batch: list[Write]) -> None:
        calls.append(len(batch))
        begun.set()
        assert go_on.wait(SECONDS)
        raise RuntimeError("no")

    group = GroupCommit(commit)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(group.run, a_write())
        assert begun.wait(SECONDS)
        rest = [pool.submit(group.run, a_write()) for _ in range(3)]
        while len(group._waiting) < 3:
            begun.wait(0.001)
        go_on.set()
        raised = [write.exception(SECONDS) is not None for write in (first, *rest)]
    assert calls == [1, 3]
    assert sum(raised) == 2  # the leaders
