"""``redis://`` and ``rediss://``: records in Redis, shared by several processes."""

import logging
from typing import Any, Final

from redis.exceptions import NoScriptError

from modularity_registry.errors import StoreConflict, StoreError, StoreUnavailable
from modularity_registry.stores.base import Send
from modularity_registry.stores.group_commit import GroupCommit, Write
from modularity_registry.stores.reconnecting_watch import ReconnectingWatch, WatchSet
from modularity_registry.stores.redis.connection import Connection, ConnectionPool
from modularity_registry.stores.redis.epoch import EpochTracker
from modularity_registry.stores.redis.errors import (
    UNKNOWN,
    is_replica_refusal,
    unavailable,
)
from modularity_registry.stores.redis.feed import FeedSession
from modularity_registry.stores.redis.layout import LastSeen, Layout
from modularity_registry.stores.server_url import Server

log = logging.getLogger(__name__)

LARGEST_VALUE: Final = 64 * 1024 * 1024
WIPED: Final = "the data in Redis was wiped; nothing was written, try again"


class RedisStore:
    """Keeps records in Redis; each write is a script, so it is atomic.

    Writers that come together share a round trip. How durable a write is when it
    returns is the server's setting: with ``appendonly yes`` and ``appendfsync always``
    it is on the disk, with ``everysec`` a crash of the machine loses about a second,
    with snapshots (``save``) all since the last one, without either everything. After
    a loss revisions go on above those that this process has seen.
    """

    shared: Final = True

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
        self._writers = GroupCommit(self._commit)
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

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        # Refused here: in Redis or the driver it would fail a whole batch.
        key.encode()
        if len(value) > LARGEST_VALUE:
            raise ValueError(f"a value has at most {LARGEST_VALUE} bytes")
        return self._writers.put(key, bytes(value), expected)

    def delete(self, key: str, expected: int | None = None) -> int | None:
        key.encode()
        return self._writers.delete(key, expected)

    def watch(self, send: Send) -> ReconnectingWatch:
        def session() -> FeedSession:
            return FeedSession(self._pool, self._layout, self._tracker)

        return self._watches.start(session, send)

    def ping(self) -> None:
        self._watches.require_open()
        with self._pool.borrow() as connection:
            connection.request(("PING",))

    def close(self) -> None:
        self._watches.close()
        self._pool.close()

    def _commit(self, batch: list[Write]) -> None:
        try:
            self._watches.require_open()
            with self._pool.borrow() as connection:
                self._write_batch(connection, batch)
        except StoreError as error:
            for write in batch:
                if not write.done and write.error is None:
                    write.fail(error)

    def _write_batch(self, connection: Connection, batch: list[Write]) -> None:
        last_seen = self._tracker.last_seen
        answers = self._send_writes(connection, last_seen, batch, full=False)
        unknown_script = [
            write
            for write, answer in zip(batch, answers, strict=True)
            if isinstance(answer, NoScriptError)
        ]
        if unknown_script:
            answers += self._send_writes(
                connection, last_seen, unknown_script, full=True
            )
        self._tracker.note_revision(
            last_seen.epoch, max(write.revision or 0 for write in batch)
        )
        if None in answers:
            self._tracker.enter(connection)
        if any(is_replica_refusal(answer) for answer in answers):
            # Connecting again finds the new primary.
            self._pool.reset()

    def _send_writes(
        self,
        connection: Connection,
        last_seen: LastSeen,
        writes: list[Write],
        full: bool,
    ) -> list[Any]:
        """Send ``writes`` in one round trip; return the server's answers."""
        try:
            connection.send(
                [self._layout.write(last_seen, write, full) for write in writes]
            )
            return [self._finish(write, connection.receive()) for write in writes]
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{error.detail}; {UNKNOWN}") from error

    def _finish(self, write: Write, answer: Any) -> Any:
        """Set the outcome of ``write``, unless its script has to be sent first."""
        if answer is None:
            write.fail(StoreUnavailable(WIPED))
        elif isinstance(answer, NoScriptError):
            pass
        elif isinstance(answer, Exception):
            write.fail(unavailable(answer, self._server))
        elif answer < 0:
            write.error = StoreConflict(write.key, -1 - answer)
        else:
            write.revision = answer or None  # 0 when there was nothing to delete
            write.done = True
        return answer


def _warn_of_data_loss(connection: Connection, server: Server) -> None:
    """Log a warning if the server may lose data; some servers refuse CONFIG."""
    names = "appendonly", "save", "maxmemory-policy"
    answers = connection.exchange(*(("CONFIG", "GET", name) for name in names))
    if not all(isinstance(answer, list) and len(answer) == 2 for answer in answers):
        return
    appendonly, save, policy = (answer[1] for answer in answers)
    if appendonly == b"no" and not save:
        log.warning(
            "the Redis server at %s saves nothing to disk: a restart loses all"
            " records; set appendonly yes there",
            server,
        )
    if policy.startswith(b"allkeys-"):
        log.warning(
            "the Redis server at %s deletes records when its memory is full; set"
            " maxmemory-policy noeviction there",
            server,
        )
