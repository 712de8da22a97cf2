"""Calls at a constant rate: a stall of the server is seen by all calls due in it."""

import os
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from selectors import EVENT_READ

import pytest

from benchmarks.harness.plan import Plan
from benchmarks.harness.programs import Program
from benchmarks.harness.results import BenchmarkError
from benchmarks.load.constant_rate import generator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CORE = min(os.sched_getaffinity(0))
PLAN = Plan(1, CORE, CORE, Path("data"))


class Server:
    """Answers each call at once, but pauses before the first."""

    def __init__(self, reply: bytes, stall: float) -> None:
        self._reply, self._stall = reply, stall
        self._ending = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as ready, ExitStack() as open_sockets:
            ready.register(open_sockets.enter_context(self._listener), EVENT_READ)
            while not self._ending.is_set():
                for key, _ in ready.select(0.05):
                    self._serve_one(ready, key.fileobj, open_sockets)

    def _serve_one(
        self, ready: selectors.BaseSelector, readable: object, opened: ExitStack
    ) -> None:
        assert isinstance(readable, socket.socket)
        if readable is self._listener:
            caller = opened.enter_context(self._listener.accept()[0])
            ready.register(caller, EVENT_READ)
        elif not readable.recv(65_536):
            ready.unregister(readable)
            readable.close()
        else:
            self._ending.wait(self._stall)
            self._stall = 0.0
            readable.sendall(self._reply)


@contextmanager
def calls(folder: Path, reply: bytes = OK, stall: float = 0.0) -> Iterator[Program]:
    """Give a generator of calls to such a server."""
    request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n"
    with (
        closing(Server(reply, stall)) as server,
        generator(PLAN, folder, server.port, [request]) as program,
    ):
        yield program


def test_calls_that_are_due_while_the_server_stalls_are_late(tmp_path: Path) -> None:
    with calls(tmp_path, stall=0.8) as program:
        figures = program.ask(rate=100, seconds=1, connections=4)
    assert figures["answered"] == figures["calls"] == 100
    # 80 calls were due in the stall: 0.8 s before its end, and so on down to 0. Only
    # the four that were under way would show it if the others were not counted.
    assert 0.2 < figures["p50"] < 0.6
    assert figures["p99"] > 0.7


def test_a_rate_is_kept_against_a_server_that_answers(tmp_path: Path) -> None:
    with calls(tmp_path) as program:
        figures = program.ask(rate=200, seconds=1, connections=4)
    assert figures["answered"] == 200
    assert 0.99 < figures["seconds"] < 2.0


def test_without_a_rate_each_answer_is_followed_by_a_call(tmp_path: Path) -> None:
    with calls(tmp_path, stall=0.3) as program:
        figures = program.ask(rate=0, seconds=0.5, connections=2)
    assert figures["answered"] == figures["calls"] > 2
    assert figures["p50"] < 0.2


def test_a_call_that_fails_ends_the_measurement(tmp_path: Path) -> None:
    refusal = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    with (
        calls(tmp_path, refusal) as program,
        pytest.raises(BenchmarkError, match="503 No"),
    ):
        program.ask(rate=100, seconds=1, connections=4)


def test_a_missing_server_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with (
        generator(PLAN, tmp_path, port, ["GET"]) as program,
        pytest.raises(BenchmarkError, match="refused"),
    ):
        program.ask(rate=1, seconds=1, connections=1)
