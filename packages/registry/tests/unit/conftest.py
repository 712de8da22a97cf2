"""Unit tests start no process and listen on no port, which is what makes them quick."""

import sys
from collections.abc import Iterator

import pytest

_PROCESS = {"os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "subprocess.Popen"}
_PORT = {"socket.bind"}
_events: list[str] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event in _PROCESS or event in _PORT:
        _events.append(event)


sys.addaudithook(_note)


@pytest.fixture(autouse=True)
def _no_process_and_no_port() -> Iterator[None]:
    _events.clear()
    yield
    assert _events == [], "this test belongs into `integration` or `e2e`"
