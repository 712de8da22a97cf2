"""Counters in this process, for two windows: the present one and the one before.

The library's own storage in memory removes keys in a thread that fails when others
add some meanwhile, and has no limit of clients. This one drops a whole window at once,
holds a bounded number of clients, and needs no thread.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

from limits.storage import MemoryStorage

MOST_CLIENTS = 100_000
"""How many clients one window counts; one more resets the first."""


class _Window:
    """Two counts for each client; the present window ``ends`` then (seconds)."""

    __slots__ = ("before", "counts", "ends", "length")

    def __init__(self, length: int, now: float) -> None:
        self.length = length
        self.ends = now + length
        self.before: OrderedDict[str, int] = OrderedDict()
        self.counts: OrderedDict[str, int] = OrderedDict()

    def move(self, now: float) -> None:
        """Move to the window of ``now``."""
        if now < self.ends:
            return
        passed = int((now - self.ends) // self.length) + 1
        self.before = self.counts if passed == 1 else OrderedDict()
        self.counts = OrderedDict()
        self.ends += passed * self.length

    def add(self, key: str, count: int) -> None:
        if key not in self.counts and len(self.counts) >= MOST_CLIENTS:
            self.counts.popitem(last=False)
        self.counts[key] = count


class MemoryCounters(MemoryStorage):
    """The library's storage with its own counters, for sliding windows alone.

    ``clock`` returns monotonic seconds.
    """

    # Not the base class's: its URL scheme would then mean this class.
    STORAGE_SCHEME = []  # noqa: RUF012  # as the base class has it

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[int, _Window] = {}

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    def __len__(self) -> int:
        return sum(
            len(window.before) + len(window.counts) for window in self._windows.values()
        )

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Return whether ``amount`` more is within the limit, and count it if so."""
        with self._lock:
            window, left = self._window(expiry)
            count = window.counts.get(key, 0)
            weighted = window.before.get(key, 0) * left / expiry + count
            if int(weighted) + amount > limit:
                return False
            window.add(key, count + amount)
            return True

    def get_sliding_window(
        self, key: str, expiry: int
    ) -> tuple[int, float, int, float]:
        """Return the count before, how long it counts, the present one, its end."""
        with self._lock:
            window, left = self._window(expiry)
            before, count = window.before.get(key, 0), window.counts.get(key, 0)
            return before, left if before else 0.0, count, left + expiry

    def _window(self, length: int) -> tuple[_Window, float]:
        """Return the present window of this length, and the seconds until it ends."""
        now = self._clock()
        window = self._windows.get(length)
        if window is None:
            window = self._windows[length] = _Window(length, now)
        window.move(now)
        return window, window.ends - now
