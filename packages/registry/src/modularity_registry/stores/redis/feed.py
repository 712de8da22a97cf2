"""The feed of a Redis store: a snapshot, then the stream of its writes."""

import secrets
import threading
from collections.abc import Iterator
from typing import Any, Final

from modularity_registry.errors import StoreCorrupt, StoreUnavailable
from modularity_registry.stores.base import Change, Snapshot
from modularity_registry.stores.reconnecting_watch import Gap
from modularity_registry.stores.redis.connection import Line, Lines
from modularity_registry.stores.redis.layout import Keys, Known, State, state_of

BLOCK_MILLISECONDS: Final = 500
LARGEST_READ: Final = 1_000
ATTEMPTS: Final = 5


class History:
    """Which revisions this process has seen, for all threads of a store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known = Known("", 0)

    @property
    def known(self) -> Known:
        """The epoch and the latest revision of it."""
        return self._known

    def enter(self, line: Line, keys: Keys) -> State:
        """Take over the server's epoch, or begin one where there is none."""
        command = keys.enter(secrets.token_hex(6), self._known)
        return self.adopt(line.ask(command)[0])

    def adopt(self, answer: Any) -> State:
        """Take over what the server said its epoch is."""
        state = state_of(answer)
        with self._lock:
            seen = self._known.seen if state.epoch == self._known.epoch else 0
            self._known = Known(state.epoch, max(seen, state.revision))
        return state

    def learn(self, epoch: str, revision: int) -> None:
        """Remember a revision, if it is of the epoch that still counts."""
        with self._lock:
            if epoch == self._known.epoch and revision > self._known.seen:
                self._known = Known(epoch, revision)


class RedisSession:
    """Follows the stream on a line of its own; see `follower.Session`."""

    def __init__(self, lines: Lines, keys: Keys, history: History) -> None:
        self._lines = lines
        self._keys = keys
        self._history = history
        self._line = lines.line(BLOCK_MILLISECONDS / 1_000)
        self._at = State("", 0)

    def snapshot(self) -> Snapshot:
        self._line.open()
        for _ in range(ATTEMPTS):
            entered, held, found = self._read()
            if entered.epoch == held.epoch:
                self._at = held
                self._history.learn(*held)
                return Snapshot(self._keys.records_of(found), held.revision)
        raise StoreUnavailable("the data in Redis is wiped again and again")

    def changes(self) -> Iterator[Change | None]:
        while True:
            changes = self._next()
            if changes:
                self._history.learn(*self._at)
                yield from changes
            else:
                yield None

    def interrupt(self) -> None:
        self._line.interrupt()

    def close(self) -> None:
        self._lines.drop(self._line)

    def _read(self) -> tuple[State, State, list[bytes]]:
        """Enter, then read state and records as of one moment, in one round trip."""
        keys = self._keys
        enter = keys.enter(secrets.token_hex(6), self._history.known)
        block = ("MULTI",), keys.look(), keys.read_all(), ("EXEC",)
        answers = self._line.ask(enter, *block)
        entered = self._history.adopt(answers[0])
        look, found = answers[-1]
        return entered, state_of(look), found

    def _next(self) -> list[Change]:
        """Return what came within one wait; raises `Gap` when that is not all.

        The state is read before, to know what has to come, and after, to know whose
        it is: the feed may be wiped and begun anew in the midst of a wait.
        """
        keys, at = self._keys, self._at
        follow = keys.follow(at.revision, BLOCK_MILLISECONDS, LARGEST_READ)
        look, answer, again = self._line.ask(keys.look(), follow, keys.look())
        before, after = state_of(look), state_of(again)
        if after.epoch != at.epoch:
            raise Gap("the data in Redis was wiped")
        if after.revision < at.revision:
            raise Gap("Redis lost its newest writes")
        changes = self._in_order(keys.changes_of(answer), after)
        if not changes and before.revision > at.revision:
            raise Gap(f"the feed in Redis does not hold revision {at.revision + 1}")
        self._at = at._replace(revision=at.revision + len(changes))
        return changes

    def _in_order(self, found: list[Change | None], after: State) -> list[Change]:
        changes: list[Change] = []
        for expected, change in enumerate(found, self._at.revision + 1):
            if change is None:
                raise Gap("Redis lost its newest writes, and revisions went on")
            if change.revision > after.revision:
                # A snapshot would not help: it would be found again at once.
                raise StoreCorrupt(
                    f"something else wrote to {self._keys.feed} in Redis; delete that"
                    " key, no record is lost by that"
                )
            if change.revision != expected:
                raise Gap(f"the feed in Redis does not hold revision {expected}")
            changes.append(change)
        return changes
