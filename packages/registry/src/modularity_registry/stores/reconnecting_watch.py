"""Follows the feed of a server that may go away, in a thread of its own."""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from modularity_registry.errors import StoreError, StoreUnavailable
from modularity_registry.stores.base import Change, Lost, Send, Snapshot

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
"""Seconds between two attempts to reach a server that is away."""


class Gap(Exception):
    """Changes were missed: the server no longer has them. A snapshot closes it."""


class Session(Protocol):
    """One connection that reads the feed, from a snapshot to the first failure.

    Errors are `StoreError`, never the driver's own. Used by one thread, but for
    `interrupt`.
    """

    def snapshot(self) -> Snapshot:
        """Return everything that there is."""

    def changes(self) -> Iterator[Change | None]:
        """Yield what comes after the snapshot, in order; None when nothing came.

        Yields something at least every second, so that an end is heard. Raises `Gap`
        where changes were missed.
        """

    def interrupt(self) -> None:
        """Make a blocked `snapshot` or `changes` end soon, from another thread."""

    def close(self) -> None:
        """Release what is held; never raises."""


class Follower:
    """A running watch over sessions, each in place of the one that broke."""

    def __init__(
        self,
        open_session: Callable[[], Session],
        send: Send,
        ended: Callable[["Follower"], None],
        name: str,
    ) -> None:
        self._open = open_session
        self._send = send
        self._ended = ended
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._session: Session | None = None
        self._pause = FIRST_PAUSE
        self._lost = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Send the first snapshot, then follow; raises what the store raises."""
        try:
            self._renew()
            self._snapshot()
        except BaseException:
            self._drop()
            raise
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        with self._guard:
            if self._session is not None:
                self._session.interrupt()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        self._drop()
        self._ended(self)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._follow()
        except Exception:
            # It sent something that its watcher could not take, or has a mistake.
            log.exception("a watch failed and was ended")
        finally:
            self._drop()

    def _follow(self) -> None:
        """Follow one session to its end, then open another one."""
        try:
            if self._session is None:
                self._renew()
                self._snapshot()
            session = self._session
            assert session is not None
            for change in session.changes():
                if self._stop.is_set():
                    return
                if change is not None:
                    self._send(change)
            raise StoreUnavailable("the server ended the feed")
        except Gap as gap:
            log.info("changes were missed, all is read anew: %s", gap)
            self._drop()
            self._stop.wait(FIRST_PAUSE)  # should it go on like that
        except StoreError as error:
            self._drop()
            self._away(error)

    def _renew(self) -> None:
        session = self._open()
        with self._guard:
            self._session = session
            if self._stop.is_set():
                session.interrupt()

    def _snapshot(self) -> None:
        assert self._session is not None
        snapshot = self._session.snapshot()
        if not self._stop.is_set():
            self._pause = FIRST_PAUSE
            self._lost = False
            self._send(snapshot)

    def _away(self, error: StoreError) -> None:
        if self._stop.is_set():
            return
        if not self._lost:
            self._lost = True
            self._send(Lost(error.detail))
        # Jittered, so that the replicas don't come back in one moment.
        self._stop.wait(self._pause * random.uniform(0.5, 1.0))
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _drop(self) -> None:
        with self._guard:
            session, self._session = self._session, None
        if session is not None:
            session.close()


class Followers:
    """All watches of one store, ended with it."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._running: set[Follower] = set()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the store is closed."""
        return self._closed

    def require_open(self) -> None:
        """Raise `StoreUnavailable` when the store is closed."""
        if self._closed:
            raise StoreUnavailable(f"the {self._kind} store is closed")

    def follow(self, open_session: Callable[[], Session], send: Send) -> Follower:
        """Return a watch that has sent its snapshot; raises what the store raises."""
        self.require_open()
        follower = Follower(open_session, send, self._forget, f"{self._kind} feed")
        # Before it starts, so that `close` ends one that a silent server holds up.
        with self._lock:
            self._running.add(follower)
        try:
            follower.start()
        except BaseException:
            self._forget(follower)
            raise
        if self._closed:
            follower.close()
            self.require_open()
        return follower

    def close(self) -> None:
        """End all watches and take no new ones. Idempotent."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for follower in running:
            follower.close()

    def _forget(self, follower: Follower) -> None:
        with self._lock:
            self._running.discard(follower)
