"""A name server that hangs costs a bounded number of threads and a bounded wait."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from modularity_registry.network.name_lookup import (
    NameLookup,
    NameNotResolved,
    system_addresses,
)


class NameServer:
    """Answers at once, except for names that start with ``dead``: those hang."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.revived = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, host: str, port: int) -> Sequence[str]:
        with self._lock:
            self.asked.append(host)
        if host.startswith("dead"):
            self.revived.wait(30)
        if host.startswith("unknown"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ["10.0.0.5", "fd00::5"]


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.revived.set()


def lookup_threads() -> int:
    return sum(thread.name.startswith("lookup-") for thread in threading.enumerate())


def until(condition: Callable[[], bool]) -> None:
    tick, left = threading.Event(), 500
    while not condition():
        left -= 1
        assert left, "not within five seconds"
        tick.wait(0.01)


def test_a_name_is_looked_up_once_while_the_answer_is_fresh(server: NameServer) -> None:
    now = 0.0
    names = NameLookup(server, ttl=5, clock=lambda: now)
    assert names.resolve("a", 80) == names.resolve("a", 81) == ("10.0.0.5", "fd00::5")
    assert server.asked == ["a"]
    now = 5.0
    names.resolve("a", 80)
    assert server.asked == ["a", "a"]


def test_a_failure_is_passed_on_and_not_remembered(server: NameServer) -> None:
    names = NameLookup(server)
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            names.resolve("unknown", 80)
    assert server.asked == ["unknown", "unknown"]


def test_a_lookup_that_hangs_is_given_up(server: NameServer) -> None:
    names = NameLookup(server, timeout=0.05)
    with pytest.raises(NameNotResolved, match=r"took longer than 0\.05 s"):
        names.resolve("dead", 80)


def test_lookups_that_hang_share_threads_and_names(server: NameServer) -> None:
    before = lookup_threads()
    names = NameLookup(server, threads=3)
    futures = [names.start(f"dead-{n % 5}", 80) for n in range(50)]
    until(lambda: len(server.asked) == 3)
    assert lookup_threads() == before + 3
    assert len(set(map(id, futures))) == 5
    server.revived.set()
    assert all(future.result(5) for future in futures)
    assert sorted(server.asked) == [f"dead-{n}" for n in range(5)]


def test_names_that_answered_promptly_are_not_held_up(server: NameServer) -> None:
    names = NameLookup(server, ttl=0, threads=2)
    names.resolve("good", 80)
    for n in range(10):
        names.start(f"dead-{n}", 80)
    until(lambda: len(server.asked) == 3)
    assert names.resolve("good", 80)


def test_a_name_that_turned_slow_loses_its_place(server: NameServer) -> None:
    now = 0.0

    def resolver(host: str, port: int) -> Sequence[str]:
        nonlocal now
        now += 2.0 if host == "slow" else 0.0
        return server(host, port)

    names = NameLookup(resolver, ttl=0, threads=1, clock=lambda: now)
    names.resolve("good", 80)
    names.resolve("slow", 80)
    names.start("dead", 80)
    until(lambda: "dead" in server.asked)
    names.start("slow", 80)
    names.resolve("good", 80)  # would come after "slow" if they shared a thread
    assert server.asked == ["good", "slow", "dead", "good"]


def test_too_many_lookups_fail_at_once(server: NameServer) -> None:
    names = NameLookup(server, threads=1, waiting=2)
    for n in range(3):
        names.start(f"dead-{n}", 80)
    with pytest.raises(OSError, match="too many names"):
        names.resolve("one-more", 80)


def test_a_cancelled_waiter_does_not_cancel_the_lookup(server: NameServer) -> None:
    names = NameLookup(server)
    future = names.start("dead", 80)
    assert not future.cancel()
    assert names.start("dead", 80) is future
    server.revived.set()
    assert future.result(5)


def test_the_system_knows_localhost() -> None:
    assert set(system_addresses("localhost", 80)) <= {"127.0.0.1", "::1"}
    assert NameLookup().resolve("localhost", 80)
