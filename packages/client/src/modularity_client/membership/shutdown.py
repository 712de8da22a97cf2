"""What has to be done before this process ends: by exit, or by SIGTERM.

A member of another process, which a fork has copied here, is left alone.
"""

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

PATIENCE = 5.0
"""Seconds that the end of a process waits for its goodbyes, on top of their grace."""

Handler = Callable[[int, FrameType | None], Any]


class Member(Protocol):
    """One that has a goodbye to say."""

    @property
    def owner(self) -> int | None:
        """The process that it belongs to."""

    @property
    def grace(self) -> float:
        """Seconds that it wants to take."""

    def end(self) -> None:
        """Begin the goodbye. Idempotent, returns at once."""

    def ended(self, timeout: float) -> bool:
        """Wait for the end of it, at most so long; say whether it came."""


class Farewells:
    """All members of this process. One handler of SIGTERM and one of exit serve all."""

    def __init__(self) -> None:
        # No lock: a signal may come while it is held, and a fork would copy it held.
        self._members: tuple[Member, ...] = ()
        self._at_exit = False
        self._installed: Handler | None = None
        self._previous: Any = None
        self._saying = False

    def add(self, member: Member) -> None:
        """See to it that this one says goodbye.

        SIGTERM is handled only when this is called in the main thread, as Python has
        it. It reaches who handled it before when the goodbyes are said: until then the
        process works on. A second SIGTERM does not wait for that.
        """
        self._members = (*self._members, member)
        if not self._at_exit:
            self._at_exit = True
            atexit.register(self.say)
        self._install()

    def discard(self, member: Member) -> None:
        """Forget one that has said it. Idempotent."""
        self._members = tuple(each for each in self._members if each is not member)
        if not self._mine():
            self._uninstall()

    def say(self) -> None:
        """Have everyone here say goodbye at the same time, and wait for it."""
        members = self._mine()
        for member in members:
            member.end()
        grace = max((member.grace for member in members), default=0.0)
        deadline = time.monotonic() + PATIENCE + grace
        for member in members:
            member.ended(max(0.0, deadline - time.monotonic()))

    def _mine(self) -> tuple[Member, ...]:
        here = os.getpid()
        return tuple(each for each in self._members if each.owner == here)

    def _install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        current = signal.getsignal(signal.SIGTERM)
        if current is self._installed or not _can_follow(current):
            return
        self._previous, self._installed = current, self._handler(current)
        signal.signal(signal.SIGTERM, self._installed)

    def _uninstall(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        # Somebody who came later may call this handler: then it has to stay.
        if self._installed and signal.getsignal(signal.SIGTERM) is self._installed:
            signal.signal(signal.SIGTERM, self._previous)
            self._installed = None

    def _handler(self, previous: Any) -> Handler:
        # Each knows who came before it. With one for all, a handler that was put in
        # between and calls the one before it would go round in a circle.
        def on_signal(number: int, frame: FrameType | None) -> None:
            waiting = [each for each in self._mine() if not each.ended(0)]
            if waiting and not self._saying:
                # Not here: the main thread may hold what a goodbye needs.
                self._saying = True
                threading.Thread(
                    target=self._say_and_pass_on, args=(number,), daemon=True
                ).start()
                return
            self._saying = False
            if callable(previous):
                previous(number, frame)
            else:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)

        return on_signal

    def _say_and_pass_on(self, number: int) -> None:
        self.say()
        main = threading.main_thread().ident
        if self._saying and main is not None:
            signal.pthread_kill(main, number)


def _can_follow(handler: Any) -> bool:
    """Say whether SIGTERM can be given to this handler later.

    None is a handler that is not Python's. An event loop hears of a signal by itself,
    before any handler. And who ignores it does not end by it.
    """
    loops = (getattr(handler, "__module__", None) or "").partition(".")[0]
    ignored = handler in (None, signal.SIG_IGN)
    return not ignored and loops not in ("asyncio", "uvloop")


farewells = Farewells()
