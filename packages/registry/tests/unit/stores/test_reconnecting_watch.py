"""A watch over sessions that break, forget and fail."""

import threading
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import Change, Event, Lost, Snapshot
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.reconnecting_watch import Gap, WatchSet

ONE, TWO, THREE = (Change("services/a", b"%d" % n, n) for n in (1, 2, 3))
EMPTY = Snapshot((), 0)


class Script:
    """A session that yields what the test puts into ``steps``, or raises it."""

    def __init__(self) -> None:
        self.steps: SimpleQueue[Change | Exception | None] = SimpleQueue()
        self.fail: Exception | None = None
        self.closed = 0
        self.interrupted = threading.Event()

    def snapshot(self) -> Snapshot:
        if self.fail is not None:
            raise self.fail
        return EMPTY

    def changes(self) -> Iterator[Change | None]:
        while not self.interrupted.is_set():
            step = self.steps.get()
            if isinstance(step, Exception):
                raise step
            yield step

    def interrupt(self) -> None:
        self.interrupted.set()
        self.steps.put(None)

    def close(self) -> None:
        self.closed += 1


class Server:
    """Opens one session after the other, or refuses."""

    def __init__(self) -> None:
        self.sessions: list[Script] = []
        self.refuse: Exception | None = None

    def open(self) -> Script:
        if self.refuse is not None:
            raise self.refuse
        self.sessions.append(Script())
        return self.sessions[-1]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def watches() -> Iterator[WatchSet]:
    watches = WatchSet("test")
    yield watches
    watches.close()


def test_changes_follow_the_snapshot(watches: WatchSet, server: Server) -> None:
    recorder = Recorder()
    watches.start(server.open, recorder)
    for step in (ONE, None, TWO):
        server.sessions[0].steps.put(step)
    recorder.wait_for_revision(2)
    assert recorder.events == [EMPTY, ONE, TWO]


def test_a_broken_session_is_told_once_and_replaced(
    watches: WatchSet, server: Server
) -> None:
    recorder = Recorder()
    watches.start(server.open, recorder)
    server.refuse = StoreUnavailable("refused")
    server.sessions[0].steps.put(StoreUnavailable("reset"))
    recorder.wait(lambda: Lost("reset") in recorder.events, "the news")
    server.refuse = None
    recorder.wait(lambda: len(server.sessions) == 2, "another session")
    server.sessions[1].steps.put(THREE)
    recorder.wait_for_revision(3)
    assert recorder.events == [EMPTY, Lost("reset"), EMPTY, THREE]
    assert server.sessions[0].closed == 1


def test_a_gap_is_closed_by_a_snapshot_alone(watches: WatchSet, server: Server) -> None:
    recorder = Recorder()
    watches.start(server.open, recorder)
    server.sessions[0].steps.put(Gap("trimmed"))
    recorder.wait(lambda: recorder.events == [EMPTY, EMPTY], "a fresh snapshot")


def test_a_feed_that_ends_is_a_lost_connection(
    watches: WatchSet, server: Server
) -> None:
    recorder = Recorder()
    watches.start(server.open, recorder)
    server.sessions[0].interrupt()
    recorder.wait(lambda: len(recorder.events) == 3, "a fresh snapshot")
    assert isinstance(recorder.events[1], Lost)
    assert recorder.events[2] == EMPTY


def test_the_first_failure_is_the_callers(watches: WatchSet, server: Server) -> None:
    server.refuse = StoreUnavailable("refused")
    with pytest.raises(StoreUnavailable, match="refused"):
        watches.start(server.open, Recorder())


def test_a_session_whose_snapshot_fails_is_closed(watches: WatchSet) -> None:
    session = Script()
    session.fail = StoreUnavailable("no snapshot")
    with pytest.raises(StoreUnavailable):
        watches.start(lambda: session, Recorder())
    assert session.closed == 1


def test_a_watcher_that_fails_ends_its_own_watch(
    watches: WatchSet, server: Server
) -> None:
    def fail(event: Event) -> None:
        if isinstance(event, Change):
            raise RuntimeError("a watcher's own mistake")

    watch = watches.start(server.open, fail)
    server.sessions[0].steps.put(ONE)
    watch._thread.join(20)
    assert not watch._thread.is_alive()
    assert server.sessions[0].closed == 1
    watch.close()


def test_after_a_close_nothing_is_sent(watches: WatchSet, server: Server) -> None:
    recorder = Recorder()
    watch = watches.start(server.open, recorder)
    watch.close()
    watch.close()
    server.sessions[0].steps.put(ONE)
    assert recorder.events == [EMPTY]
    assert server.sessions[0].closed == 1


def test_a_watch_can_close_itself(watches: WatchSet, server: Server) -> None:
    closed = threading.Event()

    def close(event: Event) -> None:
        if isinstance(event, Change):
            watch.close()
            closed.set()

    watch = watches.start(server.open, close)
    server.sessions[0].steps.put(ONE)
    assert closed.wait(20)


def test_a_closed_store_takes_no_watch(watches: WatchSet, server: Server) -> None:
    watch = watches.start(server.open, Recorder())
    watches.close()
    assert not watch._thread.is_alive()
    with pytest.raises(StoreUnavailable, match="closed"):
        watches.start(server.open, Recorder())
    with pytest.raises(StoreUnavailable, match="closed"):
        watches.require_open()


def test_a_close_while_it_waits_to_come_back_is_prompt(
    watches: WatchSet, server: Server
) -> None:
    recorder = Recorder()
    watch = watches.start(server.open, recorder)
    server.refuse = StoreUnavailable("refused")
    server.sessions[0].steps.put(StoreUnavailable("reset"))
    recorder.wait(lambda: len(recorder.events) == 2, "the news")
    watch.close()
    assert not watch._thread.is_alive()
