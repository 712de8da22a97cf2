"""Runs a command's work on an event loop until it is told to end."""

import asyncio
import signal
from collections.abc import Coroutine
from functools import partial
from typing import Any

from modularity_registry.serving.process import on_signal


async def until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Work until Ctrl-C or SIGTERM ends it in order; raises what the work does."""
    task = asyncio.get_running_loop().create_task(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        on_signal(number, partial(_cancel, task))
    try:
        await task
    except asyncio.CancelledError:
        return


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
