"""Runs a coroutine at once, as far as it goes without waiting."""

import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Eager(Generic[T]):
    """A coroutine that has begun; ``done`` gets what it returns or raises.

    A task would begin in the loop's next turn. It may await futures, and no more of
    asyncio: nothing in it is a task's.
    """

    __slots__ = ("_context", "_coroutine", "_done")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        done: Callable[[T | None, BaseException | None], None],
    ) -> None:
        self._coroutine = coroutine
        self._done = done
        self._context = contextvars.copy_context()
        self._go_on()

    def _go_on(self, _: object = None) -> None:
        try:
            # A future's outcome is taken by its own `__await__`, an error as well.
            future = self._context.run(self._coroutine.send, None)
        except StopIteration as end:
            self._done(end.value, None)
        except BaseException as error:
            self._done(None, error)
        else:
            future.add_done_callback(self._go_on)
