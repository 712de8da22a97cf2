"""The server's life: how it starts, what ends it, and how."""

import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import PROGRAMS
from support.cli import environ
from support.registry import eventually
from support.serving import HOST, Server, free_port, read_all, read_some, running

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
# Whatever is going on, a stop is over by then.
STOP_SECONDS = 5.0


def stop(server: Server, number: signal.Signals, group: bool = False) -> float:
    """Send the signal, check a clean exit, return the seconds that it took."""
    started = time.monotonic()
    server.signal(number, group)
    assert server.exit_code() == 0
    return time.monotonic() - started


def refused_line(server: Server) -> str:
    """Return the one line that a server says which can't start."""
    assert server.exit_code() == 1
    lines = server.errors().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_app_is_built_in_the_main_thread_and_closed_in_order(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with running(notes=str(notes)) as server:
        assert server.worker() == server.process.pid  # one worker needs no parent
        assert stop(server, signal.SIGTERM) < STOP_SECONDS
    assert notes.read_text().splitlines() == ["factory True", "stop", "close"]


@pytest.mark.parametrize("reuse_port", [False, True])
def test_port_in_use_is_one_line_that_says_what_to_do(reuse_port: bool) -> None:
    with socket.socket() as taken:
        if reuse_port:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused_line(Server(port=port))
    assert str(port) in line
    assert "--port" in line


def test_second_server_on_a_port_is_refused_and_the_first_goes_on() -> None:
    with running() as server:
        assert "--port" in refused_line(Server(port=server.port))
        assert server.get("/")[0] == 200


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "a..b", "::g"])
def test_host_that_is_not_here_is_one_line_that_says_what_to_do(host: str) -> None:
    line = refused_line(Server(host=host))
    assert host in line
    assert "--host" in line


def test_localhost_listens_where_most_callers_knock() -> None:
    with running(host="localhost") as server:
        assert server.get("/")[0] == 200


@pytest.mark.parametrize(
    ("failure", "said"),
    [("setting", "no such store"), ("store", "redis does not answer"), ("bug", "'x'")],
)
def test_app_that_can_not_be_built_is_one_line(failure: str, said: str) -> None:
    assert said in refused_line(Server(failure=failure))


@pytest.mark.parametrize("group", [False, True])
def test_call_under_way_is_answered_in_full_before_the_end(group: bool) -> None:
    # A terminal's Ctrl-C goes to every process of the group; `kill` to one.
    number = signal.SIGINT if group else signal.SIGTERM
    with (
        running() as server,
        ThreadPoolExecutor(1) as pool,
        server.connect(GET) as idle,
    ):
        read_some(idle, b"}")
        call = pool.submit(server.get, "/wait?1.5")
        threading.Event().wait(0.3)
        assert stop(server, number, group) < STOP_SECONDS
        assert call.result() == (200, {"waited": "1.5"})
        assert read_all(idle) == b""


def test_endless_stream_ends_as_a_whole_one_when_the_server_stops() -> None:
    request = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
    with running() as server, server.connect(request) as stream:
        assert b"beat" in read_some(stream, b"beat")
        assert stop(server, signal.SIGTERM) < 3.0
        assert read_all(stream).endswith(b"0\r\n\r\n")


def test_hung_call_does_not_keep_the_server_from_stopping(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    request = b"GET /wait?3600 HTTP/1.1\r\nHost: x\r\n\r\n"
    with running(notes=str(notes)) as server, server.connect(request):
        threading.Event().wait(0.3)
        assert stop(server, signal.SIGTERM) < STOP_SECONDS
    assert notes.read_text().splitlines()[-1] == "close"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        GET[:9],
        b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\nabc",
        b"GET /large?30 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /wait?3600 HTTP/1.1\r\nHost: x\r\n\r\n" + GET * 1_000,
        b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_nothing_that_callers_leave_unfinished_keeps_it_either(sent: bytes) -> None:
    with running() as server, ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(server.connect(sent))
        assert server.get("/")[0] == 200
        assert stop(server, signal.SIGTERM) < STOP_SECONDS


def test_app_that_hangs_while_closing_does_not_either() -> None:
    with running(failure="close") as server:
        assert stop(server, signal.SIGINT) < STOP_SECONDS


def test_hangup_changes_nothing() -> None:
    with running() as server:
        server.signal(signal.SIGHUP, group=True)
        assert {server.worker() for _ in range(8)} == {server.process.pid}


def test_stop_while_the_app_is_being_built_ends_at_once(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    server = Server(port=free_port(), failure="slow", notes=str(notes))
    eventually(lambda: notes.exists())
    assert stop(server, signal.SIGTERM) < STOP_SECONDS
    assert server.errors() == ""


def catches_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    [mask] = [line.split()[1] for line in status.splitlines() if "SigCgt" in line]
    return bool(int(mask, 16) >> signal.SIGTERM - 1 & 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_stop_while_the_program_is_still_loaded_ends_with_0(
    tmp_path: Path, workers: int
) -> None:
    command = [sys.executable, str(PROGRAMS / "cli.py"), "serve"]
    command += ["--port", str(free_port()), "--workers", str(workers)]
    command += ["--store", f"sqlite:///{tmp_path}/registry.db"]
    program = subprocess.Popen(command, env=environ(), stderr=subprocess.PIPE)
    try:
        eventually(lambda: catches_sigterm(program.pid))
        loaded = Path(f"/proc/{program.pid}/maps").read_text()
        assert "uvloop" not in loaded  # what takes the time is still to come
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0
    finally:
        program.kill()
        _, errors = program.communicate()
    assert errors == b""


def test_process_leaves_whatever_its_streams_are_at() -> None:
    broken = """
import sys
from modularity_registry.serving.process import leave
class Amid:
    def flush(self):
        raise RuntimeError("reentrant call inside <_io.BufferedWriter>")
sys.stdout = Amid()
leave(0)
"""
    done = subprocess.run([sys.executable, "-c", broken], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("workers", [1, 2])
def test_told_again_and_again_it_ends_with_0(workers: int) -> None:
    with running(options={"workers": workers}) as server, ExitStack() as stack:
        for _ in range(3):
            stream = stack.enter_context(
                server.connect(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            )
            read_some(stream, b"beat")
        stack.enter_context(server.connect(b"GET /wait?9 HTTP/1.1\r\nHost: x\r\n\r\n"))
        while server.process.poll() is None:
            server.signal(signal.SIGTERM)
            threading.Event().wait(0.1)
        assert server.exit_code() == 0
