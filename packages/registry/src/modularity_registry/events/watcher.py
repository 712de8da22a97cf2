"""One who waits for events."""

from queue import Empty, SimpleQueue

from modularity_registry.events.event import Event, Interest
from modularity_registry.model.rights import Caller

QUEUE = 1_000
"""A watcher that is this many events behind is dropped: it must read the list again."""


class Watcher:
    """One who waits. ``take`` is for its own thread, the rest for the hub's.

    It hears of everything after ``revision``. ``peer`` is its address, ``caller`` as
    whom it came, ``client`` for whom its place counts, ``started`` (seconds,
    monotonic) when; ``waits`` tells one who waits for a single answer from one who
    reads a stream.
    """

    __slots__ = (
        "_after",
        "_queue",
        "caller",
        "client",
        "interest",
        "lost",
        "peer",
        "revision",
        "started",
        "stopped",
        "waits",
    )

    def __init__(
        self,
        interest: Interest,
        after: int,
        revision: int,
        peer: str,
        caller: Caller,
        client: str,
        now: float,
    ) -> None:
        self.interest = interest
        self.revision = revision
        self.peer = peer
        self.caller = caller
        self.client = client
        self.started = now
        self.waits = False
        self.lost = False
        self.stopped = False
        self._after = after
        self._queue: SimpleQueue[Event | None] = SimpleQueue()

    def take(self, timeout: float) -> list[Event]:
        """Return the events that have come, at least one unless the time was up.

        Look at ``lost`` (it was too slow, events are missing from here on) and
        ``stopped`` (nothing will come any more) after an answer.
        """
        queue = self._queue
        try:
            taken = [queue.get(timeout=max(0.0, timeout))]
        except Empty:
            return []
        taken += [queue.get() for _ in range(queue.qsize())]
        return [event for event in taken if event is not None]

    def offer(self, event: Event) -> None:
        """Queue an event that concerns this watcher, unless it has it already."""
        if event.number <= self._after or self.lost:
            return
        self._after = event.number
        if self._queue.qsize() >= QUEUE:
            self.lose()
        else:
            self._queue.put(event)

    def lose(self) -> None:
        """Have the watcher told that events are missing."""
        self.lost = True
        self._queue.put(None)

    def stop(self) -> None:
        """Wake the watcher for the last time."""
        self.stopped = True
        self._queue.put(None)
