"""A thread that polls the store file for what other processes have written."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from modularity_registry.errors import StoreError

log = logging.getLogger(__name__)

ACTIVE_SECONDS: Final = 0.01
IDLE_SECONDS: Final = 0.02
"""Between two polls: with changes, and without any for a second."""

LONGEST_PAUSE: Final = 1.0
"""Seconds between two polls that fail, at most."""

LOST_SECONDS: Final = 1.0
"""Shorter errors are not reported: the records are then stale for less than that."""


class ChangePoller:
    """Calls ``poll`` repeatedly, and ``lost`` when it fails for too long.

    ``poll`` returns whether there were changes.
    """

    def __init__(
        self, poll: Callable[[], bool], lost: Callable[[StoreError], None]
    ) -> None:
        self._poll = poll
        self._lost = lost
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start it, once. By one thread at a time."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="sqlite feed", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Stop it; nothing is called after the return."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = ACTIVE_SECONDS
        active_at = failing_since = 0.0
        while not self._stop.wait(pause):
            now = time.monotonic()
            try:
                active_at = now if self._poll() else active_at
                pause = IDLE_SECONDS if now - active_at > 1.0 else ACTIVE_SECONDS
                failing_since = 0.0
            except StoreError as error:
                failing_since = failing_since or now
                if now - failing_since >= LOST_SECONDS:
                    self._lost(error)
                pause = min(pause * 2, LONGEST_PAUSE)
            except Exception:
                log.exception("polling the store file failed")
                pause = LONGEST_PAUSE
