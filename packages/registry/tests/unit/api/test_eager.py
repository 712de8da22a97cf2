"""A coroutine that runs at once as far as it goes."""

import asyncio
import contextvars
from typing import Any

from modularity_registry.api.hot_path.eager import Eager
from support.loops import on_loop, turns

NAME = contextvars.ContextVar("NAME", default="nobody")


class Outcome:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, BaseException | None]] = []

    def __call__(self, value: Any, error: BaseException | None) -> None:
        self.calls.append((value, error))


def test_what_need_not_wait_is_done_at_once_and_needs_no_loop() -> None:
    async def work() -> int:
        return 7

    done = Outcome()
    Eager(work(), done)
    assert done.calls == [(7, None)]


def test_error_is_an_outcome() -> None:
    error = LookupError("on purpose")

    async def work() -> int:
        raise error

    done = Outcome()
    Eager(work(), done)
    assert done.calls == [(None, error)]


@on_loop
async def test_what_waits_goes_on_when_its_futures_are_done() -> None:
    first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
    steps: list[int] = []

    async def work() -> int:
        steps.append(0)
        steps.append(await first)
        return int(await second)

    done = Outcome()
    Eager(work(), done)
    assert steps == [0]
    first.set_result(1)
    await turns()
    assert (steps, done.calls) == ([0, 1], [])
    second.set_result(2)
    await turns()
    assert done.calls == [(2, None)]


@on_loop
async def test_error_and_cancellation_of_a_future_reach_the_coroutine() -> None:
    caught: list[BaseException] = []

    async def work(future: asyncio.Future[None]) -> None:
        try:
            await future
        except BaseException as error:
            caught.append(error)
            raise

    failing, cancelled = (asyncio.get_running_loop().create_future() for _ in range(2))
    outcomes = Outcome(), Outcome()
    Eager(work(failing), outcomes[0])
    Eager(work(cancelled), outcomes[1])
    failing.set_exception(LookupError("on purpose"))
    cancelled.cancel()
    await turns()
    assert [type(error) for error in caught] == [LookupError, asyncio.CancelledError]
    for outcome, error in zip(outcomes, caught, strict=True):
        assert outcome.calls == [(None, error)]


@on_loop
async def test_context_is_that_of_the_beginning_to_the_end() -> None:
    future = asyncio.get_running_loop().create_future()
    names: list[str] = []

    async def work() -> None:
        names.append(NAME.get())
        NAME.set("changed within")
        await future
        names.append(NAME.get())

    token = NAME.set("caller")
    Eager(work(), Outcome())
    NAME.reset(token)
    assert NAME.get() == "nobody"
    future.set_result(None)
    await turns()
    assert names == ["caller", "changed within"]
    assert NAME.get() == "nobody"
