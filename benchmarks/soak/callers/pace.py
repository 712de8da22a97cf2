"""Actors: what is done again and again, at a rate and by chance."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import NamedTuple

from benchmarks.soak.callers.calls import CallFailed, Tally

Turn = Callable[[], Awaitable[None]]


class Actor(NamedTuple):
    """Takes a turn so often on average, at most ``at_once`` at the same time."""

    name: str
    per_second: float
    turn: Turn
    at_once: int = 1


async def run(
    actors: Sequence[Actor], seconds: float, rng: random.Random, tally: Tally
) -> None:
    """Let all act for so long; turns that are under way then are cut off."""
    tasks = [
        asyncio.create_task(_pace(actor, random.Random(rng.random()), tally))
        for actor in actors
    ]
    try:
        await asyncio.sleep(seconds)
    finally:
        await _end(tasks)


async def _pace(actor: Actor, rng: random.Random, tally: Tally) -> None:
    turns: set[asyncio.Task[None]] = set()
    try:
        while True:
            # A rate is kept on average only: what is late is not made up for.
            await asyncio.sleep(rng.expovariate(actor.per_second))
            if len(turns) < actor.at_once:
                turn = asyncio.create_task(_take(actor, tally))
                turns.add(turn)
                turn.add_done_callback(turns.discard)
    finally:
        await _end(turns)


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel until all have ended.

    Python 3.11 loses a cancellation of ``wait_for`` that comes with a result.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=1.0)


async def _take(actor: Actor, tally: Tally) -> None:
    try:
        await actor.turn()
    except CallFailed:
        pass  # the tally has it
    except Exception as error:
        tally.fault(f"{actor.name}: {type(error).__name__} {error}")


async def becomes(
    condition: Callable[[], Awaitable[bool]], seconds: float, pause: float = 1.0
) -> bool:
    """Return whether the condition held within so many seconds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await condition():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(pause)
    return True
