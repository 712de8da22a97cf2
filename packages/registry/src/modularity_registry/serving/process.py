"""How a serving process begins and ends: on one heap, and with a line that says why."""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from modularity_registry.model.printable import printable

START_FAILED = 3
"""The exit code of a process that has said itself why it can't start."""

_PR_SET_PDEATHSIG = 1
_M_ARENA_MAX = -8


def complain(message: str) -> None:
    """Say ``message`` in one line on stderr."""
    line = printable(" ".join(message.split()))
    print(f"modularity-registry: {line}", file=sys.stderr, flush=True)


def keep_one_heap() -> None:
    """Let all threads allocate from one heap. Before other threads are started.

    The GNU C library gives each thread a heap of its own. What one of them has freed is
    then of no use to the others: after an hour of everything at once, half of the heaps
    was free, and they still grew (docs/soak.md). Threads hardly wait for each other,
    since Python runs one at a time. Other C libraries are left alone.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def leave(code: int) -> NoReturn:
    """End this process now, whatever its threads are at; what was printed is kept."""
    try:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    finally:
        # Whatever else fails: a signal may have come amid a write to that stream.
        os._exit(code)


def on_signal(number: int, callback: Callable[[], None]) -> None:
    """Call ``callback`` on the running event loop when the signal comes."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(number, callback)
    except NotImplementedError:  # Windows
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(callback))


def leave_on_signals() -> None:
    """Let SIGTERM and SIGINT end this process with 0, until there is more to end.

    Without a handler the first process of a container ignores SIGTERM.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leave(0))


def die_with(parent: int) -> None:
    """Let the kernel, or elsewhere a thread, kill this process when ``parent`` ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    # It may have ended before the kernel was asked.
    if os.getppid() != parent:
        os._exit(1)


def _follow(parent: int) -> None:
    pause = threading.Event()
    while os.getppid() == parent:
        pause.wait(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
