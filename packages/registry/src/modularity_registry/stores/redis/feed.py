"""The feed of a Redis store: a snapshot, then the stream of its writes."""

from collections.abc import Iterator
from typing import Final

from modularity_registry.errors import StoreCorrupt, StoreUnavailable
from modularity_registry.stores.base import Change, Snapshot
from modularity_registry.stores.reconnecting_watch import Gap
from modularity_registry.stores.redis.connection import ConnectionPool
from modularity_registry.stores.redis.epoch import EpochTracker
from modularity_registry.stores.redis.layout import Layout, State, state_of

BLOCK_MILLISECONDS: Final = 500
LARGEST_READ: Final = 1_000
ATTEMPTS: Final = 5


class FeedSession:
    """Reads the stream over a connection of its own; see `Session`."""

    def __init__(
        self, pool: ConnectionPool, layout: Layout, tracker: EpochTracker
    ) -> None:
        self._pool = pool
        self._layout = layout
        self._tracker = tracker
        self._connection = pool.new(BLOCK_MILLISECONDS / 1_000)
        self._position = State("", 0)

    def snapshot(self) -> Snapshot:
        self._connection.open()
        for _ in range(ATTEMPTS):
            entered, state, records = self._read()
            if entered.epoch == state.epoch:
                self._position = state
                self._tracker.note_revision(*state)
                return Snapshot(self._layout.records_of(records), state.revision)
        raise StoreUnavailable(
            "the data in Redis was wiped several times during the read"
        )

    def changes(self) -> Iterator[Change | None]:
        while True:
            changes = self._next()
            if changes:
                self._tracker.note_revision(*self._position)
                yield from changes
            else:
                yield None

    def interrupt(self) -> None:
        self._connection.interrupt()

    def close(self) -> None:
        self._pool.drop(self._connection)

    def _read(self) -> tuple[State, State, list[bytes]]:
        """Enter the epoch, then read state and records at once, in one round trip."""
        layout = self._layout
        enter = self._tracker.enter_command()
        block = ("MULTI",), layout.read_state(), layout.read_all(), ("EXEC",)
        answers = self._connection.request(enter, *block)
        entered = self._tracker.adopt(answers[0])
        state, records = answers[-1]
        return entered, state_of(state), records

    def _next(self) -> list[Change]:
        """Return the changes of one wait; raises `Gap` when some are missing.

        The state is read before, to know which changes must come, and after, to know
        their epoch: the data may be wiped during the wait.
        """
        layout, position = self._layout, self._position
        feed = layout.read_feed(position.revision, BLOCK_MILLISECONDS, LARGEST_READ)
        first, answer, second = self._connection.request(
            layout.read_state(), feed, layout.read_state()
        )
        before, after = state_of(first), state_of(second)
        if after.epoch != position.epoch:
            raise Gap("the data in Redis was wiped")
        if after.revision < position.revision:
            raise Gap("Redis lost its newest writes")
        changes = self._in_order(layout.changes_of(answer), after)
        if not changes and before.revision > position.revision:
            raise Gap(
                f"the feed in Redis does not hold revision {position.revision + 1}"
            )
        self._position = position._replace(revision=position.revision + len(changes))
        return changes

    def _in_order(self, entries: list[Change | None], after: State) -> list[Change]:
        changes: list[Change] = []
        for expected, change in enumerate(entries, self._position.revision + 1):
            if change is None:
                raise Gap("Redis lost its newest writes")
            if change.revision > after.revision:
                # A snapshot would not help: the entry would be found again at once.
                raise StoreCorrupt(
                    f"another program wrote to {self._layout.feed} in Redis; delete"
                    " that key, it holds no records"
                )
            if change.revision != expected:
                raise Gap(f"the feed in Redis does not hold revision {expected}")
            changes.append(change)
        return changes
