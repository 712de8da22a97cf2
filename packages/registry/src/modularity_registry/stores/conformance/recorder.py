"""Records the events of a watch, for tests that wait for one."""

import threading
import time
from collections.abc import Callable

from modularity_registry.stores.base import Advanced, Change, Event, Record, Snapshot


class Recorder:
    """Pass it to ``watch``, then read the events, or wait for one with a deadline."""

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
        """The events so far, in order."""
        with self._arrived:
            return list(self._events)

    @property
    def changes(self) -> list[Change]:
        """The changes among `events`."""
        return [event for event in self.events if isinstance(event, Change)]

    @property
    def revision(self) -> int:
        """The latest revision of which all events have come, 0 at first."""
        complete = (
            event.revision
            for event in self.events
            if isinstance(event, Snapshot | Advanced)
            or (isinstance(event, Change) and event.last)
        )
        return max(complete, default=0)

    def first_snapshot(self) -> Snapshot:
        """Return the first event, which must be a snapshot."""
        first = self.events[0]
        assert isinstance(first, Snapshot), f"a watch began with {first}"
        return first

    def held(self) -> dict[str, Record]:
        """Return the records by key, as the events have them now."""
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
        """Return when all events up to ``revision`` have come."""
        self.wait(lambda: self.revision >= revision, f"revision {revision}")

    def wait(self, reached: Callable[[], bool], what: str) -> None:
        """Return when ``reached()``; raise `AssertionError` after the deadline."""
        deadline = time.monotonic() + self._seconds
        with self._arrived:
            while not reached():
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise AssertionError(f"{what} has not come; came {self._events}")
                self._arrived.wait(min(remaining, 0.1))
