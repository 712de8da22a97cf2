"""Several processes that serve one port."""

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.registry import eventually
from support.serving import HOST, Server, alive, free_port, running

WORKERS = {"workers": 3}
# Whatever is going on, a stop is over by then.
STOP_SECONDS = 5.0


def children(server: Server) -> set[int]:
    pid = server.process.pid
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(each) for each in listed.split()}


def all_up(server: Server) -> bool:
    """Whether each of the children has answered."""
    with ThreadPoolExecutor(8) as pool:
        seen = set(pool.map(lambda _: server.worker(), range(64)))
    return len(seen) == 3 and seen == children(server)


def test_callers_are_divided_among_all_workers() -> None:
    with running(options=WORKERS) as server:
        eventually(lambda: all_up(server))


def test_a_worker_that_crashes_comes_back_while_the_others_serve() -> None:
    with running(options=WORKERS) as server:
        eventually(lambda: all_up(server))
        first = min(children(server))
        os.kill(first, signal.SIGKILL)
        with ThreadPoolExecutor(8) as pool:
            # Some of these come to the one that is gone, and wait for the next.
            statuses = set(pool.map(lambda _: server.get("/")[0], range(64)))
        assert statuses == {200}
        eventually(lambda: not alive(first) and all_up(server))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_end_together(number: signal.Signals) -> None:
    with running(options=WORKERS) as server:
        eventually(lambda: all_up(server))
        pids = children(server)
        server.signal(number)
        assert server.exit_code() == 0
        assert not any(alive(pid) for pid in pids)


def test_all_end_with_their_parent() -> None:
    with running(options=WORKERS) as server:
        eventually(lambda: all_up(server))
        pids = children(server)
        server.process.kill()
        eventually(lambda: not any(alive(pid) for pid in pids), 5.0)


def test_an_app_that_can_not_be_built_is_told_once(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    server = Server(options=WORKERS, failure="store", notes=str(notes))
    assert server.exit_code() == 1
    assert server.errors().splitlines() == [
        "modularity-registry: redis does not answer"
    ]
    assert len(notes.read_text().splitlines()) == 1


@pytest.mark.parametrize("reuse_port", [False, True])
def test_a_port_in_use_is_refused(reuse_port: bool) -> None:
    with socket.socket() as taken:
        if reuse_port:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind((HOST, 0))
        taken.listen()
        server = Server(port=taken.getsockname()[1], options=WORKERS)
        assert server.exit_code() == 1
    assert "--port" in server.errors()


def test_a_second_server_of_several_workers_is_refused() -> None:
    with running(options=WORKERS) as server:
        again = Server(port=server.port, options=WORKERS)
        assert again.exit_code() == 1
        assert "--port" in again.errors()
        assert server.get("/")[0] == 200


def test_a_stop_while_they_start_ends_at_once(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    server = Server(port=free_port(), failure="slow", options=WORKERS, notes=str(notes))
    eventually(lambda: notes.exists())
    server.signal(signal.SIGTERM)
    assert server.exit_code() == 0
    assert server.errors() == ""


def kill(pid: int) -> None:
    """Return when it is gone, and its sockets with it."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive(pid))


def test_callers_of_one_that_crashed_wait_for_the_next() -> None:
    with running(options=WORKERS) as server:
        eventually(lambda: all_up(server))
        # All at once, and again before they have settled: they come back after a pause.
        for _ in range(2):
            for pid in children(server):
                kill(pid)
            assert server.get("/", timeout=20.0)[0] == 200
        eventually(lambda: all_up(server))


def test_a_hangup_ends_nobody() -> None:
    with running(options=WORKERS) as server:
        eventually(lambda: all_up(server))
        pids = children(server)
        server.signal(signal.SIGHUP, group=True)
        assert all_up(server) and children(server) == pids


def test_an_alarm_ends_nobody() -> None:
    with running(options=WORKERS) as server:
        server.signal(signal.SIGALRM)
        eventually(lambda: all_up(server))


def test_a_worker_that_does_not_stop_is_killed() -> None:
    with running(options={**WORKERS, "stop_seconds": 0.5}) as server:
        eventually(lambda: all_up(server))
        stopped = min(children(server))
        os.kill(stopped, signal.SIGSTOP)
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
        assert not alive(stopped)


def test_unfinished_bodies_do_not_keep_them_from_stopping() -> None:
    begun = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"
    with running(options=WORKERS) as server, ExitStack() as callers:
        eventually(lambda: all_up(server))
        for _ in range(16):
            callers.enter_context(server.connect(begun))
        server.signal(signal.SIGTERM)
        assert server.exit_code(STOP_SECONDS) == 0
