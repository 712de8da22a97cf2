"""A watch that reconnects when its server goes away, in a thread of its own."""

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
"""Seconds between two attempts to reach the server."""


class Gap(Exception):
    """Changes were missed: the server no longer has them. Read a new snapshot."""


class Session(Protocol):
    """One connection that reads the feed, from a snapshot to the first error.

    Errors are `StoreError`, never the driver's own. One thread uses it, except for
    `interrupt`.
    """

    def snapshot(self) -> Snapshot:
        """Return all records."""

    def changes(self) -> Iterator[Change | None]:
        """Yield the changes after the snapshot, in order; None when there were none.

        Yields at least once a second, so that the watch notices its end. Raises `Gap`
        where changes were missed.
        """

    def interrupt(self) -> None:
        """Make a blocked `snapshot` or `changes` end soon, from another thread."""

    def close(self) -> None:
        """Release what is held; never raises."""


class ReconnectingWatch:
    """A watch over one session after the other: a new one replaces a broken one."""

    def __init__(
        self,
        open_session: Callable[[], Session],
        send: Send,
        ended: Callable[["ReconnectingWatch"], None],
        name: str,
    ) -> None:
        self._new_session = open_session
        self._send = send
        self._ended = ended
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._session: Session | None = None
        self._pause = FIRST_PAUSE
        self._lost = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Send a snapshot, then the changes; raises what the store raises."""
        try:
            self._open_session()
            self._send_snapshot()
        except BaseException:
            self._close_session()
            raise
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        with self._guard:
            if self._session is not None:
                self._session.interrupt()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        self._close_session()
        self._ended(self)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._read_session()
        except Exception:
            # Its `send` raised, or a session has a bug.
            log.exception("a watch failed and was stopped")
        finally:
            self._close_session()

    def _read_session(self) -> None:
        """Read one session to its end, then open another one."""
        try:
            if self._session is None:
                self._open_session()
                self._send_snapshot()
            session = self._session
            assert session is not None
            for change in session.changes():
                if self._stop.is_set():
                    return
                if change is not None:
                    self._send(change)
            raise StoreUnavailable("the server ended the feed")
        except Gap as gap:
            log.info("changes were missed, reading a new snapshot: %s", gap)
            self._close_session()
            self._stop.wait(FIRST_PAUSE)  # in case it happens again at once
        except StoreError as error:
            self._close_session()
            self._report_lost(error)

    def _open_session(self) -> None:
        session = self._new_session()
        with self._guard:
            self._session = session
            if self._stop.is_set():
                session.interrupt()

    def _send_snapshot(self) -> None:
        assert self._session is not None
        snapshot = self._session.snapshot()
        if not self._stop.is_set():
            self._pause = FIRST_PAUSE
            self._lost = False
            self._send(snapshot)

    def _report_lost(self, error: StoreError) -> None:
        if self._stop.is_set():
            return
        if not self._lost:
            self._lost = True
            self._send(Lost(error.detail))
        # Jittered, so that the replicas don't all come back at once.
        self._stop.wait(self._pause * random.uniform(0.5, 1.0))
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _close_session(self) -> None:
        with self._guard:
            session, self._session = self._session, None
        if session is not None:
            session.close()


class WatchSet:
    """All watches of one store, which end with it."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._running: set[ReconnectingWatch] = set()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the store is closed."""
        return self._closed

    def require_open(self) -> None:
        """Raise `StoreUnavailable` when the store is closed."""
        if self._closed:
            raise StoreUnavailable(f"the {self._kind} store is closed")

    def start(
        self, open_session: Callable[[], Session], send: Send
    ) -> ReconnectingWatch:
        """Return a watch that has sent its snapshot; raises what the store raises."""
        self.require_open()
        watch = ReconnectingWatch(
            open_session, send, self._forget, f"{self._kind} feed"
        )
        # Before it starts, so that `close` ends one that waits for a silent server.
        with self._lock:
            self._running.add(watch)
        try:
            watch.start()
        except BaseException:
            self._forget(watch)
            raise
        if self._closed:
            watch.close()
            self.require_open()
        return watch

    def close(self) -> None:
        """End all watches and start no new ones. Idempotent."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for watch in running:
            watch.close()

    def _forget(self, watch: ReconnectingWatch) -> None:
        with self._lock:
            self._running.discard(watch)
