"""What a check held is free when it ends: no search for garbage is needed for it."""

import asyncio
import gc
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

from integration.health.test_probes import probing, replying, serving
from modularity_registry.health.probes.outcome import Target
from support.registry import check_target
from support.serving import free_port

ANSWERS = {
    "well": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "unwell": b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
    "not HTTP": b"220 smtp\r\n\r\n",
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
    "nothing": b"",
}


@pytest.fixture(autouse=True)
def _garbage_is_kept() -> Iterator[None]:
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def run(
    checks: Coroutine[Any, Any, list[Target]],
    loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
) -> list[Target]:
    """Run on the server's kind of loop, if no other is given."""
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(checks)


class LateLoop(asyncio.SelectorEventLoop):
    """A connection is refused a moment after the call, as it is over a network."""

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        refused = self.create_future()
        self.call_soon(refused.set_exception, ConnectionRefusedError(111, "refused"))
        await refused


async def left_by_checks(mode: str, port: int, timeout: float = 5.0) -> list[Target]:
    """Return what a search for garbage finds of two checks."""
    async with probing() as prober:
        for _ in range(2):
            # Made here, so that nobody else holds it.
            location = f"{mode}://127.0.0.1:{port}"
            await prober.probe(check_target(mode, location, timeout=timeout))
    await asyncio.sleep(0)
    gc.collect()
    return [each for each in gc.garbage if isinstance(each, Target)]


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_check_that_is_answered_leaves_nothing(answer: str) -> None:
    async def checks() -> list[Target]:
        async with serving(replying(ANSWERS[answer])) as port:
            return await left_by_checks("http", port)

    assert run(checks()) == []


@pytest.mark.parametrize("mode", ["http", "tcp", "grpc"])
def test_a_check_that_nobody_answers_leaves_nothing(mode: str) -> None:
    assert run(left_by_checks(mode, free_port())) == []


def test_a_check_that_is_refused_later_leaves_nothing() -> None:
    assert run(left_by_checks("http", free_port()), LateLoop) == []


def test_a_check_whose_time_is_over_leaves_nothing() -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def checks() -> list[Target]:
        async with serving(silent) as port:
            return await left_by_checks("http", port, timeout=0.1)

    assert run(checks()) == []
