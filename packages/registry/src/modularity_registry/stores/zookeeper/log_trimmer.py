"""Trims the change log: each process deletes its own old changes."""

from collections import deque
from typing import Any, Final, NamedTuple

from kazoo.exceptions import NoNodeError  # type: ignore[import-untyped]  # no types

from modularity_registry.stores.zookeeper.epoch import EpochTracker, Finish
from modularity_registry.stores.zookeeper.errors import first_error
from modularity_registry.stores.zookeeper.layout import Era, number_of

KEPT: Final = 4_096
"""A watch that is further behind reads a new snapshot."""

KEPT_BYTES: Final = 16 * 1024 * 1024
AT_ONCE: Final = 64


class _Entry(NamedTuple):
    path: str
    size: int


class LogTrimmer:
    """Knows the log nodes that this process has made, oldest first."""

    def __init__(self, tracker: EpochTracker) -> None:
        self._tracker = tracker
        self._entries: deque[_Entry] = deque()
        self._size = 0

    def add(self, client: Any, path: str, size: int) -> None:
        """Remember a new log node, and begin to delete those that are too old."""
        self._entries.append(_Entry(path, size))
        self._size += size
        surplus = self._surplus()
        if surplus:
            _delete(client, surplus)

    def delete_leftovers(self, client: Any, finish: Finish, era: Era) -> None:
        """Begin to delete the log nodes of processes that have ended."""
        log = f"{self._tracker.layout.base(era)}/log"
        surplus: list[str] = []
        for number in _children(client, finish, log):
            path = f"{log}/{number}"
            # A watch may still read the end of the era before.
            ended = int(number) < era.number - 1
            names = sorted(_children(client, finish, path), key=number_of)
            old = names if ended else names[:-KEPT]
            surplus += [f"{path}/{name}" for name in old]
            surplus += [path] * ended
        for first in range(0, len(surplus), AT_ONCE):
            _delete(client, surplus[first : first + AT_ONCE])

    def _surplus(self) -> list[str]:
        if len(self._entries) < KEPT + AT_ONCE and self._size < KEPT_BYTES:
            return []
        surplus: list[str] = []
        while len(self._entries) > 1 and (
            len(self._entries) > KEPT or self._size > KEPT_BYTES * 3 // 4
        ):
            entry = self._entries.popleft()
            self._size -= entry.size
            surplus.append(entry.path)
        return surplus


def _children(client: Any, finish: Finish, path: str) -> list[str]:
    try:
        names = finish(client.get_children_async(path), NoNodeError)
    except NoNodeError:
        return []
    return [name for name in names if name.removeprefix("n").isdecimal()]


def _delete(client: Any, paths: list[str]) -> None:
    """Begin to delete ``paths`` at once, or one by one when some are gone already.

    Nothing waits for it: the next process that starts deletes what is left.
    """

    def one_by_one(result: Any) -> None:
        if result.successful() and first_error(result.value) is not None:
            for path in paths:
                client.delete_async(path)

    steps = client.transaction()
    for path in paths:
        steps.delete(path)
    steps.commit_async().rawlink(one_by_one)
