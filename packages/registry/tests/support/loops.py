"""Runs tests on an event loop, and fakes what is on one."""

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import pytest

from modularity_registry.tasks import run_on

P = ParamSpec("P")
ResultT = TypeVar("ResultT")


def on_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a coroutine function as a test."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


async def turns(count: int = 30) -> None:
    """Let the loop go on, for what must not happen in that time."""
    for _ in range(count):
        await asyncio.sleep(0)


async def soon(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return when ``condition`` holds; fail when it doesn't within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.001)


class Timer:
    """One that was set, to ring after ``delay`` seconds."""

    def __init__(self, delay: float, call: Callable[[], object]) -> None:
        self.delay = delay
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Timers:
    """The timers of the loop that runs; they ring when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._set: list[Timer] = []
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "call_later", self._call_later)

    @property
    def delays(self) -> list[float]:
        """After how many seconds each is to ring that is neither rung nor cancelled."""
        return [timer.delay for timer in self._set if not timer.cancelled]

    def ring(self) -> None:
        """Ring all that were set before."""
        ringing, self._set = self._set, []
        for timer in ringing:
            if not timer.cancelled:
                timer.call()

    def _call_later(
        self, delay: float, call: Callable[..., object], *args: object
    ) -> Timer:
        timer = Timer(delay, functools.partial(call, *args))
        self._set.append(timer)
        return timer


class Transport(asyncio.Transport):
    """Hands on what is written; ``unsent`` bytes of it wait for the reader."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        super().__init__()
        self.unsent = 0
        self._write = write

    def write(self, data: Any) -> None:
        self._write(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unsent


PEER = ("192.0.2.1", 1234)


class FakeTransport(asyncio.Transport):
    """A caller's end: what was written, and whether it still listens."""

    def __init__(self, peer: tuple[str, int] = PEER) -> None:
        super().__init__({"peername": peer, "sockname": ("127.0.0.1", 80)})
        self.sent = b""
        self.closed = self.reading_paused = self.half_closed = False

    def write(self, data: Any) -> None:
        if not self.closed:
            self.sent += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False


class Connection:
    """A connection as the server hands it over; ``ended`` once it is to be closed."""

    def __init__(self, http10: bool = False) -> None:
        self.written: list[bytes] = []
        self.transport = Transport(self.written.append)
        self.http10 = http10
        self.ended = False
        self.lost: Callable[[], None] | None = None

    def take(self, on_lost: Callable[[], None]) -> None:
        self.lost = on_lost

    def end(self) -> None:
        self.ended = True

    @property
    def text(self) -> bytes:
        """All that was written."""
        return b"".join(self.written)


class LoopThread:
    """An event loop in a daemon thread, from its making to `stop`."""

    def __init__(self, name: str = "registry-loop") -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run ``coroutine`` on the loop; see `run_on`."""
        return run_on(self.loop, coroutine)

    def stop(self) -> None:
        """Cancel what still runs and end the thread. Idempotent."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.get_loop().run_forever()
