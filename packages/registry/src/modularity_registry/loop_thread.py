"""An event loop that other threads use: the registry's runs in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from modularity_registry.errors import StoreUnavailable

ResultT = TypeVar("ResultT")


def run_on(
    loop: asyncio.AbstractEventLoop | None, coroutine: Coroutine[Any, Any, ResultT]
) -> ResultT:
    """Run ``coroutine`` on ``loop`` for another thread; return or raise its outcome.

    It runs with the caller's context variables. Raises `StoreUnavailable` when the loop
    does not run (any more).
    """
    try:
        if loop is None:
            raise RuntimeError("not started")
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:
        coroutine.close()
        raise StoreUnavailable("the registry does not run") from None
    return future.result()


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
