"""Asks the store again and again whether it is there, so that no reader has to.

A store that hangs would hang whoever asks it; `/health` must answer all the same.
"""

import threading

from modularity_registry.clock import Clock
from modularity_registry.errors import StoreError
from modularity_registry.stores.base import Store

PERIOD = 1.0
"""Seconds between two questions."""

PATIENCE = 3.0
"""A store that takes longer than this (seconds) to answer counts as away."""


class Pulse:
    """What the store answered last. Read from any thread."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._fault: str | None = None
        self._asked: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    @property
    def fault(self) -> str | None:
        """Why the store counts as away; None while it answers."""
        asked = self._asked
        if asked is not None:
            waited = self._clock.monotonic() - asked
            if waited > PATIENCE:
                return f"the store has not answered for {waited:.0f} s"
        return self._fault

    def ask(self) -> None:
        """Ask the store now; blocks for as long as it takes."""
        self._asked = self._clock.monotonic()
        try:
            self._store.ping()
            self._fault = None
        except StoreError as error:
            self._fault = error.detail
        finally:
            self._asked = None

    def start(self) -> None:
        """Go on asking, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop asking; one that hangs is left behind. Idempotent."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD):
            self.ask()
