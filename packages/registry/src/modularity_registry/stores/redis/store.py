"""Records in Redis, shared by several processes: ``redis://`` and its like.

``rediss://`` is encrypted; with ``redis+sentinel://`` and ``rediss+sentinel://`` the
Sentinels are asked for the server.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import NoScriptError

from modularity_registry.errors import (
    OutcomeUnknown,
    StoreError,
    StoreUnavailable,
)
from modularity_registry.stores.base import Outcome, Send, Write, require_valid
from modularity_registry.stores.reconnecting_watch import ReconnectingWatch, WatchSet
from modularity_registry.stores.redis.connection import Connection, ConnectionPool
from modularity_registry.stores.redis.epoch import EpochTracker
from modularity_registry.stores.redis.errors import (
    is_replica_refusal,
    title,
    unavailable,
)
from modularity_registry.stores.redis.feed import FeedSession
from modularity_registry.stores.redis.layout import (
    PARTIAL,
    LastSeen,
    Layout,
    outcome_of,
)
from modularity_registry.stores.server_url import Server

log = logging.getLogger(__name__)


class RedisStore:
    """Keeps records in Redis; a batch is one call of a script, so it is atomic.

    How durable a write is when it returns is the server's setting: with ``appendonly
    yes`` and ``appendfsync always`` it is on the disk, with ``everysec`` a crash of the
    machine loses about a second, with snapshots (``save``) all since the last one,
    without either everything. After a loss revisions go on above those that this
    process has seen.
    """

    shared: Final = True
    embedded: Final = False

    def __init__(self, server: Server, timeout: float = 5.0) -> None:
        """Connect; ``timeout`` bounds the wait for an answer, in seconds.

        Raises `StoreUnavailable` when the server can't be reached, refuses the
        credentials, or is a replica.
        """
        self._server = server
        self._layout = Layout(server.prefix)
        self._pool = ConnectionPool(server, timeout)
        self._tracker = EpochTracker(self._layout)
        self._watches = WatchSet("Redis")
        try:
            with self._pool.borrow() as connection:
                self._tracker.enter(connection)
                _warn_of_data_loss(connection, server)
        except BaseException:
            self._pool.close()
            raise

    @property
    def epoch(self) -> str:
        return self._tracker.last_seen.epoch

    def commit(self, batch: Sequence[Write]) -> list[Outcome]:
        require_valid(batch)
        self._watches.require_open()
        if not batch:
            return []
        last_seen = self._tracker.last_seen
        with self._pool.borrow() as connection:
            answer = self._send(connection, last_seen, batch, full=False)
            if isinstance(answer, NoScriptError):
                answer = self._send(connection, last_seen, batch, full=True)
            if answer is None:
                self._tracker.enter(connection)
            if not isinstance(answer, bytes):
                raise self._refusal(answer)
        numbers = [int(number) for number in answer.split()]
        self._tracker.note_revision(last_seen.epoch, max(numbers))
        return [
            outcome_of(write, number)
            for write, number in zip(batch, numbers, strict=True)
        ]

    def watch(self, send: Send) -> ReconnectingWatch:
        def session() -> FeedSession:
            return FeedSession(self._pool, self._layout, self._tracker)

        return self._watches.start(session, send)

    def begin_epoch(self) -> str:
        self._watches.require_open()
        with self._pool.borrow() as connection:
            return self._tracker.begin_epoch(connection)

    def ping(self) -> None:
        self._watches.require_open()
        with self._pool.borrow() as connection:
            connection.request(("PING",))

    def close(self) -> None:
        self._watches.close()
        self._pool.close()

    def _send(
        self,
        connection: Connection,
        last_seen: LastSeen,
        batch: Sequence[Write],
        full: bool,
    ) -> Any:
        """Return the server's answer to the batch, errors among them."""
        # Redis carries out no command that has not arrived as a whole.
        connection.send([self._layout.commit(last_seen, batch, full)])
        try:
            return connection.receive()
        except StoreUnavailable as error:
            raise OutcomeUnknown.because(error.detail) from error

    def _refusal(self, answer: Exception | None) -> StoreError:
        """Return the error for an answer without outcomes."""
        if answer is None:
            return StoreUnavailable(
                "the data in Redis was wiped; nothing was written, try again"
            )
        if is_replica_refusal(answer):
            # Connecting again finds the new primary.
            self._pool.reset()
        error = unavailable(answer, self._server)
        partial = PARTIAL in str(answer)
        return OutcomeUnknown.because(error.detail) if partial else error


def _warn_of_data_loss(connection: Connection, server: Server) -> None:
    """Log a warning if the server may lose data; some servers refuse CONFIG."""
    names = "appendonly", "save", "maxmemory-policy"
    answers = connection.exchange(*(("CONFIG", "GET", name) for name in names))
    if not all(isinstance(answer, list) and len(answer) == 2 for answer in answers):
        return
    appendonly, save, policy = (answer[1] for answer in answers)
    if appendonly == b"no" and not save:
        log.warning(
            "%s saves nothing to disk: a restart loses all"
            " records; set appendonly yes there",
            title(server),
        )
    if policy.startswith(b"allkeys-"):
        log.warning(
            "%s deletes records when its memory is full; set"
            " maxmemory-policy noeviction there",
            title(server),
        )
