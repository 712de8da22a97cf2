"""Tasks of the event loop: started, ended, and kept from holding up the others."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import Future
from time import perf_counter
from typing import Any, Final, TypeVar

from modularity_registry.errors import StoreUnavailable

log = logging.getLogger(__name__)

SLICE: Final = 0.002
"""Seconds that long work may take before others have a turn."""

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def start(name: str, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run ``coroutine`` beside all else; an error that ends it goes to the log."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    task.add_done_callback(_report)
    return task


async def cancel(*tasks: asyncio.Task[None] | None) -> None:
    """End these tasks, None being none, and return when all have ended."""
    present = [task for task in tasks if task is not None]
    for task in present:
        task.cancel()
    await asyncio.gather(*present, return_exceptions=True)


async def in_slices(items: Iterable[ItemT]) -> AsyncIterator[ItemT]:
    """Yield each of ``items``; others have a turn of the loop after every `SLICE`."""
    end = perf_counter() + SLICE
    for item in items:
        if perf_counter() >= end:
            await asyncio.sleep(0)
            end = perf_counter() + SLICE
        yield item


async def in_daemon_thread(name: str, function: Callable[[], ResultT]) -> ResultT:
    """Return or raise what ``function`` does in a thread of its own.

    Unlike with a thread of a pool, the end of the process does not wait for it.
    """
    outcome: Future[ResultT] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(outcome)


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


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the task %r failed", task.get_name(), exc_info=error)
