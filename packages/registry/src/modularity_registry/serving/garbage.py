"""How seldom the process looks for garbage, and in how much of what it holds."""

import gc


class Survivors:
    """Keeps what has survived a full search for garbage out of the next ones.

    It will mostly stay. To search it again stopped all calls for 0.1 s with 100,000
    services. But a connection that has closed meanwhile is garbage that no such search
    finds. So there is one through everything whenever a quarter has come on top of what
    the last such search has left: this bounds the garbage, as Python itself does it.
    """

    def __init__(self) -> None:
        self._left = gc.get_freeze_count()
        # At most so many have come since: some are gone again.
        self._added = 0
        self._whole = False

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """Be called by the collector: an element of ``gc.callbacks``."""
        if info["generation"] < 2:
            return
        if phase == "start":
            self._whole = self._has_grown()
            if self._whole:
                gc.unfreeze()
        elif self._whole:
            gc.freeze()
            self._left, self._added = gc.get_freeze_count(), 0
        else:
            self._added += len(gc.get_objects(generation=2))
            gc.freeze()

    def _has_grown(self) -> bool:
        if self._added <= self._left // 4:
            return False
        # To count takes an eighth of a search.
        self._added = gc.get_freeze_count() - self._left
        return self._added > self._left // 4


def spare_the_collector() -> None:
    """Have the collector search less, once all that stays has been loaded."""
    # What lives as long as the process need not be looked through for garbage.
    gc.collect()
    gc.freeze()
    # Most objects are gone by the end of the call that made them. To look after each
    # 700, the default, took a twelfth of the time of a health check.
    gc.set_threshold(5_000, 10, 10)
    gc.callbacks.append(Survivors())
