"""A thread that looks at the store file for what other processes have written."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from modularity_registry.errors import StoreError

log = logging.getLogger(__name__)

EAGER_SECONDS: Final = 0.01
IDLE_SECONDS: Final = 0.02
"""Between two looks while there is news, and when there was none for a second."""

LONGEST_SECONDS: Final = 1.0
"""Between two looks in trouble, at most."""

LOST_SECONDS: Final = 1.0
"""Trouble that is over sooner is not worth a word: what is held is only that old."""


class Lookout:
    """Calls ``look`` again and again, and ``lost`` when it fails for too long.

    ``look`` returns whether there was any news.
    """

    def __init__(
        self, look: Callable[[], bool], lost: Callable[[StoreError], None]
    ) -> None:
        self._look = look
        self._lost = lost
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if it has not begun. By one thread at a time."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="sqlite lookout", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End it; nothing is called after the return."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = EAGER_SECONDS
        idle = failed = 0.0  # since when
        while not self._stop.wait(pause):
            now = time.monotonic()
            try:
                idle = now if self._look() else idle
                pause = IDLE_SECONDS if now - idle > 1.0 else EAGER_SECONDS
                failed = 0.0
            except StoreError as error:
                failed = failed or now
                if now - failed >= LOST_SECONDS:
                    self._lost(error)
                pause = min(pause * 2, LONGEST_SECONDS)
            except Exception:
                log.exception("a look at the store file failed")
                pause = LONGEST_SECONDS
