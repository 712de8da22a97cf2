"""Whether the store is there, asked by one thread for all readers."""

import threading

from modularity_registry.errors import StoreCorrupt, StoreUnavailable
from modularity_registry.replicas.store_ping import PATIENCE, Pulse
from modularity_registry.stores.memory import MemoryStore
from support.registry import ManualClock, eventually


class SickStore(MemoryStore):
    error: Exception | None = None
    hangs: threading.Event | None = None

    def ping(self) -> None:
        if self.hangs is not None:
            self.hangs.wait()
        if self.error is not None:
            raise self.error


def test_what_the_store_answers_is_what_readers_hear() -> None:
    store = SickStore()
    pulse = Pulse(store, ManualClock())
    for error in (StoreUnavailable("away"), StoreCorrupt("broken"), None):
        store.error = error
        pulse.ask()
        assert pulse.fault == (error.detail if error else None)


def test_a_store_that_hangs_counts_as_away_and_keeps_nobody_waiting() -> None:
    store, clock = SickStore(), ManualClock()
    store.hangs = threading.Event()
    pulse = Pulse(store, clock)
    asking = threading.Thread(target=pulse.ask)
    asking.start()
    eventually(lambda: pulse._asked is not None)
    assert pulse.fault is None
    clock.advance(PATIENCE + 1)
    assert pulse.fault is not None
    assert "not answered for 4 s" in pulse.fault
    store.hangs.set()
    asking.join()
    assert pulse.fault is None
