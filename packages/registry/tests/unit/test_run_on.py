"""Calls from other threads to a loop in a thread of its own."""

import asyncio
import threading
from contextvars import ContextVar

import pytest

from modularity_registry.errors import StoreUnavailable
from modularity_registry.tasks import run_on
from support.loops import LoopThread

NUMBER: ContextVar[int] = ContextVar("NUMBER", default=0)


async def thread_and_number() -> tuple[int, int]:
    await asyncio.sleep(0)
    return threading.get_ident(), NUMBER.get()


def test_a_call_runs_on_the_loop_with_the_callers_context() -> None:
    loop = LoopThread()
    token = NUMBER.set(7)
    thread, number = loop.call(thread_and_number())
    NUMBER.reset(token)
    assert (thread == threading.get_ident(), number) == (False, 7)
    loop.stop()


def test_an_error_comes_back() -> None:
    async def fail() -> None:
        raise ValueError("no")

    loop = LoopThread()
    with pytest.raises(ValueError, match="no"):
        loop.call(fail())
    loop.stop()


def test_the_end_ends_what_still_runs() -> None:
    loop = LoopThread()
    ended = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    waiting = asyncio.run_coroutine_threadsafe(wait(), loop.loop)
    loop.call(asyncio.sleep(0))
    loop.stop()
    loop.stop()
    assert ended.is_set() and waiting.cancelled()


def test_without_a_loop_a_call_is_refused() -> None:
    loop = LoopThread()
    loop.stop()
    for without in (None, loop.loop):
        with pytest.raises(StoreUnavailable, match="does not run"):
            run_on(without, thread_and_number())
