"""How a member's process ends, and what the registry has then."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from client_support import SUPPORT
from client_support.harness import RegistryProcess, eventually

MEMBER = SUPPORT / "member.py"
TERMINATED = -signal.SIGTERM

Process = subprocess.Popen[str]


@pytest.fixture
def registry(own: Callable[[], RegistryProcess]) -> RegistryProcess:
    process = own()
    process.start()
    return process


@pytest.fixture
def start(registry: RegistryProcess) -> Iterator[Callable[[str], Process]]:
    with ExitStack() as stack:

        def start(what: str) -> Process:
            process = subprocess.Popen(
                [sys.executable, str(MEMBER), what, registry.url],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        yield start


def ready(process: Process) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def ids(registry: RegistryProcess) -> list[str]:
    return [each["id"] for each in registry.get("/api/services")["services"]]


@pytest.mark.parametrize("what", ["hold", "looped"])
def test_sigterm_unregisters_and_ends_as_it_would_have(
    registry: RegistryProcess, start: Callable[[str], Process], what: str
) -> None:
    process = start(what)
    ready(process)
    assert ids(registry) == ["member"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == TERMINATED
    assert ids(registry) == []


@pytest.mark.parametrize("what", ["hold", "looped"])
def test_ctrl_c_unregisters(
    registry: RegistryProcess, start: Callable[[str], Process], what: str
) -> None:
    process = start(what)
    ready(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in (1, -signal.SIGINT, 130)
    assert ids(registry) == []


def test_two_members_of_one_process_both_go(
    registry: RegistryProcess, start: Callable[[str], Process]
) -> None:
    process = start("two")
    ready(process)
    assert ids(registry) == ["member", "second"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == TERMINATED
    assert ids(registry) == []


def test_the_end_of_the_program_unregisters(
    registry: RegistryProcess, start: Callable[[str], Process]
) -> None:
    assert start("unawaited").wait(60) == 0
    assert ids(registry) == []
    assert registry.get("/ready")["revision"] >= 3  # it has been there


def test_a_handler_of_the_program_comes_after_the_goodbye(
    registry: RegistryProcess, start: Callable[[str], Process]
) -> None:
    process = start("handled")
    ready(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 3
    assert process.stdout is not None
    assert process.stdout.read() == "handled 0\n"


def test_the_program_works_on_until_the_goodbye_is_said(
    registry: RegistryProcess, start: Callable[[str], Process]
) -> None:
    process = start("serving")
    ready(process)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "worked on\n")
    assert ids(registry) == []


def test_a_second_sigterm_does_not_wait(
    registry: RegistryProcess, start: Callable[[str], Process]
) -> None:
    process = start("impatient")
    ready(process)
    process.send_signal(signal.SIGTERM)
    eventually(lambda: registry.status("member") == "draining")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == TERMINATED


def test_the_handler_of_an_event_loop_is_left_to_the_loop(
    registry: RegistryProcess, start: Callable[[str], Process]
) -> None:
    process = start("own_loop")
    ready(process)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "handled 1\n")
    assert ids(registry) == []


def test_a_handler_in_between_is_called_once(
    registry: RegistryProcess, start: Callable[[str], Process]
) -> None:
    process = start("wrapped")
    ready(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == TERMINATED
    assert process.stdout is not None
    assert process.stdout.read() == "handled\n"
    assert ids(registry) == []


def test_who_ignores_sigterm_stays_a_member(
    registry: RegistryProcess, start: Callable[[str], Process]
) -> None:
    process = start("ignored")
    ready(process)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate("go on\n", timeout=60)
    assert (process.returncode, out) == (0, "left\n")
    assert ids(registry) == []


def test_a_member_of_another_thread_changes_no_handler(
    registry: RegistryProcess, start: Callable[[str], Process]
) -> None:
    process = start("elsewhere")
    ready(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == TERMINATED
    # Nobody could say goodbye: the lease has to end.
    assert ids(registry) == ["member"]


def test_the_end_does_not_wait_for_a_registry_that_is_gone(
    registry: RegistryProcess, start: Callable[[str], Process]
) -> None:
    process = start("hold")
    ready(process)
    registry.kill()
    before = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == TERMINATED
    assert time.monotonic() - before < 20


def test_the_end_does_not_wait_for_a_registry_that_hangs(
    registry: RegistryProcess, start: Callable[[str], Process]
) -> None:
    process = start("hold")
    ready(process)
    registry.signal(signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == TERMINATED


def test_one_that_is_killed_leaves_by_its_lease(
    registry: RegistryProcess, start: Callable[[str], Process]
) -> None:
    process = start("hold")
    ready(process)
    process.kill()
    process.wait(10)
    eventually(lambda: registry.status("member") == "unhealthy", 30)
