"""Keeps the log short: each process removes the old ones of its own changes."""

import threading
from collections import deque
from typing import Any, Final, NamedTuple

from kazoo.exceptions import NoNodeError  # type: ignore[import-untyped]  # no types

from modularity_registry.stores.zookeeper.epoch import Ask, History
from modularity_registry.stores.zookeeper.errors import first_error
from modularity_registry.stores.zookeeper.layout import Place, number_of

KEPT: Final = 4_096
"""A watcher that is further behind reads everything anew."""

KEPT_BYTES: Final = 16 * 1024 * 1024
AT_ONCE: Final = 64


class _Entry(NamedTuple):
    path: str
    size: int


class Trimmer:
    """What this process has put into the log, oldest first."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._guard = threading.Lock()
        self._entries: deque[_Entry] = deque()
        self._size = 0

    def wrote(self, client: Any, path: str, size: int) -> None:
        """Remember a new log node, and begin to remove some that are too old."""
        with self._guard:
            self._entries.append(_Entry(path, size))
            self._size += size
            surplus = self._surplus()
        if surplus:
            _remove(client, surplus)

    def sweep(self, client: Any, ask: Ask, place: Place) -> None:
        """Begin to remove what processes that are gone have left in the log."""
        log = f"{self._history.layout.base(place)}/log"
        surplus: list[str] = []
        for era in _children(client, ask, log):
            path = f"{log}/{era}"
            # Of the era before, a watcher may still be reading the end.
            over = int(era) < place.era - 1
            names = sorted(_children(client, ask, path), key=number_of)
            old = names if over else names[:-KEPT]
            surplus += [f"{path}/{name}" for name in old]
            surplus += [path] * over
        for first in range(0, len(surplus), AT_ONCE):
            _remove(client, surplus[first : first + AT_ONCE])

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


def _children(client: Any, ask: Ask, path: str) -> list[str]:
    try:
        names = ask(client.get_children_async(path), NoNodeError)
    except NoNodeError:
        return []
    return [name for name in names if name.removeprefix("n").isdecimal()]


def _remove(client: Any, paths: list[str]) -> None:
    """Begin to delete them all at once, or one by one when some are gone already.

    Nobody waits for it: what is left is swept away by the next process that comes.
    """

    def one_by_one(result: Any) -> None:
        if result.successful() and first_error(result.value) is not None:
            for path in paths:
                client.delete_async(path)

    steps = client.transaction()
    for path in paths:
        steps.delete(path)
    steps.commit_async().rawlink(one_by_one)
