"""Whose check begins next: who is due, and has a place among the checks under way.

A check whose owner or host has its share waits beside the queue, so that it holds up
nobody behind it.
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from itertools import count
from typing import Final

from modularity_registry.health.watched_service import WatchedService

PLACES: Final = 512
"""Checks under way at once."""

SHARE: Final = PLACES // 4
"""How many of them may be of one owner, and how many at one host."""

MOVES: Final = 200
"""How many checks `CheckQueue.pop` sets aside before it lets others have a turn."""

SMALL: Final = 64
"""A queue that holds no more of those that are gone is left as it is."""

Line = OrderedDict[Hashable, WatchedService]
"""Who waits for a place, of one owner at one host, by key, in order."""


class DueQueue:
    """Who is due when."""

    def __init__(self) -> None:
        self._order = count()
        self._heap: list[tuple[float, int, WatchedService]] = []
        self._gone = 0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, due: float, watched: WatchedService) -> None:
        """Have ``watched`` come up at ``due``."""
        heapq.heappush(self._heap, (due, next(self._order), watched))

    def pop(self, now: float) -> WatchedService | None:
        """Return and remove who is due next; None if nobody is yet."""
        while self._heap and self._heap[0][0] <= now:
            watched = heapq.heappop(self._heap)[2]
            if not watched.gone:
                return watched
            self._gone -= 1
        return None

    def next_at(self) -> float | None:
        """Return when somebody is due next."""
        return self._heap[0][0] if self._heap else None

    def next_one(self) -> WatchedService | None:
        """Return who is due next, or was before it went."""
        return self._heap[0][2] if self._heap else None

    def forget(self) -> None:
        """Take note that one of those who come up is gone, or so it seems."""
        # Else somebody could fill the memory with one id, registered again and again.
        self._gone += 1
        if self._gone > max(SMALL, len(self._heap) // 2):
            self._heap = [item for item in self._heap if not item[2].gone]
            heapq.heapify(self._heap)
            self._gone = 0


class CheckPlaces:
    """The places for the checks of all namespaces together.

    When all were taken and one is given back, ``when_free`` are called: some queue may
    have waited for it.
    """

    def __init__(self, total: int = PLACES) -> None:
        self.total = total
        self.taken = 0
        self.when_free: list[Callable[[], None]] = []

    @property
    def full(self) -> bool:
        """Whether all of them are taken."""
        return self.taken >= self.total

    def release(self) -> None:
        """Give one back."""
        was_full = self.full
        self.taken -= 1
        if was_full:
            for call in self.when_free:
                call()


class CheckQueue:
    """Who is to be checked when, and in which place.

    Of ``total`` places, one owner and one host may each have ``share``. A service
    without an owner is bound by its host's share alone. Queues of several namespaces
    have them among the same ``places``.
    """

    def __init__(
        self,
        total: int = PLACES,
        share: int = SHARE,
        places: CheckPlaces | None = None,
    ) -> None:
        self.total = total
        self.share = share
        self._places = places or CheckPlaces(total)
        self.taken = 0
        self.waiting = 0
        self._due = DueQueue()
        self._taken_by_owner: Counter[str] = Counter()
        self._taken_by_host: Counter[str] = Counter()
        # The same lines, to be found by either of the two that may have no room.
        self._lines_of_owner: dict[str, dict[str, Line]] = {}
        self._lines_at_host: dict[str, dict[str, Line]] = {}

    def __len__(self) -> int:
        return len(self._due) + self.waiting

    def push(self, due: float, watched: WatchedService) -> None:
        """Have ``watched`` come up at ``due``."""
        watched.due = due
        self._due.push(due, watched)

    def pop(self, now: float) -> WatchedService | None:
        """Return who is to be checked now, in a place to be given back by `release`.

        None if nobody is due for whom there is a place. A call sets at most `MOVES`
        checks aside; after that, `next_at` is still in the past.
        """
        for _ in range(MOVES):
            watched = None if self.full else self._due.pop(now)
            if watched is None:
                return None
            if self._has_room(watched.owner, watched.host):
                self._take(watched)
                return watched
            self._set_aside(watched)
        return None

    def release(self, watched: WatchedService) -> None:
        """Give the place of ``watched`` back, to the next in line for it."""
        self.taken -= 1
        self._places.release()
        _subtract(self._taken_by_host, watched.host)
        _subtract(self._taken_by_owner, watched.owner)
        self._call_next(watched.owner, watched.host)

    def forget(self, watched: WatchedService) -> None:
        """Take note that ``watched`` is gone; its place is still to be given back."""
        line = self._lines_at_host.get(watched.host, {}).get(watched.owner)
        if line is not None and line.get(watched.key) is watched:
            self._leave(line, watched)
            return
        self._due.forget()
        self._call_next(watched.owner, watched.host)  # it may just have been called

    def next_at(self) -> float | None:
        """Return when somebody is due next for whom there may be a place."""
        return None if self.full else self._due.next_at()

    @property
    def full(self) -> bool:
        """Whether all places are taken."""
        return self.taken >= self.total or self._places.full

    def delay(self, now: float) -> float:
        """Return by how many seconds the latest check is late; 0 if none is.

        A check is late that has not begun an interval after it was due.
        """
        if not (self.waiting or self.full):
            return 0.0
        first = [
            next(iter(line.values()))
            for lines in self._lines_at_host.values()
            for line in lines.values()
        ]
        if (due := self._due.next_one()) is not None:
            first.append(due)
        return max((now - one.due for one in first if is_late(one, now)), default=0.0)

    def _has_room(self, owner: str, host: str) -> bool:
        if self._taken_by_host[host] >= self.share:
            return False
        return not owner or self._taken_by_owner[owner] < self.share

    def _take(self, watched: WatchedService) -> None:
        self.taken += 1
        self._places.taken += 1
        self._taken_by_host[watched.host] += 1
        self._taken_by_owner[watched.owner] += 1

    def _set_aside(self, watched: WatchedService) -> None:
        lines = self._lines_at_host.setdefault(watched.host, {})
        line = lines.setdefault(watched.owner, Line())
        self._lines_of_owner.setdefault(watched.owner, {})[watched.host] = line
        first = next(iter(line.values()), watched)
        line[watched.key] = watched
        if watched.due < first.due:  # it had been called, but another was faster
            line.move_to_end(watched.key, last=False)
        self.waiting += 1

    def _call_next(self, owner: str, host: str) -> None:
        """Let the first come up again for whom there is room now."""
        # Few are skipped: no more than four can have their share at the same time.
        hosts = self._lines_of_owner.get(owner, {})
        free = next((name for name in hosts if self._has_room(owner, name)), None)
        if free is not None:
            self._call(hosts[free])
        if free != host:
            owners = self._lines_at_host.get(host, {})
            others = (name for name in owners if name != owner)
            free = next((name for name in others if self._has_room(name, host)), None)
            if free is not None:
                self._call(owners[free])

    def _call(self, line: Line) -> None:
        watched = next(iter(line.values()))
        self._leave(line, watched)
        self._due.push(watched.due, watched)

    def _leave(self, line: Line, watched: WatchedService) -> None:
        del line[watched.key]
        self.waiting -= 1
        # To the end, so that the lines have their turns; or away, when it is empty.
        for lines, name, other in (
            (self._lines_of_owner, watched.owner, watched.host),
            (self._lines_at_host, watched.host, watched.owner),
        ):
            del lines[name][other]
            if line:
                lines[name][other] = line
            elif not lines[name]:
                del lines[name]


def is_late(watched: WatchedService, now: float) -> bool:
    """Say whether a check that has not begun by ``now`` is late."""
    if watched.plan is None or watched.gone:
        return False
    return now - watched.due > watched.plan.interval


def _subtract(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
