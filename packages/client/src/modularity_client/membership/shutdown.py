"""Ends the memberships of this process when it exits or gets SIGTERM.

Memberships of the parent process, which a fork has copied, are left alone.
"""

import _thread
import atexit
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

log = logging.getLogger("modularity_client")

SHUTDOWN_TIMEOUT = 5.0
"""Seconds that an ending process waits for its members, on top of their grace."""

SignalHandler = Callable[[int, FrameType | None], Any]


class Member(Protocol):
    """Something that has to leave the registry before the process ends."""

    @property
    def owner(self) -> int | None:
        """The id of the process that it belongs to."""

    @property
    def grace(self) -> float:
        """Seconds that it waits between drain and unregistering."""

    def end(self) -> None:
        """Begin to leave. Idempotent, returns at once."""

    def ended(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; return whether it has left."""


class ShutdownHandler:
    """The members of this process. All share one SIGTERM and one exit handler."""

    def __init__(self) -> None:
        # No lock: a signal may come while it is held, and a fork would copy it held.
        self._members: tuple[Member, ...] = ()
        self._at_exit = False
        self._installed: SignalHandler | None = None
        self._previous: Any = None
        self._ending = False

    def add(self, member: Member) -> None:
        """Have this member leave when the process ends.

        Python sets signal handlers in the main thread only, so SIGTERM is handled only
        if this is called there. The process keeps running until its members have left;
        then the former handler gets the signal. A second SIGTERM does not wait.
        """
        self._members = (*self._members, member)
        if not self._at_exit:
            self._at_exit = True
            atexit.register(self.end_all)
        self._install()
        if self._installed is None and not _in_main_thread():
            log.warning(
                "joined outside the main thread: SIGTERM will end the process without"
                " unregistering the service; join in the main thread, or call leave()"
                " when the process gets the signal"
            )

    def discard(self, member: Member) -> None:
        """Forget a member that has left. Idempotent."""
        self._members = tuple(other for other in self._members if other is not member)
        if not self._own_members():
            self._uninstall()

    def end_all(self) -> None:
        """Have all members leave at the same time, and wait for them."""
        members = self._own_members()
        for member in members:
            member.end()
        grace = max((member.grace for member in members), default=0.0)
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT + grace
        for member in members:
            member.ended(max(0.0, deadline - time.monotonic()))

    def _own_members(self) -> tuple[Member, ...]:
        process = os.getpid()
        return tuple(member for member in self._members if member.owner == process)

    def _install(self) -> None:
        if not _in_main_thread():
            return
        current = signal.getsignal(signal.SIGTERM)
        if current is self._installed or not _can_chain(current):
            return
        self._previous, self._installed = current, self._handler(current)
        signal.signal(signal.SIGTERM, self._installed)

    def _uninstall(self) -> None:
        if not _in_main_thread():
            return
        # A handler that was installed later may call this one: then it has to stay.
        if self._installed and signal.getsignal(signal.SIGTERM) is self._installed:
            signal.signal(signal.SIGTERM, self._previous)
            self._installed = None

    def _handler(self, previous: Any) -> SignalHandler:
        # Each installation has its own predecessor. One shared handler would recurse
        # with a handler that was installed in between and calls its predecessor.
        def on_signal(number: int, frame: FrameType | None) -> None:
            waiting = [member for member in self._own_members() if not member.ended(0)]
            if waiting and not self._ending:
                # Not in this thread: it may hold a lock that leaving needs.
                # Nor may it wait for a thread to begin, as `Thread.start` does:
                # under gevent it would wait for itself.
                self._ending = True
                _thread.start_new_thread(self._end_and_forward, (number,))
                return
            self._ending = False
            if callable(previous):
                previous(number, frame)
            else:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)

        return on_signal

    def _end_and_forward(self, number: int) -> None:
        self.end_all()
        if self._ending:
            os.kill(os.getpid(), number)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _can_chain(handler: Any) -> bool:
    """Return whether SIGTERM can be passed on to this handler later.

    None stands for a handler outside Python. An event loop notices a signal before any
    handler runs. A process that ignores SIGTERM does not end by it.
    """
    package = (getattr(handler, "__module__", None) or "").partition(".")[0]
    ignored = handler in (None, signal.SIG_IGN)
    return not ignored and package not in ("asyncio", "uvloop")


shutdown_handler = ShutdownHandler()
