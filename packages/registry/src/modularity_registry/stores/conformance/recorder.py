"""A watcher that remembers, for tests that wait until something has arrived."""

import threading
import time
from collections.abc import Callable

from modularity_registry.stores.base import Change, Event, Record, Snapshot


class Recorder:
    """Give it to ``watch``; then ask what came, or wait for it with a deadline."""

    def __init__(self, seconds: float = 20.0) -> None:
        self._seconds = seconds
        self._arrived = threading.Condition()
        self._events: list[Event] = []

    def __call__(self, event: Event) -> None:
        with self._arrived:
            self._events.append(event)
            self._arrived.notify_all()

    @property
    def events(self) -> list[Event]:
        """What has arrived so far, in order."""
        with self._arrived:
            return list(self._events)

    @property
    def changes(self) -> list[Change]:
        """The changes among `events`."""
        return [event for event in self.events if isinstance(event, Change)]

    @property
    def revision(self) -> int:
        """The revision of the latest event that has one, 0 at first."""
        known = (e.revision for e in self.events if isinstance(e, Snapshot | Change))
        return max(known, default=0)

    def first_snapshot(self) -> Snapshot:
        """Return the first event, which has to be a snapshot."""
        first = self.events[0]
        assert isinstance(first, Snapshot), f"a watch began with {first}"
        return first

    def held(self) -> dict[str, Record]:
        """Return the records by key, as a watcher knows them by now."""
        records: dict[str, Record] = {}
        for event in self.events:
            if isinstance(event, Snapshot):
                records = {record.key: record for record in event.records}
            elif isinstance(event, Change) and event.value is None:
                records.pop(event.key, None)
            elif isinstance(event, Change) and event.value is not None:
                records[event.key] = Record(event.key, event.value, event.revision)
        return records

    def wait_for_revision(self, revision: int) -> None:
        """Return when an event of ``revision`` or a later one has come."""
        self.wait(lambda: self.revision >= revision, f"revision {revision}")

    def wait(self, reached: Callable[[], bool], what: str) -> None:
        """Return when ``reached()``; `AssertionError` when the time is up before."""
        deadline = time.monotonic() + self._seconds
        with self._arrived:
            while not reached():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{what} has not come; came {self._events}")
                self._arrived.wait(min(left, 0.1))
